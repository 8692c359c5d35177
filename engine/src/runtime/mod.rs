//! Runs a graph: one task per fused chain and subtask, supervised; clean shutdown.
//!
//! A panic or an error of one task fails the job, never the process; what was written and not yet
//! committed is thrown away then.

mod account;
mod asking;
mod build;
mod chain;
mod checkpointed;
mod coordinator;
mod heads;
mod job;
mod progress;
mod recovery;
mod report;
mod steps;
mod tail;
mod task;
#[cfg(test)]
mod tests;

pub use account::{SinkAccount, SourceAccount, sinks, sources};
pub use job::{CheckpointOptions, Job, JobEnd, TimeOptions};
pub use progress::{CheckpointProgress, Checkpoints};
