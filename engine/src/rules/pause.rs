//! Sources that give no rows because too many of them break a rule, until a user resumes them.
//!
//! A pause belongs to the epoch in which the rows were judged: the manifest of that epoch has it, and so
//! do all that follow until it is over. It is told where users can resume the source once that epoch
//! is durable, so that nobody ends a pause that a crash takes back.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::requests::INTERVAL;
use crate::dead_letter::DeadLetters;
use crate::env::Clock;
use crate::error::Result;
use crate::job::TaskContext;

/// A source that gives no rows for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The source.
    pub source: String,
    /// The rule that too many rows break.
    pub rule: String,
    /// How many did.
    pub detail: String,
    /// The run that found it.
    pub run: String,
    /// The epoch whose rows they are.
    pub epoch: u64,
}

impl Pause {
    /// Names it among all pauses of its source, as one word: within a run, an epoch has one at most.
    pub fn id(&self) -> String {
        format!("{}-{}", self.run, self.epoch)
    }
}

/// What the reader of a source looks at before it reads on.
#[derive(Debug)]
pub(crate) struct Watch {
    source: String,
    letters: DeadLetters,
    /// Whether this is the task that looks for users who resume the source.
    asks: bool,
    clock: Arc<dyn Clock>,
    /// When to look again.
    due: Duration,
}

impl Watch {
    /// The watch of one subtask of a source; `None` where a source cannot pause.
    pub(crate) fn of(source: &str, task: &TaskContext) -> Option<Self> {
        let letters = &task.job.dead_letters;
        letters.takes_requests().then(|| Self {
            source: source.to_owned(),
            letters: letters.clone(),
            asks: task.subtask == 0,
            clock: task.job.env.clock_arc(),
            due: Duration::ZERO,
        })
    }

    /// Whether the source gives no rows for now.
    pub(crate) fn is_paused(&mut self) -> Result<bool> {
        if !self.letters.is_paused(&self.source) {
            return Ok(false);
        }
        let now = self.clock.monotonic();
        if !self.asks || now < self.due {
            return Ok(true);
        }
        self.due = now + INTERVAL;
        Ok(!self.letters.take_resumed(&self.source)?)
    }
}
