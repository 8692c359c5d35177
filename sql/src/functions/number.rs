//! Questions about a number.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Whether a number lies between the negative of a bound and the bound.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Within {
    name: &'static str,
    bound: u8,
    signature: Signature,
}

/// Degrees of latitude and longitude.
pub(super) fn predicates() -> impl Iterator<Item = Within> {
    let all = [("is_latitude", 90), ("is_longitude", 180)];
    all.into_iter().map(|(name, bound)| Within {
        name,
        bound,
        signature: Signature::exact(vec![DataType::Float64], Volatility::Immutable),
    })
}

impl ScalarUDFImpl for Within {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let bound = f64::from(self.bound);
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let answers = arrays.first().map(|array| {
            let numbers = array.as_primitive::<Float64Type>().iter();
            numbers
                .map(|number| number.map(|number| number.abs() <= bound))
                .collect::<BooleanArray>()
        });
        Ok(ColumnarValue::Array(Arc::new(answers.unwrap_or_else(
            || BooleanArray::from(Vec::<bool>::new()),
        ))))
    }
}
