//! `PROCTIME()`: the time at which a row is processed, by the clock of the job.

use std::hash::{Hash, Hasher};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result as DfResult, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use weir_engine::env::Env;

/// The function's name.
pub(crate) const NAME: &str = "proctime";

/// `PROCTIME()`; all rows of a batch have the same time.
#[derive(Debug)]
pub(crate) struct ProcTime {
    env: Env,
    signature: Signature,
}

impl ProcTime {
    /// Makes the function over a clock.
    pub(crate) fn new(env: Env) -> Self {
        Self {
            env,
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

/// There is one clock in a session.
impl PartialEq for ProcTime {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Eq for ProcTime {}

impl Hash for ProcTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        NAME.hash(state);
    }
}

impl ScalarUDFImpl for ProcTime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        if !args.args.is_empty() {
            return plan_err!("proctime takes no argument");
        }
        let now = self.env.clock().now_micros();
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(
            Some(now),
            None,
        )))
    }
}

/// Whether an expression is a call of `PROCTIME()` and nothing more.
pub(crate) fn is_proctime(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Function(call) => call.name.to_string().eq_ignore_ascii_case(NAME),
        SqlExpr::Nested(inner) => is_proctime(inner),
        _ => false,
    }
}
