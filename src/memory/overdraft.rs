//! The account of memory with an overdraft for the merges of a sort.
//!
//! When DataFusion's sorts have filled the account, the merges that empty it again still need a
//! little, can't spill, and would end the job when refused: the merge that writes a run frees more
//! than it takes only after its first batches, and the merge over the partitions' outputs comes
//! when the merges below it have taken all there is for spilled runs.

use std::fmt;

use datafusion_common::Result;
use datafusion_execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// The merges by DataFusion's names, and the part of the account up to which each may go when the
/// account is used up: one in this many. The last merge holds some batches of each partition.
const MERGES: [(&str, usize); 2] = [("SortPreservingMergeExec", 8), ("ExternalSorterMerge", 16)];
/// The part of the account by which all merges together may go beyond it: one in this many.
const OVERDRAFT_SHARE: usize = 4;

/// A fair account that the merges of sorts may overdraw.
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
        let Err(refused) = self.fair.try_grow(reservation, additional) else {
            return Ok(());
        };
        let name = reservation.consumer().name();
        let own = MERGES.iter().find(|(merge, _)| name.starts_with(merge));
        let own = own.map_or(0, |(_, share)| self.bytes / share);
        let all = self.bytes + self.bytes / OVERDRAFT_SHARE;
        // Two merges that ask at the same time may both pass: the bound is for the worst script,
        // and a batch more does not matter to it.
        if reservation.size() + additional > own || self.fair.reserved() + additional > all {
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
    fn only_merges_overdraw_each_by_its_part_and_all_by_a_quarter() {
        let pool: Arc<dyn MemoryPool> = Arc::new(OverdraftPool::new(800));
        let register = |name: &str| MemoryConsumer::new(name).register(&pool);
        let join = register("HashJoinInput");
        join.try_grow(800).unwrap();
        assert!(join.try_grow(1).is_err());
        let runs = register("ExternalSorterMerge[0]");
        runs.try_grow(50).unwrap();
        assert!(runs.try_grow(1).is_err());
        let first = register("SortPreservingMergeExec[0]");
        first.try_grow(60).unwrap();
        first.try_grow(40).unwrap();
        assert!(first.try_grow(1).is_err());
        let second = register("SortPreservingMergeExec[1]");
        second.try_grow(50).unwrap();
        assert!(second.try_grow(1).is_err());
        drop((join, runs, first, second));
        assert_eq!(pool.reserved(), 0);
    }
}
