//! `student_p(t, freedom)`: how likely a t at least as far from zero is, on both sides.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result as DfResult, exec_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::special;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct StudentP {
    signature: Signature,
}

impl Default for StudentP {
    fn default() -> Self {
        let numbers = vec![DataType::Float64, DataType::Float64];
        Self {
            signature: Signature::exact(numbers, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for StudentP {
    fn name(&self) -> &'static str {
        "student_p"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [t, freedom] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("student_p takes two numbers"));
        };
        let t = t.as_primitive::<Float64Type>().iter();
        let pairs = t.zip(freedom.as_primitive::<Float64Type>().iter());
        let answers: Float64Array = pairs
            .map(|(t, freedom)| {
                let (t, freedom) = (t?, freedom.filter(|freedom| *freedom > 0.0)?);
                (!t.is_nan()).then(|| special::student(t, freedom))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers) as ArrayRef))
    }
}
