//! The account of memory with an overdraft for the last merge of a sort.
//!
//! DataFusion's sorts merge as many spilled runs at once as the account has room for, and leave
//! nothing. The merge over their outputs asks next, can't spill, and holds little: a few batches per
//! partition. Refused, it would end a job that has all but done its work.

use std::fmt;

use datafusion_common::Result;
use datafusion_execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// How DataFusion names what merges the partitions of a sort.
const LAST_MERGE: &str = "SortPreservingMergeExec";
/// The part of the account by which the last merges may go beyond it: one in this many.
const OVERDRAFT_SHARE: usize = 8;

/// A fair account that the last merges may overdraw.
#[derive(Debug)]
pub(super) struct OverdraftPool {
    fair: FairSpillPool,
    bytes: usize,
}

impl OverdraftPool {
    /// Makes an account of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            fair: FairSpillPool::new(bytes),
            bytes,
        }
    }
}

impl fmt::Display for OverdraftPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fair.fmt(f)
    }
}

impl MemoryPool for OverdraftPool {
    fn name(&self) -> &str {
        self.fair.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let refused = match self.fair.try_grow(reservation, additional) {
            Err(refused) if reservation.consumer().name().starts_with(LAST_MERGE) => refused,
            result => return result,
        };
        if reservation.size() + additional > self.bytes / OVERDRAFT_SHARE {
            return Err(refused);
        }
        self.fair.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_a_last_merge_overdraws_and_by_an_eighth_at_most() {
        let pool: Arc<dyn MemoryPool> = Arc::new(OverdraftPool::new(800));
        let sorter = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        sorter.try_grow(800).unwrap();
        assert!(sorter.try_grow(1).is_err());
        let merge = MemoryConsumer::new("SortPreservingMergeExec[0]").register(&pool);
        merge.try_grow(60).unwrap();
        merge.try_grow(40).unwrap();
        assert!(merge.try_grow(1).is_err());
        drop((sorter, merge));
        assert_eq!(pool.reserved(), 0);
    }
}
