//! `to_char(time, format)` of DataFusion, asked once for each day, hour, minute or second that a
//! batch has rows of, and not for each row: rows of a stream are near each other in time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::functions::datetime::to_char;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Specifiers whose text is the same all day.
const OF_DAYS: &str = "YCyqmbBhdeaAwuUWGgVjDxFv%nt";
/// Those that change with the hour or the minute.
const OF_MINUTES: &str = "HkIlPpMR";
/// Those that change with the second.
const OF_SECONDS: &str = "STsXrc";
/// Different times of a batch, as a share of its rows, from which each row is asked for.
const DIFFERENT_SHARE: usize = 4;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToChar {
    inner: Arc<ScalarUDF>,
}

impl Default for ToChar {
    fn default() -> Self {
        Self { inner: to_char() }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [ColumnarValue::Array(times), ColumnarValue::Scalar(format)] = args.args.as_slice()
        else {
            return self.inner.invoke_with_args(args);
        };
        let Some(distinct) = Distinct::of(times, format)? else {
            return self.inner.invoke_with_args(args);
        };
        args.number_rows = distinct.times.len();
        if let Some(times) = args.args.first_mut() {
            *times = ColumnarValue::Array(distinct.times);
        }
        let texts = self.inner.invoke_with_args(args)?.into_array(0)?;
        let texts = take(&texts, &distinct.of_row, None)?;
        Ok(ColumnarValue::Array(texts))
    }
}

/// The times of a batch that differ in their texts.
struct Distinct {
    times: ArrayRef,
    of_row: UInt32Array,
}

impl Distinct {
    /// `None` where that is not known, or does not pay.
    fn of(times: &ArrayRef, format: &ScalarValue) -> DfResult<Option<Self>> {
        let DataType::Timestamp(unit, None) = times.data_type() else {
            return Ok(None);
        };
        let format = format.try_as_str().flatten();
        let Some(seconds) = format.and_then(seconds_of) else {
            return Ok(None);
        };
        let period = seconds * ticks_of(unit);
        let numbers = cast(times, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let mut starts: Vec<i64> = Vec::new();
        let mut known: HashMap<i64, u32> = HashMap::new();
        let mut of_row = Vec::with_capacity(numbers.len());
        let (mut start, mut place) = (0, None);
        for time in numbers {
            let Some(time) = time else {
                of_row.push(None);
                continue;
            };
            let is_in_last = place.is_some() && (0..period).contains(&time.wrapping_sub(start));
            if !is_in_last {
                start = time.saturating_sub(time.rem_euclid(period));
                place = Some(*known.entry(start).or_insert_with(|| {
                    starts.push(start);
                    u32::try_from(starts.len() - 1).unwrap_or(u32::MAX)
                }));
                if starts.len() > numbers.len() / DIFFERENT_SHARE {
                    return Ok(None);
                }
            }
            of_row.push(place);
        }
        let starts: ArrayRef = Arc::new(Int64Array::from(starts));
        Ok(Some(Self {
            times: cast(&starts, times.data_type())?,
            of_row: UInt32Array::from(of_row),
        }))
    }
}

/// The seconds within which the text of a format stays the same.
fn seconds_of(format: &str) -> Option<i64> {
    let mut seconds = 86_400;
    let mut rest = format.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            continue;
        }
        let mut specifier = rest.next()?;
        // How numbers are padded.
        if matches!(specifier, '-' | '_' | '0') {
            specifier = rest.next()?;
        }
        if OF_MINUTES.contains(specifier) {
            seconds = seconds.min(60);
        } else if OF_SECONDS.contains(specifier) {
            seconds = 1;
        } else if !OF_DAYS.contains(specifier) {
            return None;
        }
    }
    Some(seconds)
}

fn ticks_of(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMicrosecondArray, TimestampMillisecondArray};
    use arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn texts(udf: &ScalarUDF, times: &ArrayRef, format: &str) -> Option<ArrayRef> {
        let format = ScalarValue::from(format);
        let args = ScalarFunctionArgs {
            arg_fields: vec![
                Arc::new(Field::new("time", times.data_type().clone(), true)),
                Arc::new(Field::new("format", DataType::Utf8, true)),
            ],
            args: vec![
                ColumnarValue::Array(Arc::clone(times)),
                ColumnarValue::Scalar(format),
            ],
            number_rows: times.len(),
            return_field: Arc::new(Field::new("text", DataType::Utf8, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        let texts = udf.invoke_with_args(args).ok()?;
        Some(texts.into_array(times.len()).unwrap())
    }

    /// Every specifier that there is gives what DataFusion gives, row by row.
    #[test]
    fn texts_are_those_of_each_row() {
        let hour = 3_600_000_000_i64;
        let near = |at: i64| (0..400).map(move |i| Some(at + i * 7_654_321));
        let micros: Vec<Option<i64>> = near(-3 * hour)
            .chain(near(1_767_225_590_000_000))
            .chain([None, Some(-1), Some(0), Some(59_999_999), Some(60_000_000)])
            .collect();
        let millis: Vec<_> = micros.iter().map(|t| t.map(|t| t / 1_000)).collect();
        let arrays: [ArrayRef; 2] = [
            Arc::new(TimestampMicrosecondArray::from(micros)),
            Arc::new(TimestampMillisecondArray::from(millis)),
        ];
        let ours = ScalarUDF::from(ToChar::default());
        let mut formats: Vec<String> = (b'A'..=b'z').map(|c| format!("%{}", c as char)).collect();
        formats.extend(
            [
                "%Y-%m-%d",
                "%H:%M",
                "%-H %_d %0m",
                "day",
                "",
                "%",
                "%Y%",
                "%.3f",
                "%3f",
            ]
            .map(str::to_owned),
        );
        for format in formats {
            for times in &arrays {
                let expected = texts(&to_char(), times, &format);
                assert_eq!(texts(&ours, times, &format), expected, "{format:?}");
            }
        }
    }

    #[test]
    fn only_what_stays_the_same_is_shared() {
        for (format, seconds) in [
            ("%Y-%m-%d", Some(86_400)),
            ("%H:%M", Some(60)),
            ("%d %T", Some(1)),
            ("%f", None),
            ("%Z", None),
            ("%", None),
        ] {
            assert_eq!(seconds_of(format), seconds, "{format}");
        }
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
            (0..100).map(|second| second * 1_000_000),
        ));
        let format = |text: &str| ScalarValue::from(text);
        let days = Distinct::of(&times, &format("%F")).unwrap().unwrap();
        assert_eq!((days.times.len(), days.of_row.len()), (1, 100));
        assert!(Distinct::of(&times, &format("%T")).unwrap().is_none());
    }
}
