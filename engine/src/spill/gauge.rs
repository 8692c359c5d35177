//! What operators that are put on disk take of the job's memory, and how much of it is left.
//!
//! An operator under the decorator is never refused memory: it may overdraw the pool by what one
//! batch takes, and the decorator makes room after it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use datafusion_common::Result;
use datafusion_execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::job::TaskContext;

/// The memory of one operator, as a pool that it accounts its state with.
#[derive(Debug)]
pub(super) struct Gauge {
    bytes: AtomicUsize,
    all: Arc<MemoryReservation>,
}

impl Gauge {
    /// Counts into what the whole subtask has taken.
    pub(super) fn new(all: &Arc<MemoryReservation>) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            all: Arc::clone(all),
        })
    }

    /// The bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(used: {})", self.name(), self.bytes())
    }
}

impl MemoryPool for Gauge {
    fn name(&self) -> &str {
        "gauge"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.bytes.fetch_add(additional, Relaxed);
        self.all.grow(additional);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.bytes.fetch_sub(shrink, Relaxed);
        self.all.shrink(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Infinite
    }
}

/// The job's memory as one subtask sees it.
#[derive(Debug)]
pub(crate) struct Room {
    pool: Arc<dyn MemoryPool>,
    /// What the subtask has taken for all of its operators.
    pub(crate) taken: Arc<MemoryReservation>,
    limit: usize,
    subtasks: usize,
}

impl Room {
    pub(crate) fn new(what: &str, context: &TaskContext) -> Self {
        let name = format!("{what} of {} #{}", context.node, context.subtask);
        let pool = Arc::clone(&context.job.memory);
        let limit = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        Self {
            taken: Arc::new(MemoryConsumer::new(name).register(&pool)),
            pool,
            limit,
            subtasks: context.parallelism.max(1) as usize,
        }
    }

    /// Takes memory by itself, whether there is any or not: for what goes on without the subtask.
    pub(crate) fn lend(&self, bytes: usize) -> MemoryReservation {
        let loan = self.taken.new_empty();
        loan.grow(bytes);
        loan
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.pool.reserved())
    }

    /// Whether an eighth of the memory is not free any more, and it is this subtask that has some
    /// to give: who has little waits for the others.
    pub(crate) fn is_short(&self) -> bool {
        self.free() < self.limit / 8 && self.taken.size() > self.share() / 16
    }

    /// Whether there is as much memory again as the subtask has taken.
    pub(crate) fn has_twice(&self) -> bool {
        self.free() > self.taken.size()
    }

    /// Whether a quarter of the memory, and `bytes` more, are not free: what room is made up to.
    pub(crate) fn wants(&self, bytes: usize) -> bool {
        self.free() < (self.limit / 4).saturating_add(bytes)
            && self.taken.size() > self.share() / 16
    }

    /// What each subtask of the node would have if there were no other node.
    pub(crate) fn share(&self) -> usize {
        self.limit / self.subtasks
    }
}
