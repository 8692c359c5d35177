//! The heads of the graph: tasks that read a source or a bounded stretch of the plan, and put the
//! barriers of checkpoints into their streams.

use std::sync::Arc;
use std::time::Duration;

use datafusion_execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::chain::Chain;
use super::report::{Barrier, Wire};
use super::task::pass;
use crate::error::Result;
use crate::feed::{Feed, Next, Reading, SplitReport};
use crate::job::TaskContext;
use crate::message::{Epoch, EventTime};
use crate::metrics::SubtaskMetrics;
use crate::source::{Position, Split};

/// One subtask of a source.
#[derive(Debug)]
pub(super) struct Scanning {
    pub(super) reading: Reading,
    pub(super) feed: Arc<Feed>,
    pub(super) task: TaskContext,
    pub(super) idle_timeout: Option<Duration>,
}

impl Scanning {
    /// Reads to the end; gives where its splits stand then.
    pub(super) async fn run(
        mut self,
        chain: &mut Chain,
        wire: &mut Option<Wire>,
    ) -> Result<SplitReport> {
        let metrics = Arc::clone(&self.task.metrics);
        let clock = self.task.job.env.clock_arc();
        let mut sent = EventTime::MIN;
        let mut last_rows = clock.monotonic();
        let mut idle = false;
        loop {
            if let Some(barrier) = wire.as_ref().and_then(Wire::due) {
                self.barrier(&barrier, chain, wire).await?;
            }
            let start = clock.monotonic();
            let next = self.reading.next().await?;
            metrics.add_busy(clock.monotonic().saturating_sub(start));
            let waits = matches!(next, Next::Wait | Next::Paused);
            match next {
                Next::Rows(batch) => {
                    (last_rows, idle) = (clock.monotonic(), false);
                    chain.process(0, batch).await?;
                    // A reader of a local file never waits: others get their turn here.
                    tokio::task::yield_now().await;
                }
                Next::Moved | Next::Wait => {}
                // It is not idle: its rows come when it is resumed, and must not be late then.
                Next::Paused => last_rows = clock.monotonic(),
                Next::End => break,
            }
            if let Some(watermark) = self.feed.watermark().filter(|watermark| *watermark > sent) {
                sent = watermark;
                metrics.set_watermark(watermark);
                self.reading.reached(watermark);
                chain.watermark(watermark).await?;
                // A watermark wakes those who receive it.
                idle = false;
            }
            chain.tick().await?;
            if waits {
                let quiet = clock.monotonic().saturating_sub(last_rows);
                if !idle && self.idle_timeout.is_some_and(|timeout| quiet >= timeout) {
                    idle = true;
                    chain.idle().await?;
                }
                wait(&self.feed, wire).await;
            }
        }
        metrics.set_watermark(EventTime::MAX);
        Ok(self.reading.report())
    }

    async fn barrier(
        &mut self,
        barrier: &Barrier,
        chain: &mut Chain,
        wire: &mut Option<Wire>,
    ) -> Result<()> {
        let splits = (Arc::clone(&self.task.node), self.reading.report());
        pass(chain, wire, Epoch(barrier.epoch), Some(splits)).await?;
        if barrier.last {
            // What is read after the last barrier would be thrown away.
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// Waits for rows that may have come, or for a barrier.
async fn wait(feed: &Feed, wire: &mut Option<Wire>) {
    match wire {
        None => feed.wait().await,
        Some(wire) => tokio::select! {
            biased;
            () = feed.wait() => {}
            () = wire.wait() => {}
        },
    }
}

/// One partition of a bounded stretch of the plan. Its rows come in the same order in each run, so
/// that a checkpoint keeps only how many batches it has given.
pub(super) struct Island {
    pub(super) rows: SendableRecordBatchStream,
    /// Names the partition.
    pub(super) id: String,
    pub(super) node: Arc<str>,
    /// Batches that an earlier run has given already.
    pub(super) given: u64,
}

impl Island {
    /// Gives all rows; gives where it stands then.
    pub(super) async fn run(
        mut self,
        metrics: &SubtaskMetrics,
        chain: &mut Chain,
        wire: &mut Option<Wire>,
    ) -> Result<(Arc<str>, SplitReport)> {
        let mut read = 0;
        loop {
            if let Some(barrier) = wire.as_ref().and_then(Wire::due) {
                let splits = (Arc::clone(&self.node), self.report(read));
                pass(chain, wire, Epoch(barrier.epoch), Some(splits)).await?;
                if barrier.last {
                    std::future::pending::<()>().await;
                }
            }
            let Some(batch) = self.rows.next().await else {
                break;
            };
            let batch = batch?;
            read += 1;
            if read <= self.given {
                continue;
            }
            metrics.add_out(batch.num_rows());
            chain.process(0, batch).await?;
        }
        metrics.set_watermark(EventTime::MAX);
        let report = self.report(read);
        Ok((self.node, report))
    }

    fn report(&self, read: u64) -> SplitReport {
        let split = Split {
            id: self.id.clone(),
            order: self.id.clone(),
            payload: String::new(),
            bytes: None,
            position: None,
        };
        let position = Position(read.max(self.given).to_string());
        SplitReport {
            found: Vec::new(),
            open: vec![(split, position, EventTime::MIN)],
            finished: Vec::new(),
        }
    }
}
