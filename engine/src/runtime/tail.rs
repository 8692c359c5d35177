//! The end of a task: an exchange to other tasks, or the writer of a sink.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::future::join_all;
use parking_lot::Mutex;

use crate::env::Clock;
use crate::error::Result;
use crate::exchange::Outlet;
use crate::limits;
use crate::message::{Epoch, EventTime, Message};
use crate::metrics::SubtaskMetrics;
use crate::sink::{CommitToken, Sink, SinkWriter};

/// Work of bounded jobs that waits for the end of all tasks: all of it becomes visible, or none.
pub(super) type Held = Arc<Mutex<Vec<(Arc<dyn Sink>, Arc<SubtaskMetrics>, CommitToken)>>>;

/// The writing end of a sink node's subtask.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) writer: Box<dyn SinkWriter>,
    pub(super) metrics: Arc<SubtaskMetrics>,
    /// Where tokens wait; `None` commits them at once.
    pub(super) held: Option<Held>,
    /// What is being committed, in order: a stop may end a commit halfway, and then all of it is
    /// thrown away.
    pub(super) uncommitted: VecDeque<CommitToken>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ticked: Duration,
}

impl Writing {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.metrics.add_in(batch.num_rows());
        let rows = batch.num_rows();
        let start = self.clock.monotonic();
        self.writer.write(batch).await?;
        self.metrics
            .add_busy(self.clock.monotonic().saturating_sub(start));
        self.metrics.add_out(rows);
        let tokens = self.writer.finished();
        self.commit(tokens).await?;
        self.tick().await
    }

    async fn tick(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        if now < self.ticked + limits::SINK_TICK_INTERVAL {
            return Ok(());
        }
        self.ticked = now;
        self.writer.tick().await?;
        let tokens = self.writer.finished();
        self.commit(tokens).await
    }

    async fn prepare(&mut self) -> Result<()> {
        let tokens = self.writer.prepare().await?;
        self.commit(tokens).await
    }

    async fn commit(&mut self, tokens: Vec<CommitToken>) -> Result<()> {
        if let Some(held) = &self.held {
            let own = |token| (Arc::clone(&self.sink), Arc::clone(&self.metrics), token);
            held.lock().extend(tokens.into_iter().map(own));
            return Ok(());
        }
        self.uncommitted.extend(tokens);
        while let Some(token) = self.uncommitted.front() {
            commit(&*self.sink, &self.metrics, token).await?;
            drop(self.uncommitted.pop_front());
        }
        Ok(())
    }

    async fn discard(&mut self) -> Result<()> {
        let discarded = self.writer.discard().await;
        let tokens = std::mem::take(&mut self.uncommitted);
        // At once: a store that is gone makes each of them wait.
        let aborted = join_all(tokens.iter().map(|token| self.sink.abort(token))).await;
        aborted.into_iter().fold(discarded, Result::and)
    }
}

/// Makes work visible and counts its bytes.
pub(super) async fn commit(
    sink: &dyn Sink,
    metrics: &SubtaskMetrics,
    token: &CommitToken,
) -> Result<()> {
    sink.commit(Epoch(0), std::slice::from_ref(token)).await?;
    metrics.bytes.fetch_add(token.bytes, Relaxed);
    Ok(())
}

/// The end of a task.
#[derive(Debug)]
pub(super) enum Tail {
    /// Edges to other tasks.
    Exchange(Vec<Outlet>),
    /// A sink.
    Sink(Writing),
}

impl Tail {
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self, Self::Exchange(_))
    }

    pub(super) async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Self::Sink(writing) => writing.write(batch).await,
            Self::Exchange(outlets) => {
                let Some((last, others)) = outlets.split_last_mut() else {
                    return Ok(());
                };
                for outlet in others {
                    outlet.send(batch.clone()).await?;
                }
                last.send(batch).await
            }
        }
    }

    pub(super) fn watermark(&self, watermark: EventTime) {
        if let Self::Sink(writing) = self {
            writing.metrics.set_watermark(watermark);
        }
    }

    /// Sends a control message on; a sink has nobody to send it to.
    pub(super) async fn control(&mut self, message: &Message) -> Result<()> {
        if let Self::Exchange(outlets) = self {
            for outlet in outlets {
                outlet.control(message).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn barrier(&mut self, epoch: Epoch) -> Result<()> {
        match self {
            Self::Exchange(_) => self.control(&Message::Barrier(epoch)).await,
            Self::Sink(writing) => writing.prepare().await,
        }
    }

    pub(super) async fn end(&mut self) -> Result<()> {
        match self {
            Self::Exchange(_) => self.control(&Message::End).await,
            Self::Sink(writing) => writing.prepare().await,
        }
    }

    /// Lets a sink roll by time, when there was nothing to write for a while.
    pub(super) async fn tick(&mut self) -> Result<()> {
        match self {
            Self::Exchange(_) => Ok(()),
            Self::Sink(writing) => writing.tick().await,
        }
    }

    /// Throws away what is not committed.
    pub(super) async fn discard(&mut self) -> Result<()> {
        match self {
            Self::Exchange(_) => Ok(()),
            Self::Sink(writing) => writing.discard().await,
        }
    }
}
