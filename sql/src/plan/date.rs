//! `date(x)`: the day of a timestamp, as PostgreSQL and MySQL have it.

use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `date(x)` is `CAST(x AS DATE)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateFunction {
    signature: Signature,
}

impl Default for DateFunction {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DateFunction {
    fn name(&self) -> &'static str {
        "date"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Date32)
    }

    fn simplify(
        &self,
        mut args: Vec<Expr>,
        _info: &SimplifyContext,
    ) -> DfResult<ExprSimplifyResult> {
        match args.pop() {
            Some(arg) => Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new(
                Box::new(arg),
                DataType::Date32,
            )))),
            None => plan_err!("date needs one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match args.args.first() {
            Some(value) => value.cast_to(&DataType::Date32, None),
            None => plan_err!("date needs one argument"),
        }
    }
}
