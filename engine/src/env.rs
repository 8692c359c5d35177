//! Where time, chance, ids and tasks come from. Nothing else in Weir asks the system for them
//! (clippy forbids it), so that a whole job can run under a simulated environment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::error::{Error, Kind, Result, codes};

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Wall time and monotonic time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<()>;
}

/// The number of the kind of work a task does, which decides the runtime it is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Computes: operators, decoding, encoding.
    Cpu,
    /// Waits for peers: network and control loops.
    Io,
}

/// Starts tasks.
pub trait Spawner: fmt::Debug + Send + Sync {
    /// Starts a task; the handle gives its result, or an error when it panicked.
    fn spawn(&self, work: Work, task: BoxFuture<()>) -> TaskHandle;
    /// Runs a blocking call away from the tasks.
    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> TaskHandle;
}

/// A started task. Dropping it does not stop the task.
pub struct TaskHandle {
    done: BoxFuture<Result<()>>,
    abort: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskHandle")
    }
}

impl TaskHandle {
    /// Makes a handle from what waits for the task and what stops it.
    pub fn new(done: BoxFuture<Result<()>>, abort: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { done, abort }
    }

    /// Waits for the end of the task. A panic is an error of the job, not of the process.
    pub async fn join(self) -> Result<()> {
        self.done.await
    }

    /// Stops the task at its next wait.
    pub fn abort(&self) {
        (self.abort)();
    }
}

/// The environment of a job: cheap to clone.
#[derive(Debug, Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    seed: u64,
    ids: Arc<AtomicU64>,
}

impl Env {
    /// Makes an environment of its parts; `seed` decides all chance.
    pub fn new(clock: Arc<dyn Clock>, spawner: Arc<dyn Spawner>, seed: u64) -> Self {
        Self {
            clock,
            spawner,
            seed,
            ids: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The clock, shared.
    pub fn clock_arc(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// A random generator of its own for a purpose; the same seed and purpose give the same.
    pub fn rng(&self, purpose: &str) -> StdRng {
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        StdRng::seed_from_u64(self.seed ^ hash)
    }

    /// An id that is unique among the runs of a pipeline: start time, then a counter.
    pub fn next_id(&self) -> String {
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        format!("{:013x}-{:04x}", self.clock.now_micros(), n)
    }

    /// Starts a task.
    pub fn spawn(&self, work: Work, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.spawner.spawn(work, Box::pin(task))
    }

    /// Runs a blocking call away from the tasks and waits for its result.
    pub async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (give, take) = tokio::sync::oneshot::channel();
        let handle = self
            .spawner
            .blocking(Box::new(move || drop(give.send(call()))));
        handle.join().await?;
        take.await
            .map_err(|_| Error::internal("a blocking call gave no result"))
    }

    /// Waits for a future at most so long; `None` when the time is up.
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = self.clock.sleep(time) => None,
        }
    }
}

/// The real clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn default() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn now_micros(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| {
            i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
        })
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Tasks on two tokio runtimes: one computes, one waits for peers.
#[derive(Debug, Clone)]
pub struct TokioSpawner {
    cpu: tokio::runtime::Handle,
    io: tokio::runtime::Handle,
}

impl TokioSpawner {
    /// Takes the two runtimes.
    pub fn new(cpu: tokio::runtime::Handle, io: tokio::runtime::Handle) -> Self {
        Self { cpu, io }
    }
}

impl Spawner for TokioSpawner {
    fn spawn(&self, work: Work, task: BoxFuture<()>) -> TaskHandle {
        let runtime = match work {
            Work::Cpu => &self.cpu,
            Work::Io => &self.io,
        };
        tokio_handle(runtime.spawn(task))
    }

    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> TaskHandle {
        tokio_handle(self.io.spawn_blocking(call))
    }
}

fn tokio_handle(handle: tokio::task::JoinHandle<()>) -> TaskHandle {
    let abort = handle.abort_handle();
    let done = async move {
        match handle.await {
            Ok(()) => Ok(()),
            Err(error) if error.is_cancelled() => Err(Error::cancelled()),
            Err(error) => Err(Error::new(
                Kind::Internal,
                codes::PANIC,
                format!(
                    "a task panicked: {}",
                    panic_text(error.into_panic().as_ref())
                ),
            )
            .hint("this is a bug in Weir; the job ends, the process does not")),
        }
    };
    TaskHandle::new(Box::pin(done), Box::new(move || abort.abort()))
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
