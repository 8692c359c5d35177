//! Stands in for the runtime: a subtask's context, on one thread and with a clock that stands, so that
//! work is the same each time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use tokio::sync::watch;
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::env::{BoxFuture, Clock, Env, Spawner, TaskHandle, Work as Kind};
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::message::EventTime;
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::operator::{Operator, Output};

use crate::work::Result;

/// Rows of a batch, as in the program.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// More than any of the work takes.
const MEMORY_BYTES: usize = 4 << 30;
/// A future that is not ready after so many questions waits for something that cannot come.
const POLLS_MAX: usize = 1_000;

/// A clock that stands.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _time: Duration) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }
}

/// Does at once what it is to start.
#[derive(Debug)]
struct AtOnce;

impl Spawner for AtOnce {
    fn spawn(&self, _work: Kind, task: BoxFuture<()>) -> TaskHandle {
        let done = wait(task).map_err(|_| weir_engine::Error::internal("a task waits"));
        TaskHandle::new(Box::pin(std::future::ready(done)), Box::new(|| ()))
    }

    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> TaskHandle {
        call();
        TaskHandle::new(Box::pin(std::future::ready(Ok(()))), Box::new(|| ()))
    }
}

/// Brings a future to its end on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
    }
    Err("the work waits for something".into())
}

/// Time and tasks for it.
pub(crate) fn env() -> Env {
    Env::new(Arc::new(Stopped), Arc::new(AtOnce), 1)
}

/// A memory pool that is large enough.
pub(crate) fn memory() -> Arc<dyn MemoryPool> {
    Arc::new(GreedyMemoryPool::new(MEMORY_BYTES))
}

/// What the only subtask of a node is given.
pub(crate) fn context() -> TaskContext {
    TaskContext {
        job: JobContext {
            env: env(),
            memory: memory(),
            batch_rows: BATCH_ROWS,
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
            datafusion: Arc::new(DataFusionContext::default()),
            metrics: Metrics::default(),
            stop: watch::channel(Stop::Run).1,
            pipeline: "micro".into(),
            run_id: "micro".into(),
        },
        node: "micro".into(),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    }
}

/// Feeds operators one behind the other, as the runtime does with a chain; gives the number of rows that
/// come out behind the last.
pub(crate) fn feed(
    chain: &mut [Box<dyn Operator>],
    batches: &[(RecordBatch, EventTime)],
) -> Result<usize> {
    let mut rows = 0;
    for (batch, watermark) in batches {
        rows += step(chain, vec![batch.clone()], *watermark, false)?;
    }
    Ok(rows + step(chain, Vec::new(), EventTime::MAX, true)?)
}

fn step(
    chain: &mut [Box<dyn Operator>],
    mut batches: Vec<RecordBatch>,
    watermark: EventTime,
    end: bool,
) -> Result<usize> {
    let mut out = Output::default();
    for operator in chain {
        for batch in batches {
            operator.process(0, batch, &mut out)?;
            while operator.resume(&mut out)? {}
        }
        operator.watermark(watermark, &mut out)?;
        while operator.resume(&mut out)? {}
        if end {
            operator.end(&mut out)?;
            while operator.resume(&mut out)? {}
        }
        batches = out.take();
    }
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}
