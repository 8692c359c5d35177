//! The end of a task: an exchange to other tasks, or the writer of a sink.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::record_batch::RecordBatch;
use futures::future::join_all;
use parking_lot::Mutex;

use super::report::Subtask;
use crate::checkpoint::{SavedToken, Store};
use crate::env::Clock;
use crate::error::Result;
use crate::exchange::Outlet;
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
    pub(super) commits: Commits,
    /// What is being committed, in order: a stop may end a commit halfway, and then all of it is
    /// thrown away.
    pub(super) uncommitted: VecDeque<CommitToken>,
    pub(super) clock: Arc<dyn Clock>,
}

/// When finished work becomes visible.
#[derive(Debug)]
pub(super) enum Commits {
    /// At once, each time as an epoch of its own.
    AtOnce(Arc<AtomicU64>),
    /// At the end of the job.
    AtEnd(Held),
    /// With the checkpoint of the epoch in which it was finished.
    WithEpoch(Keeper),
}

/// Keeps finished work until a checkpoint has it.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) generation: u64,
    pub(super) of: Subtask,
    /// The epoch of the next barrier.
    pub(super) epoch: u64,
    /// Outboxes written for this epoch.
    pub(super) written: u32,
    pub(super) saved: Vec<(SavedToken, CommitToken)>,
}

impl Keeper {
    async fn keep(&mut self, mut token: CommitToken) -> Result<()> {
        let outbox = std::mem::take(&mut token.outbox);
        let mut saved = SavedToken {
            payload: token.payload.clone(),
            rows: token.rows,
            bytes: token.bytes,
            outbox: None,
        };
        if !outbox.is_empty() {
            self.written += 1;
            let rows = Box::new(outbox.into_iter().map(Ok));
            let written = self.store.write_state(
                self.generation,
                self.epoch,
                &self.of.0,
                self.of.1,
                self.written,
                true,
                rows,
            );
            saved.outbox = written.await?;
        }
        self.saved.push((saved, token));
        Ok(())
    }

    fn take(&mut self, epoch: Option<Epoch>) -> Vec<(Subtask, SavedToken)> {
        if let Some(Epoch(epoch)) = epoch {
            self.epoch = epoch + 1;
            self.written = 0;
        }
        let saved = std::mem::take(&mut self.saved);
        saved
            .into_iter()
            .map(|(saved, _)| (self.of.clone(), saved))
            .collect()
    }
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
        self.commit(tokens).await
    }

    async fn tick(&mut self) -> Result<()> {
        self.writer.tick().await?;
        let tokens = self.writer.finished();
        self.commit(tokens).await
    }

    /// Finishes what is open; gives what the checkpoint of the epoch has to keep.
    async fn prepare(&mut self, epoch: Option<Epoch>) -> Result<Vec<(Subtask, SavedToken)>> {
        let mut tokens = self.writer.finished();
        tokens.extend(self.writer.prepare().await?);
        self.commit(tokens).await?;
        Ok(match &mut self.commits {
            Commits::WithEpoch(keeper) => {
                let taken = keeper.take(epoch);
                self.writer.begin(Epoch(keeper.epoch));
                taken
            }
            _ => Vec::new(),
        })
    }

    async fn commit(&mut self, tokens: Vec<CommitToken>) -> Result<()> {
        match &mut self.commits {
            Commits::AtEnd(held) => {
                let own = |token| (Arc::clone(&self.sink), Arc::clone(&self.metrics), token);
                held.lock().extend(tokens.into_iter().map(own));
            }
            Commits::WithEpoch(keeper) => {
                for token in tokens {
                    keeper.keep(token).await?;
                }
            }
            Commits::AtOnce(epochs) => {
                self.uncommitted.extend(tokens);
                while let Some(token) = self.uncommitted.front() {
                    let epoch = Epoch(epochs.fetch_add(1, Relaxed));
                    commit(&*self.sink, &self.metrics, epoch, token).await?;
                    drop(self.uncommitted.pop_front());
                }
            }
        }
        Ok(())
    }

    async fn discard(&mut self) -> Result<()> {
        let discarded = self.writer.discard().await;
        let mut tokens = std::mem::take(&mut self.uncommitted);
        if let Commits::WithEpoch(keeper) = &mut self.commits {
            tokens.extend(keeper.saved.drain(..).map(|(_, token)| token));
        }
        // At once: a store that is gone makes each of them wait.
        let aborted = join_all(tokens.iter().map(|token| self.sink.abort(token))).await;
        aborted.into_iter().fold(discarded, Result::and)
    }
}

/// Makes work visible and counts its bytes.
pub(super) async fn commit(
    sink: &dyn Sink,
    metrics: &SubtaskMetrics,
    epoch: Epoch,
    token: &CommitToken,
) -> Result<()> {
    sink.commit(epoch, std::slice::from_ref(token)).await?;
    metrics.bytes.fetch_add(token.bytes, Relaxed);
    Ok(())
}

/// The end of a task.
#[derive(Debug)]
pub(super) enum Tail {
    /// Edges to other tasks.
    Exchange(Vec<Outlet>),
    /// A sink.
    Sink(Box<Writing>),
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

    pub(super) async fn barrier(&mut self, epoch: Epoch) -> Result<Vec<(Subtask, SavedToken)>> {
        match self {
            Self::Exchange(_) => {
                self.control(&Message::Barrier(epoch)).await?;
                Ok(Vec::new())
            }
            Self::Sink(writing) => writing.prepare(Some(epoch)).await,
        }
    }

    pub(super) async fn end(&mut self) -> Result<Vec<(Subtask, SavedToken)>> {
        match self {
            Self::Exchange(_) => {
                self.control(&Message::End).await?;
                Ok(Vec::new())
            }
            Self::Sink(writing) => writing.prepare(None).await,
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
