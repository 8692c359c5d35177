//! The account of an updating operator's state in the job's memory pool.

use std::sync::Arc;

use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::account;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::metrics::SubtaskMetrics;

/// What an entry of a map costs beside its key and value: the shared key's counters, its place in
/// the table and the table's free places.
pub(crate) const ENTRY_BYTES: usize = 64;

/// What one subtask has taken from the pool.
#[derive(Debug)]
pub(crate) struct Account {
    what: &'static str,
    reservation: MemoryReservation,
    metrics: Arc<SubtaskMetrics>,
}

impl Account {
    /// Opens an account for what an operator keeps, such as "groups".
    pub(crate) fn new(what: &'static str, context: &TaskContext) -> Self {
        let name = format!("{what} of {} #{}", context.node, context.subtask);
        Self {
            what,
            reservation: MemoryConsumer::new(name).register(&context.job.memory),
            metrics: Arc::clone(&context.metrics),
        }
    }

    /// Sets how much is held; fails when the pool has no more.
    pub(crate) fn set(&self, bytes: usize) -> Result<()> {
        account::settle(&self.reservation, &self.metrics, bytes).map_err(|error| {
            Error::new(
                Kind::Limit,
                codes::MEMORY,
                format!("the {} do not fit in memory", self.what),
            )
            .detail(format!("they take {} MiB in one subtask", bytes >> 20))
            .hint(
                "give the job more memory with --memory, or let state expire with \
                 SET pipeline.state_ttl: what is kept without a key is not put on disk",
            )
            .caused_by(error)
        })
    }
}
