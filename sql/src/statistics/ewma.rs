//! `ewma(x, alpha) OVER (ORDER BY ...)`: the mean in which each value counts for `1 - alpha` of the one after it.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result as DfResult, ScalarValue, exec_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// The aggregate. It needs an order, so that parts of it cannot be merged.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Ewma {
    signature: Signature,
}

impl Default for Ewma {
    fn default() -> Self {
        let numbers = vec![DataType::Float64, DataType::Float64];
        Self {
            signature: Signature::exact(numbers, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for Ewma {
    fn name(&self) -> &'static str {
        "ewma"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Smoothed { value: None }))
    }
}

#[derive(Debug)]
struct Smoothed {
    value: Option<f64>,
}

impl Accumulator for Smoothed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let [values, alphas] = values else {
            return exec_err!("ewma takes a value and alpha");
        };
        let alphas = alphas.as_primitive::<Float64Type>().iter();
        for (value, alpha) in values.as_primitive::<Float64Type>().iter().zip(alphas) {
            let (Some(value), Some(alpha)) = (value, alpha) else {
                continue;
            };
            let before = self.value.unwrap_or(value);
            self.value = Some(alpha * value + (1.0 - alpha) * before);
        }
        Ok(())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DfResult<()> {
        exec_err!("ewma needs an order: write ewma(x, 0.3) OVER (ORDER BY column)")
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Float64(self.value)])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Float64(self.value))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
