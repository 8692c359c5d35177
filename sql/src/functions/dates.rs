//! Whether a text is a date or a time: as `CAST` reads it, or in a format of `strftime`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::format::{Item, ParseErrorKind, Parsed, StrftimeItems, parse};
use datafusion::common::{Result as DfResult, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// `is_date(text [, format])` and `is_timestamp(text [, format])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IsTime {
    of_day: bool,
    signature: Signature,
}

impl IsTime {
    pub(super) fn date() -> Self {
        let forms = vec![TypeSignature::String(1), TypeSignature::String(2)];
        Self {
            of_day: false,
            signature: Signature::one_of(forms, Volatility::Immutable),
        }
    }

    pub(super) fn timestamp() -> Self {
        Self {
            of_day: true,
            ..Self::date()
        }
    }

    /// Whether a text is written in a format, and the day and time that it says exist.
    fn fits(&self, text: &str, items: &[Item<'_>]) -> bool {
        let mut parsed = Parsed::new();
        let has_time = |parsed: &Parsed| match parsed.to_naive_time() {
            Ok(_) => true,
            // A format may leave the time of day out.
            Err(error) => error.kind() == ParseErrorKind::NotEnough,
        };
        parse(&mut parsed, text, items.iter()).is_ok()
            && parsed.to_naive_date().is_ok()
            && (!self.of_day || has_time(&parsed))
    }
}

impl ScalarUDFImpl for IsTime {
    fn name(&self) -> &'static str {
        match self.of_day {
            true => "is_timestamp",
            false => "is_date",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut args = args.args.into_iter();
        let (text, format) = (args.next(), args.next());
        let Some(text) = text else {
            return plan_err!("{} takes a text", self.name());
        };
        let text = cast(&text.into_array(rows)?, &DataType::Utf8)?;
        let answers = match format {
            None => self.by_cast(&text)?,
            Some(ColumnarValue::Scalar(format)) => {
                let Some(format) = format.try_as_str().flatten() else {
                    return Ok(ColumnarValue::Array(Arc::new(BooleanArray::new_null(rows))));
                };
                let items = StrftimeItems::new(format).parse();
                let Ok(items) = items else {
                    return plan_err!("'{format}' is no format of strftime");
                };
                let texts = text.as_string::<i32>().iter();
                texts
                    .map(|text| text.map(|text| self.fits(text, &items)))
                    .collect()
            }
            Some(ColumnarValue::Array(_)) => {
                return plan_err!("the format of {} is a constant", self.name());
            }
        };
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

impl IsTime {
    fn by_cast(&self, text: &ArrayRef) -> DfResult<BooleanArray> {
        let to = match self.of_day {
            true => DataType::Timestamp(TimeUnit::Microsecond, None),
            false => DataType::Date32,
        };
        let read = cast(text, &to)?;
        let answer = |row| text.is_valid(row).then(|| read.is_valid(row));
        Ok((0..text.len()).map(answer).collect())
    }
}
