//! `json_matches_schema(text, 'schema')`: whether a text is JSON that a JSON Schema describes (draft 2020-12, and
//! what earlier drafts have in common with it). The schema is read once per batch, and when a script is planned.

mod compile;
mod validate;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MatchesSchema {
    signature: Signature,
}

impl Default for MatchesSchema {
    fn default() -> Self {
        Self {
            signature: Signature::string(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for MatchesSchema {
    fn name(&self) -> &'static str {
        "json_matches_schema"
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
        let (Some(texts), Some(ColumnarValue::Scalar(schema))) = (args.next(), args.next()) else {
            return plan_err!(
                "the schema of json_matches_schema is a text that is written in the script"
            );
        };
        let Some(schema) = schema.try_as_str().flatten() else {
            return plan_err!("the schema of json_matches_schema is null");
        };
        let schema = match compile::Schema::read(schema) {
            Ok(schema) => schema,
            Err(why) => return plan_err!("the schema of json_matches_schema is none: {why}"),
        };
        let texts: ArrayRef = cast(&texts.into_array(rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>().iter();
        let answers: BooleanArray = texts
            .map(|text| text.map(|text| schema.describes(text)))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

#[cfg(test)]
mod tests;
