//! `ANOMALY` as SQL's planner knows it: a window function that gives a verdict. It is never evaluated.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use weir_engine::anomaly::data_type;

use crate::anomaly::FUNCTION;

/// The function, for a session.
pub(in crate::plan) fn function() -> WindowUDF {
    WindowUDF::from(Anomaly {
        signature: Signature::variadic_any(Volatility::Volatile),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Anomaly {
    signature: Signature,
}

impl WindowUDFImpl for Anomaly {
    fn name(&self) -> &str {
        FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _arguments: PartitionEvaluatorArgs<'_>,
    ) -> DfResult<Box<dyn PartitionEvaluator>> {
        internal_err!("an anomaly function was not taken out of its plan")
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), data_type(), true)))
    }
}
