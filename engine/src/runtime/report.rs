//! What tasks and the coordinator of checkpoints tell each other.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::checkpoint::SavedToken;
use crate::dead_letter::DeadLetters;
use crate::error::{Error, Result};
use crate::feed::SplitReport;
use crate::message::Epoch;
use crate::operator::{Extent, StateBatches};

/// A subtask of a node.
pub(super) type Subtask = (Arc<str>, u32);

/// The barrier that sources put into their streams next.
#[derive(Debug, Clone, Default)]
pub(super) struct Barrier {
    /// Its epoch; 0 before the first.
    pub(super) epoch: u64,
    /// Nothing is read after it: the job stops there.
    pub(super) last: bool,
    /// The subtasks that give all of their state, not its changes.
    pub(super) full: Arc<HashSet<Subtask>>,
}

impl Barrier {
    /// How much of its state a subtask gives.
    pub(super) fn extent(&self, node: &Arc<str>, subtask: u32) -> Extent {
        if self.full.contains(&(Arc::clone(node), subtask)) {
            Extent::All
        } else {
            Extent::Changes
        }
    }
}

/// The state of one subtask of one operator.
pub(super) struct Part {
    pub(super) of: Subtask,
    pub(super) extent: Extent,
    pub(super) state: StateBatches,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("of", &self.of)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

/// What a task hands over when it passes a barrier, or ends.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// The state of its operators.
    pub(super) parts: Vec<Part>,
    /// Where its splits stand, by node.
    pub(super) splits: Option<(Arc<str>, SplitReport)>,
    /// What its sink has finished since the last barrier, by node.
    pub(super) tokens: Vec<(Subtask, SavedToken)>,
}

/// A message of a task.
#[derive(Debug)]
pub(super) enum Report {
    /// It has passed the barrier.
    Passed(usize, Epoch, Handover),
    /// It has ended.
    Ended(usize, Handover),
    /// A task that fills a table, which no checkpoint waits for, has ended.
    Loaded,
}

/// A task's end of the wire to the coordinator.
#[derive(Debug)]
pub(super) struct Wire {
    /// The number of the task; `None` if it takes no part in checkpoints.
    pub(super) task: Option<usize>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) barriers: watch::Receiver<Barrier>,
    /// Collects the dead letters of this task.
    pub(super) letters: DeadLetters,
    pub(super) passed: u64,
}

impl Wire {
    /// The barrier to pass now, if there is a new one; for tasks at the head of the graph.
    pub(super) fn due(&self) -> Option<Barrier> {
        self.task?;
        let barrier = self.barriers.borrow();
        (barrier.epoch > self.passed).then(|| barrier.clone())
    }

    /// Waits for a new barrier.
    pub(super) async fn wait(&mut self) {
        if self.task.is_none() || self.barriers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The barrier that is on its way through the graph.
    pub(super) fn current(&self) -> Barrier {
        self.barriers.borrow().clone()
    }

    /// Hands over at a barrier.
    pub(super) async fn pass(&mut self, epoch: Epoch, handover: Handover) -> Result<()> {
        self.passed = epoch.0;
        self.letters.pass(epoch.0);
        let Some(task) = self.task else {
            return Ok(());
        };
        self.send(Report::Passed(task, epoch, handover)).await
    }

    /// Hands over at the end.
    pub(super) async fn end(&self, handover: Handover) -> Result<()> {
        let report = match self.task {
            Some(task) => Report::Ended(task, handover),
            None => Report::Loaded,
        };
        self.send(report).await
    }

    async fn send(&self, report: Report) -> Result<()> {
        // Without a coordinator the job is being stopped.
        let sent = self.reports.send(report).await;
        sent.map_err(|_| Error::cancelled())
    }
}
