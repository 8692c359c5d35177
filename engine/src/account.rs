//! What the state of a subtask takes of the job's memory.

use std::sync::atomic::Ordering::Relaxed;

use datafusion_common::Result;
use datafusion_execution::memory_pool::MemoryReservation;

use crate::metrics::SubtaskMetrics;

/// Bytes by which the state may differ from what is reserved: asking the pool for each batch would
/// be a lock that all subtasks share.
const SLACK_BYTES: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// Takes what is needed, or gives back what is not.
pub(crate) fn settle(
    memory: &MemoryReservation,
    metrics: &SubtaskMetrics,
    bytes: usize,
) -> Result<()> {
    metrics.state_bytes.store(bytes as u64, Relaxed);
    if bytes == 0 || bytes.abs_diff(memory.size()) >= SLACK_BYTES {
        memory.try_resize(bytes)?;
    }
    Ok(())
}
