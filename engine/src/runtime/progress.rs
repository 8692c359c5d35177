//! What a job's checkpoints have come to: read by the progress line and the summary.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// What there is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The epoch that the job went on from.
    pub resumed: Option<u64>,
    /// Time from the start to the first row read: taking the pipeline over, committing again, and
    /// reading the state back.
    pub restored_in: Duration,
    /// What people should know of that: state that was dropped, epochs that could not be read.
    pub notes: Vec<String>,
    /// The last epoch that is durable and visible.
    pub last_epoch: Option<u64>,
    /// Epochs of this run.
    pub count: u64,
    /// Time from the barrier to the visible rows, of the last epoch.
    pub last_duration: Duration,
    /// The longest of these times.
    pub longest: Duration,
    /// Bytes of state written in this run.
    pub bytes: u64,
    /// The pipeline had read all of its input before: there was nothing to do.
    pub was_finished: bool,
}

/// The same, shared with the job: cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CheckpointProgress(Arc<Mutex<Checkpoints>>);

impl CheckpointProgress {
    /// Gives how it stands.
    pub fn get(&self) -> Checkpoints {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Checkpoints)) {
        change(&mut self.0.lock());
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.set(|state| state.bytes += bytes);
    }

    pub(super) fn done(&self, epoch: u64, took: Duration) {
        self.set(|state| {
            state.last_epoch = Some(epoch);
            state.count += 1;
            state.last_duration = took;
            state.longest = state.longest.max(took);
        });
    }
}
