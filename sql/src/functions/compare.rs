//! Values of one row compared with each other.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::and;
use arrow::compute::kernels::cmp::{eq, neq};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result as DfResult, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::sync::Arc;

/// `all_distinct(a, b, ...)` and `all_equal(a, b, ...)`: null if one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AllDiffer {
    distinct: bool,
    signature: Signature,
}

impl AllDiffer {
    pub(super) fn distinct() -> Self {
        Self {
            distinct: true,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    pub(super) fn equal() -> Self {
        Self {
            distinct: false,
            ..Self::distinct()
        }
    }
}

impl ScalarUDFImpl for AllDiffer {
    fn name(&self) -> &'static str {
        match self.distinct {
            true => "all_distinct",
            false => "all_equal",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        if types.len() < 2 {
            return plan_err!("{} takes two values or more", self.name());
        }
        if let Some(other) = types.iter().find(|other| Some(*other) != types.first()) {
            return plan_err!("{} takes values of one type, cast {other}", self.name());
        }
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut all: Option<BooleanArray> = None;
        let mut add = |answer: BooleanArray| -> DfResult<()> {
            all = Some(match all.take() {
                Some(all) => and(&all, &answer)?,
                None => answer,
            });
            Ok(())
        };
        for (at, first) in arrays.iter().enumerate() {
            for second in arrays.iter().skip(at + 1) {
                match self.distinct {
                    true => add(neq(first, second)?)?,
                    false => add(eq(first, second)?)?,
                }
            }
            if !self.distinct {
                break;
            }
        }
        // The kernel's AND gives false for false and null: a null among the values is null here.
        let nulls = arrays.iter().fold(None, |nulls, array| {
            NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref())
        });
        let values = all.map(|all| all.values().clone());
        let answer = values.map(|values| Arc::new(BooleanArray::new(values, nulls)) as ArrayRef);
        match answer {
            Some(answer) => Ok(ColumnarValue::Array(answer)),
            None => plan_err!("{} takes two values or more", self.name()),
        }
    }
}

/// `approx_eq(a, b [, rel [, abs]])`: whether two numbers differ by no more than `rel` times the larger of
/// them, or by no more than `abs`. Without both, `rel` is 1e-9.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ApproxEq {
    signature: Signature,
}

/// The share by which numbers may differ when nothing is said: rounding in sums of doubles.
const RELATIVE: f64 = 1e-9;

impl Default for ApproxEq {
    fn default() -> Self {
        let arities = (2..=4).map(|count| TypeSignature::Exact(vec![DataType::Float64; count]));
        Self {
            signature: Signature::one_of(arities.collect(), Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ApproxEq {
    fn name(&self) -> &'static str {
        "approx_eq"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> = args
            .args
            .into_iter()
            .map(|value| value.into_array(rows))
            .collect::<DfResult<_>>()?;
        let number = |at: usize, row: usize| {
            let array = arrays.get(at)?.as_primitive::<Float64Type>();
            array.is_valid(row).then(|| array.value(row))
        };
        let answer = |row: usize| {
            let (a, b) = (number(0, row)?, number(1, row)?);
            let relative = if arrays.len() > 2 {
                number(2, row)?
            } else {
                RELATIVE
            };
            let absolute = if arrays.len() > 3 {
                number(3, row)?
            } else {
                0.0
            };
            let bound = absolute.max(relative * a.abs().max(b.abs()));
            Some(a == b || (a - b).abs() <= bound)
        };
        let answers: BooleanArray = (0..rows).map(answer).collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
