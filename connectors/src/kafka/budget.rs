//! How much memory the fetching of one subtask takes. It is divided before anything is fetched, and
//! taken from the job's account as a whole, so that what the client holds is never more than what
//! was counted for it.

use std::sync::Arc;

use datafusion_execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;

/// The part of the job's memory that the subtasks of one source take at most: one in this many.
const MEMORY_SHARE: u64 = 8;
/// The least that is tried.
const BYTES_MIN: u64 = 1 << 20;
/// Bytes of a block. A record may be larger and is then alone in its block.
const BLOCK_BYTES: (u64, u64) = (16 << 10, 4 << 20);
/// Bytes that the client queues for one partition: below the least, each answer of a broker is a
/// question of its own; beyond the most nothing gets faster.
const QUEUE_BYTES: (u64, u64) = (64 << 10, 8 << 20);
/// Bytes of a record in the client's queue that count as one record: shorter ones fill the queue
/// by their number.
const RECORD_BYTES: u64 = 256;
/// What the client keeps of each record beside its bytes, rounded up.
const RECORD_COST: u64 = 352;

/// The shares of one subtask's fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Bytes in the client's queue of one partition.
    pub(super) queue_bytes: u64,
    /// Records in the same.
    pub(super) queue_records: u64,
    /// Bytes that a broker answers at once for one partition, by which the queue may be exceeded.
    pub(super) answer_bytes: u64,
    /// Bytes of a block of records.
    pub(super) block_bytes: usize,
    /// Bytes of blocks that wait beyond the first of each partition, over all of them.
    pub(super) spare_bytes: usize,
}

impl Budget {
    /// Divides bytes among partitions: half for the client, a quarter for the blocks that each
    /// partition fills and has ready, a quarter for those that are read just now.
    fn of(bytes: u64, partitions: u64) -> Self {
        let clamp = |bytes: u64, (least, most): (u64, u64)| bytes.clamp(least, most);
        let share = bytes / partitions.max(1);
        let queue_bytes = clamp(share / 8, QUEUE_BYTES);
        let block = clamp(share / 8, BLOCK_BYTES);
        Self {
            queue_bytes,
            queue_records: queue_bytes / RECORD_BYTES,
            answer_bytes: queue_bytes / 2,
            block_bytes: usize::try_from(block).unwrap_or(usize::MAX),
            spare_bytes: usize::try_from(bytes / 4).unwrap_or(usize::MAX),
        }
    }

    /// What one partition takes.
    fn partition_bytes(&self) -> usize {
        // In the worst case all records are as short as those that are counted by number.
        let client = self.queue_bytes + self.answer_bytes;
        let client = client + client / RECORD_BYTES * RECORD_COST;
        let client = usize::try_from(client).unwrap_or(usize::MAX);
        client.saturating_add(2 * self.block_bytes)
    }

    fn bytes(&self, partitions: u64) -> usize {
        let partitions = usize::try_from(partitions).unwrap_or(usize::MAX);
        let all = self.partition_bytes().saturating_mul(partitions);
        all.saturating_add(self.spare_bytes)
    }
}

/// A budget with the memory that was taken for it.
#[derive(Debug)]
pub(super) struct Account {
    budget: Budget,
    memory: MemoryReservation,
    /// Partitions that were counted and are not yet read.
    left: u64,
}

impl Account {
    /// Takes memory for so many partitions: `wanted` bytes, or less if the job has little.
    pub(super) fn open(wanted: u64, partitions: u64, context: &TaskContext) -> Result<Self> {
        let name = format!("fetch buffers of {}[{}]", context.node, context.subtask);
        let subtasks = context.parallelism.max(1).into();
        Self::take(wanted, partitions, subtasks, &context.job.memory, name)
    }

    fn take(
        wanted: u64,
        partitions: u64,
        subtasks: u64,
        pool: &Arc<dyn MemoryPool>,
        name: String,
    ) -> Result<Self> {
        let memory = MemoryConsumer::new(name).register(pool);
        let share = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => limit as u64 / MEMORY_SHARE / subtasks,
            MemoryLimit::Infinite | MemoryLimit::Unknown => u64::MAX,
        };
        let partitions = partitions.max(1);
        let mut bytes = wanted.min(share).max(BYTES_MIN);
        loop {
            let budget = Budget::of(bytes, partitions);
            match memory.try_grow(budget.bytes(partitions)) {
                Ok(()) => {
                    return Ok(Self {
                        budget,
                        memory,
                        left: partitions,
                    });
                }
                Err(_) if bytes > BYTES_MIN => bytes = (bytes / 2).max(BYTES_MIN),
                Err(_) => return Err(refused(budget.bytes(partitions), partitions)),
            }
        }
    }

    /// The shares.
    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    /// Takes the memory of one more partition, unless it was counted from the start.
    pub(super) fn add_partition(&mut self) -> Result<()> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Ok(());
        }
        let bytes = self.budget.partition_bytes();
        self.memory.try_grow(bytes).map_err(|_| refused(bytes, 1))
    }
}

fn refused(bytes: usize, partitions: u64) -> Error {
    let message = "the job's memory has no room for the fetching of records";
    Error::new(Kind::Limit, codes::MEMORY, message)
        .detail(format!(
            "one subtask needs {} KiB for {partitions} partitions at least",
            bytes >> 10
        ))
        .hint("give the job more memory with --memory, or lower --parallelism")
}

#[cfg(test)]
mod tests {
    use super::*;

    use datafusion_execution::memory_pool::GreedyMemoryPool;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_budget_holds_what_it_is_given() {
        for (mib, partitions) in [(64, 1), (64, 2), (64, 7), (64, 16), (8, 1), (1_024, 1)] {
            let budget = Budget::of(mib * MIB, partitions);
            let taken = budget.bytes(partitions) as u64;
            assert!(taken <= mib * MIB, "{mib} {partitions}: {taken}");
            assert!(budget.answer_bytes <= budget.queue_bytes);
        }
        // Many partitions have their least, whatever that is in all.
        let budget = Budget::of(MIB, 1_000);
        assert_eq!(budget.queue_bytes, QUEUE_BYTES.0);
        assert_eq!(budget.block_bytes as u64, BLOCK_BYTES.0);
    }

    #[test]
    fn memory_is_taken_scaled_down_and_given_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(256 << 20));
        let open = |partitions, subtasks| {
            Account::take(
                64 * MIB,
                partitions,
                subtasks,
                &pool,
                "fetch buffers".to_owned(),
            )
        };
        let one = open(1, 1).unwrap();
        // An eighth of the job's memory, not all that was asked for.
        assert!((16 << 20..=32 << 20).contains(&pool.reserved()));
        drop(one);
        assert_eq!(pool.reserved(), 0);
        let four = open(2, 4).unwrap();
        assert!(pool.reserved() <= 8 << 20, "{}", pool.reserved());
        drop(four);

        // Others have nearly all.
        let others = MemoryConsumer::new("others").register(&pool);
        others.try_grow((256 << 20) - (3 << 20)).unwrap();
        let mut account = open(1, 1).unwrap();
        account.add_partition().unwrap();
        let mut more = (0..100).map(|_| account.add_partition());
        let error = more.find_map(Result::err).unwrap();
        assert_eq!((error.code(), error.kind()), (codes::MEMORY, Kind::Limit));
        drop(account);
        others.try_grow((3 << 20) - 1_000).unwrap();
        assert_eq!(open(1, 1).unwrap_err().code(), codes::MEMORY);
    }
}
