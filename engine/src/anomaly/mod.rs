//! Anomalies in series of rows: each row goes on with what the model of its key says of it.
//!
//! The rows of a key are judged in the order of their time, each by those before it. Two ways lead there, with the same
//! verdicts: [`AnomalyFactory`] makes operators in which rows wait until the watermark has passed them, and
//! [`SortedJudge`] takes rows that somebody has sorted. Rows of one time are in the order of `ties`, then of their
//! arrival. A row without a time has no place in the order: it goes on without a verdict.
//!
//! Models and waiting rows are state by key: in checkpoints as far as they changed, on disk when memory is short.

mod feedback;
mod judge;
mod models;
mod operator;
mod program;
mod sorted;
mod state;
#[cfg(test)]
mod tests;
mod verdict;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use weir_anomaly::Config;

pub use self::feedback::{FEEDBACK, FeedbackLog, feedback_schema};
use self::program::Program;
pub use self::sorted::SortedJudge;
pub use self::verdict::{ANOMALY_ID, data_type};
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill::{self, Spillable};

/// What is judged, and how.
#[derive(Debug, Clone)]
pub struct AnomalySpec {
    /// The rows that come in.
    pub input: SchemaRef,
    /// Each of their values has a model of its own; nothing means one model, in one subtask. The exchange in front
    /// hashes by these expressions in this order.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// The order of rows: a timestamp.
    pub time: Arc<dyn PhysicalExpr>,
    /// The order of rows of one time.
    pub ties: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// What is judged, each with the name by which a verdict calls it: numbers, or one text for a method of texts.
    pub values: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// How it is judged. Times are in microseconds; the number of columns is that of the values.
    pub config: Config,
    /// The name of the model, and what people say of its anomalies.
    pub model: Option<(String, Arc<FeedbackLog>)>,
    /// The name of the column with the verdict, behind those of the input.
    pub column: String,
}

/// Makes operators that let each row wait until the watermark has passed its time, and judge it then.
#[derive(Debug)]
pub struct AnomalyFactory {
    shared: Shared,
    text: String,
}

/// What the operators of a node share.
#[derive(Debug, Clone)]
struct Shared {
    program: Arc<Program>,
    behind: i64,
    ttl: Option<Duration>,
    sources: Arc<str>,
}

impl AnomalyFactory {
    /// No row comes whose time is `behind` microseconds before the watermark: 1 where the watermark is over the time
    /// itself, since rows of its very moment may follow it. `sources` names the sources that feed the node, for late
    /// rows; a model that no row touches for `ttl`, by the clock, is forgotten.
    pub fn try_new(
        spec: AnomalySpec,
        behind: i64,
        ttl: Option<Duration>,
        sources: Arc<str>,
    ) -> Result<Self> {
        let program = Program::try_new(spec)?;
        let text = program.describe();
        let shared = Shared {
            program: Arc::new(program),
            behind,
            ttl,
            sources,
        };
        Ok(Self { shared, text })
    }
}

impl OperatorFactory for AnomalyFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        if self.shared.program.spec.partition.is_empty() {
            return self.shared.make(context);
        }
        spill::create(Arc::new(self.shared.clone()), context)
    }

    fn describe(&self) -> String {
        self.text.clone()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.shared.program.fingerprint())
    }

    /// A series goes on where it ended.
    fn outlives_input(&self) -> bool {
        true
    }

    fn consumes(&self) -> Consumes {
        Consumes::Delays
    }
}

impl Spillable for Shared {
    fn what(&self) -> &'static str {
        "anomaly models and rows that wait for them"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::Anomalies::new(self, context)))
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&self.program.keys(rows)?, rows.num_rows())
    }

    fn state_hashes(&self, batch: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let Some(keys) = state::keys(&self.program, batch)? else {
            return Ok(None);
        };
        spill::hashes_of(&keys, batch.num_rows()).map(Some)
    }

    fn follows_watermarks(&self) -> bool {
        true
    }

    fn visited_every(&self) -> Option<Duration> {
        spill::visited_for(self.ttl)
    }
}
