//! What jobs run on: two tokio runtimes, one account of memory, one environment.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion_execution::memory_pool::MemoryPool;
use datafusion_execution::runtime_env::RuntimeEnv;
use tokio::runtime::{Builder, Runtime};
use weir_engine::env::{Clock as _, Env, SystemClock, TokioSpawner};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;

use crate::memory;

/// Threads that wait for peers: they compute nothing, so two serve any number of connections.
const IO_THREADS: usize = 2;
/// Threads for blocking calls of tasks that compute (reading spilled runs) at most. The allocator
/// keeps freed memory per thread for a while: with 64 of them the merge of a sort took 90 MB more.
const CPU_BLOCKING_THREADS_MAX: usize = 4;
/// Threads for blocking calls of sinks and stores (writing and syncing local files) at most.
const IO_BLOCKING_THREADS_MAX: usize = 16;
/// How long the end of the process waits for blocking calls that are still running.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(2);

/// How large a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostOptions {
    /// Threads that compute.
    pub threads: usize,
    /// The memory budget in bytes.
    pub memory: usize,
    /// Decides all chance; without it, the time of the start does.
    pub seed: Option<u64>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            threads: cores(),
            memory: limits::MEMORY_BYTES_DEFAULT,
            seed: None,
        }
    }
}

/// Counts the cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The runtimes, the memory and the environment of jobs.
///
/// Dropping it stops what still runs; it must not be dropped within async code.
#[derive(Debug)]
pub struct Host {
    options: HostOptions,
    env: Env,
    pool: Arc<dyn MemoryPool>,
    runtime_env: Arc<RuntimeEnv>,
    cpu: Option<Runtime>,
    io: Option<Runtime>,
}

impl Host {
    /// Starts the threads and makes the account of memory.
    pub fn new(options: HostOptions) -> Result<Self> {
        let budget = memory::check_budget(options.memory)?;
        let threads = options.threads.clamp(1, limits::PARALLELISM_MAX as usize);
        let cpu = runtime("weir-cpu", threads, CPU_BLOCKING_THREADS_MAX)?;
        let io = runtime("weir-io", IO_THREADS, IO_BLOCKING_THREADS_MAX)?;
        let spawner = TokioSpawner::new(cpu.handle().clone(), io.handle().clone());
        let clock = SystemClock::default();
        let seed = options
            .seed
            .unwrap_or_else(|| clock.now_micros().unsigned_abs());
        let env = Env::new(Arc::new(clock), Arc::new(spawner), seed);
        let pool = memory::pool(budget);
        let runtime_env = memory::runtime_env(Arc::clone(&pool))?;
        Ok(Self {
            options,
            env,
            pool,
            runtime_env,
            cpu: Some(cpu),
            io: Some(io),
        })
    }

    /// Gives time, chance and tasks.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Gives the account of memory.
    pub fn pool(&self) -> &Arc<dyn MemoryPool> {
        &self.pool
    }

    /// Gives DataFusion's environment.
    pub fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.runtime_env
    }

    /// Gives how large it is.
    pub fn options(&self) -> HostOptions {
        self.options
    }

    /// Runs a future to its end on this thread. Its tasks go to the computing runtime, where its
    /// timers and channels live too.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let runtime = self
            .cpu
            .as_ref()
            .ok_or_else(|| Error::internal("the host is shut down"))?;
        Ok(runtime.block_on(future))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for runtime in [self.cpu.take(), self.io.take()].into_iter().flatten() {
            runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
        }
    }
}

fn runtime(name: &str, threads: usize, blocking: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(blocking)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                Kind::Limit,
                codes::LIMIT,
                format!("cannot start {threads} threads"),
            )
            .hint("lower --parallelism, or raise the limit of threads (ulimit -u)")
            .caused_by(error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::env::Work;

    #[test]
    fn a_host_runs_tasks_and_ends() {
        let host = Host::new(HostOptions {
            threads: 1,
            ..HostOptions::default()
        })
        .unwrap();
        let env = host.env().clone();
        let sum = host.block_on(async move {
            let handle = env.spawn(Work::Cpu, async {});
            handle.join().await?;
            env.blocking(|| 1 + 1).await
        });
        assert_eq!(sum.unwrap().unwrap(), 2);
    }
}
