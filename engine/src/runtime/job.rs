//! A running graph: starts its tasks, watches over them, commits or throws away.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::build::{self, CommitMode, Plan};
use super::checkpointed;
use super::progress::CheckpointProgress;
use super::tail::{self, Held};
use super::task::Task;
use crate::checkpoint::Store;
use crate::dead_letter::DeadLetters;
use crate::env::{TaskHandle, Work};
use crate::error::{Error, Kind, Result, codes};
use crate::feed::WatermarkMode;
use crate::graph::{Graph, NodeKind};
use crate::job::JobContext;
use crate::message::Epoch;
use crate::sink::{Owner, Start};
use crate::source::Boundedness;

/// How a job treats time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOptions {
    /// Whether watermarks follow the rows; a batch job closes windows only by what is exact.
    pub streaming: bool,
    /// After how long without rows a source, or a partition of it, stops holding others back.
    pub idle_timeout: Option<Duration>,
    /// How far one partition of a source may be ahead of the slowest in event time.
    pub drift_max: Option<Duration>,
}

/// Where a job keeps its checkpoints, and how often it takes one.
#[derive(Debug, Clone)]
pub struct CheckpointOptions {
    /// The place.
    pub store: Store,
    /// From one to the next.
    pub interval: Duration,
    /// How many are kept.
    pub retained: usize,
    /// The run reads what requests ask for of rows in quarantine, and nothing else.
    pub alone: bool,
}

/// How a job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// All is read, written and visible.
    Finished,
    /// It was asked to end, and goes on from this epoch when it is started again.
    Stopped(u64),
}

/// A running job.
#[derive(Debug)]
pub struct Job {
    handle: TaskHandle,
    result: oneshot::Receiver<Result<JobEnd>>,
    checkpoints: CheckpointProgress,
}

impl Job {
    /// Starts the tasks of a graph. To stop it, use the sender of `context.stop`. With checkpoints
    /// it goes on where the last one left off.
    pub fn start(
        graph: Arc<Graph>,
        context: JobContext,
        time: TimeOptions,
        checkpoints: Option<CheckpointOptions>,
    ) -> Self {
        let (give, result) = oneshot::channel();
        let env = context.env.clone();
        let progress = CheckpointProgress::default();
        let told = progress.clone();
        let run = async move {
            let result = match (refer(&graph, &context).await, checkpoints) {
                (Err(error), _) => Err(error),
                (Ok(()), None) => run(&graph, context, time).await.map(|()| JobEnd::Finished),
                (Ok(()), Some(options)) => {
                    checkpointed::run(&graph, context, time, options, told).await
                }
            };
            drop(give.send(result));
        };
        Self {
            handle: env.spawn(Work::Io, run),
            result,
            checkpoints: progress,
        }
    }

    /// What its checkpoints have come to.
    pub fn checkpoints(&self) -> CheckpointProgress {
        self.checkpoints.clone()
    }

    /// Waits for the end: all is written and visible, or the first error is given and what was
    /// not visible is gone.
    pub async fn wait(self) -> Result<JobEnd> {
        self.handle.join().await?;
        self.result
            .await
            .map_err(|_| Error::internal("the job gave no result"))?
    }
}

/// Reads the tables that rules refer to, and what they compare with.
async fn refer(graph: &Graph, context: &JobContext) -> Result<()> {
    for reference in graph.references() {
        let (reference, job) = (Arc::clone(reference), context.clone());
        let (give, result) = oneshot::channel();
        let load = async move { drop(give.send(reference.load(&job).await)) };
        context.env.spawn(Work::Cpu, load).join().await?;
        let lost = |_| Error::internal("a table that rules refer to was not read");
        result.await.map_err(lost)??;
    }
    for baseline in graph.baselines() {
        let (baseline, job) = (Arc::clone(baseline), context.clone());
        let (give, result) = oneshot::channel();
        let load = async move { drop(give.send(baseline.load(&job).await)) };
        context.env.spawn(Work::Cpu, load).join().await?;
        let lost = |_| Error::internal("what rules compare with was not read");
        result.await.map_err(lost)??;
    }
    Ok(())
}

/// Whether all sources of a graph have an end.
pub(super) fn is_bounded(graph: &Graph) -> bool {
    graph.nodes().all(|(_, node)| match &node.kind {
        NodeKind::Scan(scan) => scan.source.boundedness() == Boundedness::Bounded,
        _ => true,
    })
}

pub(super) fn watermarks(time: TimeOptions) -> WatermarkMode {
    if time.streaming {
        WatermarkMode::Rows
    } else {
        WatermarkMode::Exact
    }
}

async fn run(graph: &Graph, context: JobContext, time: TimeOptions) -> Result<()> {
    for (_, node) in graph.nodes() {
        if let NodeKind::Sink(sink) = &node.kind {
            if let Some(why) = sink.needs_checkpoints() {
                return Err(needs_checkpoints(&node.name, why));
            }
            sink.own(&Owner {
                pipeline: Arc::clone(&context.pipeline),
                node: Arc::clone(&node.id),
                origin: Arc::clone(&context.run_id),
                fence: Epoch(0),
                checkpoints: false,
            });
            sink.check(&node.schema, Start::Fresh).await?;
        }
    }
    let (fail, failed) = watch::channel(false);
    let held: Held = Arc::default();
    let commits = if is_bounded(graph) && !time.streaming {
        CommitMode::AtEnd(Arc::clone(&held))
    } else {
        CommitMode::AtOnce(Arc::new(AtomicU64::new(1)))
    };
    let plan = Plan {
        watermarks: watermarks(time),
        idle_timeout: time.idle_timeout,
        drift_max: time.drift_max,
        commits,
        failed,
    };
    let result = match build::tasks(graph, &context, &plan).await {
        Ok(built) => run_tasks(built.tasks, &context, &fail).await,
        Err(error) => Err(error),
    };
    let result = keep_aside(&context.dead_letters, result);
    let now = context.env.clock().now_micros();
    let result = result.and_then(|()| context.dead_letters.expire(now));
    settle(&held, result).await?;
    complete(graph).await
}

/// Shows what a job without checkpoints has kept aside: rows in quarantine only if it went well.
fn keep_aside(letters: &DeadLetters, result: Result<()>) -> Result<()> {
    let shown = result.and_then(|()| {
        letters.flush()?;
        letters.commit(&letters.prepare_all()?)
    });
    if shown.is_err() {
        // Letters already counted are worth more than a second error.
        drop(letters.flush());
        drop(letters.discard());
    }
    shown
}

fn needs_checkpoints(sink: &str, why: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::OPTION,
        format!("sink \"{sink}\" needs checkpoints"),
    )
    .detail(why)
    .hint("name a place for them: weir run --state FOLDER, or a URL such as s3://bucket/state")
}

/// Tells all sinks that the job has ended well.
pub(super) async fn complete(graph: &Graph) -> Result<()> {
    for (_, node) in graph.nodes() {
        if let NodeKind::Sink(sink) = &node.kind {
            sink.complete().await?;
        }
    }
    Ok(())
}

/// Commits what waited for the end of all tasks, or throws it away.
async fn settle(held: &Held, mut result: Result<()>) -> Result<()> {
    let tokens = std::mem::take(&mut *held.lock());
    for (sink, metrics, token) in tokens {
        if result.is_ok() {
            result = tail::commit(&*sink, &metrics, Epoch(1), &token).await;
        }
        // The work whose commit failed goes as well: an abort of what is visible does nothing.
        if result.is_err()
            && let Err(second) = sink.abort(&token).await
        {
            tracing::warn!(error = %second, "unfinished work could not be removed");
        }
    }
    result
}

/// Runs tasks to their end; the first error that is no mere consequence is given.
pub(super) async fn run_tasks(
    tasks: Vec<Task>,
    context: &JobContext,
    fail: &watch::Sender<bool>,
) -> Result<()> {
    let mut running = FuturesUnordered::new();
    for task in tasks {
        let slot: Arc<Mutex<Option<Result<()>>>> = Arc::default();
        let give = Arc::clone(&slot);
        let handle = context.env.spawn(Work::Cpu, async move {
            let result = task.run().await;
            *give.lock() = Some(result);
        });
        running.push(async move {
            handle.join().await?;
            slot.lock()
                .take()
                .unwrap_or_else(|| Err(Error::cancelled()))
        });
    }
    let mut first: Option<Error> = None;
    while let Some(result) = running.next().await {
        let Err(error) = result else { continue };
        fail.send_replace(true);
        // A task that was stopped because another failed is not the cause.
        let replaces = first
            .as_ref()
            .is_none_or(|known| known.kind() == Kind::Cancelled && error.kind() != Kind::Cancelled);
        if replaces {
            first = Some(error);
        }
    }
    first.map_or(Ok(()), Err)
}
