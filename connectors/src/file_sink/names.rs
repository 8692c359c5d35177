//! The names of files. With checkpoints a name tells whose the file is and the epoch in which it
//! becomes visible, so that a run that goes on from an earlier epoch knows what to remove.

use twox_hash::XxHash3_64;
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::sink::Owner;

use super::output::plain;

/// The names of one sink of one pipeline.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// What the names of all its epochs begin with.
    prefix: String,
    /// Later epochs are of this instance or of newer ones.
    fence: Epoch,
}

impl Names {
    /// Takes whose files they are.
    pub(super) fn of(owner: &Owner) -> Self {
        Self {
            prefix: format!("part-{}-", owner.mark()),
            fence: owner.fence,
        }
    }

    /// Whether a file is of an epoch after `last` that does not count any more: this instance has
    /// fenced whoever wrote it.
    pub(super) fn is_later(&self, name: &str, last: Epoch) -> bool {
        let epoch = self.epoch(name);
        epoch.is_some_and(|epoch| epoch > last && epoch <= self.fence)
    }

    /// Whether there may be files of an instance that ended before its first checkpoint.
    pub(super) fn may_have_begun(&self) -> bool {
        self.fence > Epoch(0)
    }

    /// The epoch of a file of this sink; `None` for any other file.
    pub(super) fn epoch(&self, name: &str) -> Option<Epoch> {
        let (epoch, _) = name.strip_prefix(&self.prefix)?.split_once('-')?;
        epoch.parse().ok().map(Epoch)
    }

    /// The beginning of the names of a subtask's files in an epoch. The run stands in it too: a
    /// process that is woken up after another one took over writes none of its names.
    pub(super) fn stem(&self, epoch: Epoch, context: &TaskContext) -> String {
        let run = XxHash3_64::oneshot(context.job.run_id.as_bytes()) >> 32;
        format!(
            "{}{:010}-{run:08x}-{}",
            self.prefix, epoch.0, context.subtask
        )
    }
}

/// The same for a run without checkpoints, whose files are no epoch's.
pub(super) fn stem(context: &TaskContext) -> String {
    format!(
        "{}-{}-{}",
        context.job.run_id,
        plain(&context.node),
        context.subtask
    )
}
