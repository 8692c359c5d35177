//! The protocol of one job's checkpoints: facts in, decisions out; no I/O, no time.
//!
//! One epoch is in flight at a time: `Inject` (barriers leave the sources), all tasks ack or have
//! ended, `Write` (state files), `Publish` (the manifest, which is the moment of truth), `Commit`
//! (the sinks show the epoch's rows), then the next. What must always hold, and is exhausted by a
//! model that runs this very code with crashes, lost answers, delayed writes and a second
//! instance:
//!
//! - **CK-1** An epoch's tokens are committed only after its manifest is known to be durable.
//! - **CK-2** No two manifests of one epoch are ever in the log.
//! - **CK-3** An aborted token is in no durable manifest: once a manifest is on its way, nothing is
//!   aborted unless another instance's is known to have taken its place.
//! - **CK-4** Epochs grow, and each is injected, written and published once.
//! - **CK-5** A fenced instance commits nothing that it has not published, and does nothing more.
//! - **CK-6** Each row of the input is shown exactly once, and what is shown is a prefix of it.
//! - **CK-7** The next manifest is published only after the tokens of the one before are committed,
//!   so that a manifest's own tokens are all that may have to be committed again.
//!
//! What is promised rests on the caller for: tokens of the manifest that was restored are
//! committed before the first `Publish` is carried out; commits may be repeated; a barrier is
//! forwarded after the rows before it, and a task that ends without an ack got its `End` from
//! inputs that ended without forwarding the barrier.

use crate::message::Epoch;

use super::manifest::ManifestKind;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The interval has passed.
    Due,
    /// A task has given its state and tokens for the epoch and sent its barrier on.
    Ack {
        /// The task.
        task: usize,
        /// The epoch.
        epoch: Epoch,
    },
    /// A task has ended; what it leaves belongs to the next epoch that is written.
    Ended {
        /// The task.
        task: usize,
    },
    /// The state files of the epoch are durable.
    StateWritten(Epoch),
    /// The manifest of the epoch is durable.
    Published(Epoch),
    /// Another instance has taken the place of the manifest, or the pipeline.
    Fenced,
    /// Nobody knows whether the manifest is durable.
    OutcomeUnknown,
    /// All tokens of the epoch are committed.
    Committed(Epoch),
    /// A user asks for a savepoint.
    Savepoint,
    /// A task, a write or a commit has failed: the job ends.
    Failed,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Sources that have not ended send the barrier of this epoch.
    Inject(Epoch),
    /// All tasks have acked or ended: write the state files of this epoch.
    Write(Epoch),
    /// Publish the manifest of this epoch.
    Publish(Epoch, ManifestKind),
    /// Commit all tokens of this epoch's manifest.
    Commit(Epoch),
    /// Collect garbage.
    Collect,
    /// The job has ended well.
    Finish,
    /// The job ends without success.
    Discard {
        /// Whether the tokens that are not committed may be aborted.
        tokens: bool,
    },
}

/// Where the epoch in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Aligning,
    Writing,
    Publishing,
    Committing,
    Stopped,
}

/// What a task has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    Running,
    Acked,
    Ended,
}

/// The checkpoints of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    tasks: Vec<Task>,
    /// The epoch in flight, or the last one.
    epoch: Epoch,
    kind: ManifestKind,
    phase: Phase,
    due: bool,
    savepoint: bool,
    hold_commits: bool,
    /// Whether a durable manifest of this instance holds tokens that are not committed.
    holding: bool,
}

impl Machine {
    /// Makes the machine of a job with so many tasks that goes on after an epoch. With
    /// `hold_commits` nothing is committed before the job has read all of its input: each manifest
    /// then holds the tokens of the ones before, too.
    pub fn new(tasks: usize, restored: Epoch, hold_commits: bool) -> Self {
        Self {
            tasks: vec![Task::Running; tasks],
            epoch: restored,
            kind: ManifestKind::Periodic,
            phase: Phase::Idle,
            due: false,
            savepoint: false,
            hold_commits,
            holding: false,
        }
    }

    /// Takes a fact and gives what is to be done, in order. Facts that come late, twice or about
    /// another epoch change nothing.
    pub fn take(&mut self, fact: Fact) -> Vec<Decision> {
        if self.phase == Phase::Stopped {
            return Vec::new();
        }
        match fact {
            Fact::Due => {
                self.due = true;
                self.next()
            }
            Fact::Savepoint => {
                self.savepoint = true;
                self.next()
            }
            Fact::Ack { task, epoch } => self.acked(task, epoch),
            Fact::Ended { task } => self.ended(task),
            Fact::StateWritten(epoch) if self.is(Phase::Writing, epoch) => {
                self.phase = Phase::Publishing;
                vec![Decision::Publish(epoch, self.kind)]
            }
            Fact::Published(epoch) if self.is(Phase::Publishing, epoch) => self.published(epoch),
            Fact::Committed(epoch) if self.is(Phase::Committing, epoch) => self.done(),
            Fact::StateWritten(_) | Fact::Published(_) | Fact::Committed(_) => Vec::new(),
            Fact::Fenced => self.stop(self.phase != Phase::Committing),
            Fact::OutcomeUnknown => self.stop(false),
            Fact::Failed => self.stop(!matches!(self.phase, Phase::Publishing | Phase::Committing)),
        }
    }

    /// Gives the epoch in flight.
    pub fn in_flight(&self) -> Option<Epoch> {
        (!matches!(self.phase, Phase::Idle | Phase::Stopped)).then_some(self.epoch)
    }

    fn is(&self, phase: Phase, epoch: Epoch) -> bool {
        self.phase == phase && self.epoch == epoch
    }

    /// Begins the next epoch when none is in flight and there is a reason.
    fn next(&mut self) -> Vec<Decision> {
        let over = self.tasks.iter().all(|task| *task == Task::Ended);
        if self.phase != Phase::Idle || !(over || self.due || self.savepoint) {
            return Vec::new();
        }
        self.epoch = Epoch(self.epoch.0.saturating_add(1));
        self.due = false;
        if over {
            self.kind = ManifestKind::Finished;
            self.phase = Phase::Writing;
            return vec![Decision::Write(self.epoch)];
        }
        self.kind = match std::mem::take(&mut self.savepoint) {
            true => ManifestKind::Savepoint,
            false => ManifestKind::Periodic,
        };
        for task in &mut self.tasks {
            if *task == Task::Acked {
                *task = Task::Running;
            }
        }
        self.phase = Phase::Aligning;
        vec![Decision::Inject(self.epoch)]
    }

    fn acked(&mut self, task: usize, epoch: Epoch) -> Vec<Decision> {
        if self.is(Phase::Aligning, epoch)
            && let Some(task @ Task::Running) = self.tasks.get_mut(task)
        {
            *task = Task::Acked;
        }
        self.aligned()
    }

    fn ended(&mut self, task: usize) -> Vec<Decision> {
        match self.tasks.get_mut(task) {
            // What it did after its ack is not in the epoch: `next` sees that it has ended.
            Some(task) => *task = Task::Ended,
            None => return Vec::new(),
        }
        match self.phase {
            Phase::Idle => self.next(),
            _ => self.aligned(),
        }
    }

    fn aligned(&mut self) -> Vec<Decision> {
        if self.phase != Phase::Aligning || self.tasks.contains(&Task::Running) {
            return Vec::new();
        }
        self.phase = Phase::Writing;
        vec![Decision::Write(self.epoch)]
    }

    fn published(&mut self, epoch: Epoch) -> Vec<Decision> {
        if self.hold_commits && self.kind != ManifestKind::Finished {
            self.holding = true;
            return self.done();
        }
        self.phase = Phase::Committing;
        vec![Decision::Commit(epoch)]
    }

    fn done(&mut self) -> Vec<Decision> {
        let mut decisions = vec![Decision::Collect];
        if self.kind == ManifestKind::Finished {
            self.phase = Phase::Stopped;
            decisions.push(Decision::Finish);
        } else {
            self.phase = Phase::Idle;
            decisions.extend(self.next());
        }
        decisions
    }

    fn stop(&mut self, tokens: bool) -> Vec<Decision> {
        self.phase = Phase::Stopped;
        vec![Decision::Discard {
            tokens: tokens && !self.holding,
        }]
    }
}
