//! Records that cannot be read, as rows of the quarantine table of their source.

use std::sync::Arc;

use super::{DeadLetter, DeadLetters};
use crate::error::Result;
use crate::job::TaskContext;
use crate::rules::Judge;

/// Makes the rows.
#[derive(Debug)]
pub(super) struct Unread {
    judge: Arc<Judge>,
    task: TaskContext,
}

impl Unread {
    pub(super) fn keep(&self, letter: &DeadLetter) -> Result<()> {
        self.judge.unread(letter, &self.task)
    }
}

impl DeadLetters {
    /// The same collector for the task that reads a source, whose judge keeps what cannot be read.
    pub(crate) fn quarantining(judge: &Arc<Judge>, task: &TaskContext) -> Self {
        let unread = Unread {
            judge: Arc::clone(judge),
            task: task.clone(),
        };
        Self {
            unread: Some(Arc::new(unread)),
            ..task.job.dead_letters.clone()
        }
    }
}
