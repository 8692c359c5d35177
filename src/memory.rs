//! The memory budget of a job and what the process took.
//!
//! The budget is what the user gives with `--memory`. The engine's account gets a share of it: the
//! rest is for what no account sees, such as batches on their way through a task, the buffers of
//! decoders and HTTP clients, and the allocator's own slack.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion_execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion_execution::memory_pool::{MemoryPool, TrackConsumersPool};
use datafusion_execution::object_store::ObjectStoreUrl;
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;

use crate::units;

use overdraft::OverdraftPool;

mod overdraft;

/// The share of the budget that is accounted, in percent. A sort of 5 GB that merges its runs takes
/// about twice of what it accounts: with 75 it took 560 MB of a budget of 256 MB.
const POOL_PERCENT: usize = 50;
/// Consumers that an out-of-memory error names: enough to see which step holds the memory.
const CONSUMERS_NAMED_MAX: usize = 5;

/// Checks that a job can run within the budget.
pub fn check_budget(bytes: usize) -> Result<usize> {
    if bytes >= limits::MEMORY_BYTES_MIN {
        return Ok(bytes);
    }
    let least = units::bytes(limits::MEMORY_BYTES_MIN as u64);
    Err(Error::new(
        Kind::Invalid,
        codes::SETTING,
        format!(
            "a job cannot run in {} of memory",
            units::bytes(bytes as u64)
        ),
    )
    .hint(format!("give at least {least}: --memory 64MB")))
}

/// Makes the one account of memory that all jobs of a host share.
pub fn pool(budget: usize) -> Arc<dyn MemoryPool> {
    let accounted = budget / 100 * POOL_PERCENT;
    let named = NonZeroUsize::new(CONSUMERS_NAMED_MAX).unwrap_or(NonZeroUsize::MIN);
    Arc::new(TrackConsumersPool::new(
        OverdraftPool::new(accounted),
        named,
    ))
}

/// Makes DataFusion's environment over the account: it spills into the system's folder for
/// temporary files (`TMPDIR`), and it has no object store at all, so that no SQL text can reach a
/// file or a bucket except through a connector.
pub fn runtime_env(pool: Arc<dyn MemoryPool>) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::OsTmpDirectory);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(disk)
        .build_arc()?;
    // The default registry comes with the local disk as `file://`.
    drop(runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?);
    Ok(runtime)
}

/// Gives the most memory that was resident at once since the process started, where the system
/// tells it (Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status() {
        assert_eq!(
            parse_peak("Name:\tweir\nVmHWM:\t   14200 kB\nVmRSS:\t 1 kB\n"),
            Some(14_540_800)
        );
        assert_eq!(parse_peak("Name:\tweir\n"), None);
        #[cfg(target_os = "linux")]
        assert!(peak_resident_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn a_budget_below_the_least_is_refused_with_a_hint() {
        assert_eq!(check_budget(256_000_000).unwrap(), 256_000_000);
        let error = check_budget(1000).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Invalid, codes::SETTING)
        );
        assert!(error.hint_text().unwrap().contains("--memory"));
    }

    #[test]
    fn the_environment_has_no_object_store() {
        let runtime = runtime_env(pool(limits::MEMORY_BYTES_MIN)).unwrap();
        assert!(
            runtime
                .object_store(ObjectStoreUrl::local_filesystem())
                .is_err()
        );
    }
}
