//! What the rows of a join take of the job's memory.

use std::sync::Arc;

use datafusion_common::DataFusionError;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::account;
use crate::error::{Error, Kind, codes};
use crate::job::TaskContext;
use crate::metrics::SubtaskMetrics;

/// The account of one subtask.
#[derive(Debug)]
pub(super) struct Account {
    memory: MemoryReservation,
    metrics: Arc<SubtaskMetrics>,
}

impl Account {
    pub(super) fn new(context: &TaskContext) -> Self {
        let name = format!("join {} #{}", context.node, context.subtask);
        Self {
            memory: MemoryConsumer::new(name).register(&context.job.memory),
            metrics: Arc::clone(&context.metrics),
        }
    }

    /// Takes what is needed, or gives back what is not.
    pub(super) fn settle(&self, bytes: usize) -> Result<(), DataFusionError> {
        account::settle(&self.memory, &self.metrics, bytes)
    }
}

/// The error of a join whose rows do not fit.
pub(super) fn memory_error(error: DataFusionError, bytes: usize, hint: &str) -> Error {
    Error::new(
        Kind::Limit,
        codes::MEMORY,
        "the rows that a join keeps do not fit in memory",
    )
    .detail(format!("they take {} MiB in one subtask", bytes >> 20))
    .hint(hint)
    .caused_by(error)
}
