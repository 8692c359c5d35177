//! One task: its head reads a source, an island or an inbox, and drives its chain.

use std::sync::Arc;
use std::time::Duration;

use datafusion_physical_plan::ExecutionPlan;
use futures::StreamExt;
use tokio::sync::watch;

use super::chain::Chain;
use crate::error::{Error, Result};
use crate::exchange::{Event, Inbox, Merge};
use crate::feed::Feed;
use crate::island;
use crate::job::{JobContext, Stop, TaskContext};
use crate::limits;
use crate::message::{EventTime, Message};
use crate::metrics::SubtaskMetrics;
use crate::reading::{Next, Reading};
use crate::scan::Scan;

/// Where a task's rows come from.
#[derive(Debug)]
pub(super) enum Head {
    /// A source.
    Scan {
        scan: Arc<Scan>,
        feed: Arc<Feed>,
        task: TaskContext,
        idle: Option<Duration>,
    },
    /// A partition of an island.
    Island {
        plan: Arc<dyn ExecutionPlan>,
        partition: usize,
        metrics: Arc<SubtaskMetrics>,
    },
    /// Other tasks; each channel belongs to an input of the first operator.
    Inbox { inbox: Inbox, inputs: Vec<usize> },
}

/// A task before it runs.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) head: Head,
    pub(super) chain: Chain,
    pub(super) job: JobContext,
    /// Becomes true when another task has failed.
    pub(super) failed: watch::Receiver<bool>,
}

impl Task {
    /// Runs to the end. When the job fails or is stopped at once, what is open is thrown away.
    pub(super) async fn run(self) -> Result<()> {
        let Self {
            head,
            mut chain,
            job,
            failed,
        } = self;
        let result = tokio::select! {
            result = drive(head, &mut chain, &job) => result,
            () = stopped(&job, failed) => Err(Error::cancelled()),
        };
        if result.is_err() {
            chain.tail.discard().await?;
        }
        result
    }
}

async fn stopped(job: &JobContext, mut failed: watch::Receiver<bool>) {
    let mut stop = job.stop.clone();
    let now = async {
        if stop.wait_for(|stop| *stop == Stop::Now).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let fail = async {
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = now => {}
        () = fail => {}
    }
}

async fn drive(head: Head, chain: &mut Chain, job: &JobContext) -> Result<()> {
    match head {
        Head::Scan {
            scan,
            feed,
            task,
            idle,
        } => read_scan(scan, feed, task, idle, chain).await,
        Head::Island {
            plan,
            partition,
            metrics,
        } => read_island(&plan, partition, &metrics, chain, job).await,
        Head::Inbox { inbox, inputs } => read_inbox(inbox, &inputs, chain, job).await,
    }
}

async fn read_scan(
    scan: Arc<Scan>,
    feed: Arc<Feed>,
    task: TaskContext,
    idle_timeout: Option<Duration>,
    chain: &mut Chain,
) -> Result<()> {
    let metrics = Arc::clone(&task.metrics);
    let clock = task.job.env.clock_arc();
    let mut reading = Reading::new(scan, Arc::clone(&feed), task);
    let mut sent = EventTime::MIN;
    let mut last_rows = clock.monotonic();
    let mut idle = false;
    loop {
        let start = clock.monotonic();
        let next = reading.next().await?;
        metrics.add_busy(clock.monotonic().saturating_sub(start));
        let waits = matches!(next, Next::Wait);
        match next {
            Next::Rows(batch) => {
                (last_rows, idle) = (clock.monotonic(), false);
                chain.process(0, batch).await?;
                // A reader of a local file never waits: others get their turn here.
                tokio::task::yield_now().await;
            }
            Next::Moved | Next::Wait => {}
            Next::End => break,
        }
        if let Some(watermark) = feed.watermark().filter(|watermark| *watermark > sent) {
            sent = watermark;
            metrics.set_watermark(watermark);
            chain.watermark(watermark).await?;
        }
        if waits {
            let quiet = clock.monotonic().saturating_sub(last_rows);
            if !idle && idle_timeout.is_some_and(|timeout| quiet >= timeout) {
                idle = true;
                chain.idle().await?;
            }
            chain.tail.tick().await?;
            feed.wait().await;
        }
    }
    metrics.set_watermark(EventTime::MAX);
    chain.end().await
}

async fn read_island(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    metrics: &SubtaskMetrics,
    chain: &mut Chain,
    job: &JobContext,
) -> Result<()> {
    let mut rows = plan.execute(partition, island::context(job))?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        metrics.add_out(batch.num_rows());
        chain.process(0, batch).await?;
    }
    metrics.set_watermark(EventTime::MAX);
    chain.end().await
}

async fn read_inbox(
    mut inbox: Inbox,
    inputs: &[usize],
    chain: &mut Chain,
    job: &JobContext,
) -> Result<()> {
    let mut merge = Merge::new(inputs.len());
    loop {
        let (channel, message) = match inbox.try_recv() {
            Some(found) => found,
            None => tokio::select! {
                found = inbox.recv() => found,
                () = job.env.clock().sleep(limits::SINK_TICK_INTERVAL) => {
                    chain.tail.tick().await?;
                    continue;
                }
            },
        };
        let is_watermark = matches!(message, Message::Watermark(_));
        match merge.take(channel, message) {
            Event::Batch(batch) => {
                let input = inputs.get(channel).copied().unwrap_or(0);
                chain.process(input, batch).await?;
            }
            Event::Watermark(watermark) => chain.watermark(watermark).await?,
            Event::Idle => chain.idle().await?,
            Event::Block(channel) => inbox.block(channel),
            Event::Barrier(epoch) => {
                chain.barrier(epoch).await?;
                inbox.unblock();
            }
            Event::End => return chain.end().await,
            Event::Nothing => {}
        }
        if !is_watermark {
            tokio::task::yield_now().await;
        }
    }
}
