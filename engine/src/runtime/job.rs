//! A running graph: starts its tasks, watches over them, commits or throws away.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::build::{self, Plan};
use super::tail::{self, Held};
use crate::env::{TaskHandle, Work};
use crate::error::{Error, Kind, Result};
use crate::feed::WatermarkMode;
use crate::graph::{Graph, NodeKind};
use crate::job::JobContext;
use crate::sink::Start;
use crate::source::Boundedness;

/// How a job treats time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOptions {
    /// Whether watermarks follow the rows; a batch job closes windows only by what is exact.
    pub streaming: bool,
    /// After how long without rows a source stops holding others back.
    pub idle_timeout: Option<Duration>,
}

/// A running job.
#[derive(Debug)]
pub struct Job {
    handle: TaskHandle,
    result: oneshot::Receiver<Result<()>>,
}

impl Job {
    /// Starts the tasks of a graph. To stop it, use the sender of `context.stop`.
    pub fn start(graph: Arc<Graph>, context: JobContext, time: TimeOptions) -> Self {
        let (give, result) = oneshot::channel();
        let env = context.env.clone();
        let run = async move { drop(give.send(run(&graph, context, time).await)) };
        Self {
            handle: env.spawn(Work::Io, run),
            result,
        }
    }

    /// Waits for the end: all is written and visible, or the first error is given and what was
    /// not visible is gone.
    pub async fn wait(self) -> Result<()> {
        self.handle.join().await?;
        self.result
            .await
            .map_err(|_| Error::internal("the job gave no result"))?
    }
}

async fn run(graph: &Graph, context: JobContext, time: TimeOptions) -> Result<()> {
    for (_, node) in graph.nodes() {
        if let NodeKind::Sink(sink) = &node.kind {
            sink.check(&node.schema, Start::Fresh).await?;
        }
    }
    let bounded = graph.nodes().all(|(_, node)| match &node.kind {
        NodeKind::Scan(scan) => scan.source.boundedness() == Boundedness::Bounded,
        _ => true,
    });
    let (fail, failed) = watch::channel(false);
    let held: Held = Arc::default();
    let plan = Plan {
        watermarks: if time.streaming {
            WatermarkMode::Rows
        } else {
            WatermarkMode::Exact
        },
        idle_timeout: time.idle_timeout,
        held: (bounded && !time.streaming).then(|| Arc::clone(&held)),
        failed,
    };
    let result = run_tasks(graph, &context, &plan, &fail).await;
    let result = match result {
        Ok(()) => context.dead_letters.flush(),
        Err(error) => {
            // Letters already counted are worth more than a second error.
            drop(context.dead_letters.flush());
            Err(error)
        }
    };
    settle(&held, result).await?;
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
            result = tail::commit(&*sink, &metrics, &token).await;
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

async fn run_tasks(
    graph: &Graph,
    context: &JobContext,
    plan: &Plan,
    fail: &watch::Sender<bool>,
) -> Result<()> {
    let tasks = build::tasks(graph, context, plan).await?;
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
