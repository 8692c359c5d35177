//! Where rows go. One protocol for all sinks: `write`, `prepare(epoch) -> token`, `commit(token)`.
//!
//! What is written becomes visible only by `commit`, which may be repeated: after a crash the
//! tokens of the last checkpoint are committed again.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::error::Result;
use crate::job::TaskContext;
use crate::message::Epoch;

/// Finished work that is durable but not yet visible, in a form that only its sink understands;
/// it goes into the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitToken {
    /// What the sink needs to make the work visible.
    pub payload: String,
    /// Rows that become visible.
    pub rows: u64,
    /// Bytes that become visible.
    pub bytes: u64,
    /// Rows that the checkpoint keeps for a sink whose peer can't hold them unseen; they are here
    /// again when the token is committed.
    #[serde(skip)]
    pub outbox: Vec<RecordBatch>,
}

impl CommitToken {
    /// Makes a token without an outbox.
    pub fn new(payload: String, rows: u64, bytes: u64) -> Self {
        Self {
            payload,
            rows,
            bytes,
            outbox: Vec::new(),
        }
    }
}

/// Whether a sink goes on with what an earlier run has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing of this pipeline counts yet.
    Fresh,
    /// The run goes on after this epoch: what a later one has left is swept away.
    Resumed(Epoch),
}

/// Whose work a sink makes visible: the same for all instances that go on with one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// The sink's node in the graph.
    pub node: Arc<str>,
    /// The run that began the pipeline. A run that begins anew counts its epochs from 1 again, so
    /// that names of work need more than the epoch.
    pub origin: Arc<str>,
    /// The epoch by which this instance took the pipeline over: work of later ones is its own, or
    /// that of instances that came after it, which it must not touch however late it wakes up.
    pub fence: Epoch,
    /// Whether work becomes visible with checkpoints.
    pub checkpoints: bool,
}

impl Owner {
    /// Gives a short name of the owner for paths and marks.
    pub fn mark(&self) -> String {
        let text = format!("{}\0{}\0{}", self.pipeline, self.node, self.origin);
        format!("{:016x}", XxHash3_64::oneshot(text.as_bytes()))
    }
}

/// A sink: shared by the subtasks of its node.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// Tells whose work the sink makes visible, before all other calls.
    fn own(&self, _owner: &Owner) {}

    /// Checks that the place can be written to, before the first row is read, and sweeps what an
    /// earlier run of the same pipeline left unfinished.
    async fn check(&self, schema: &SchemaRef, start: Start) -> Result<()>;

    /// Makes the writer of one subtask.
    async fn writer(
        &self,
        schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>>;

    /// Makes the finished work of one epoch visible, in the order given. Idempotent: work that is
    /// visible already is success. Without checkpoints each call is an epoch of its own.
    async fn commit(&self, epoch: Epoch, tokens: &[CommitToken]) -> Result<()>;

    /// Throws finished work away that will not be committed.
    async fn abort(&self, token: &CommitToken) -> Result<()>;

    /// Called once when the job has ended well and all its work is committed: what the new work
    /// replaces may go.
    async fn complete(&self) -> Result<()> {
        Ok(())
    }

    /// Whether it takes updating results: batches whose last column is
    /// [`crate::changelog::OP_COLUMN`].
    fn takes_changelog(&self) -> bool {
        false
    }

    /// Why it can't run without checkpoints, if it can't.
    fn needs_checkpoints(&self) -> Option<&'static str> {
        None
    }

    /// Whether the rows must come through one subtask: a terminal, an ordered file.
    fn is_single(&self) -> bool {
        false
    }

    /// One line for EXPLAIN: connector, place, format. Never a secret.
    fn describe(&self) -> String;
}

/// Writes the rows of one subtask.
#[async_trait]
pub trait SinkWriter: fmt::Debug + Send {
    /// Tells the epoch in which what is written from now on becomes visible; never called without
    /// checkpoints.
    fn begin(&mut self, _epoch: Epoch) {}

    /// Takes rows.
    async fn write(&mut self, batch: RecordBatch) -> Result<()>;

    /// Called at [`crate::limits::SINK_TICK_INTERVAL`], also without rows: rolls by age and
    /// inactivity.
    async fn tick(&mut self) -> Result<()> {
        Ok(())
    }

    /// Takes the tokens of work that was finished by rolling since the last call. Without
    /// checkpoints the runtime commits them at once.
    fn finished(&mut self) -> Vec<CommitToken> {
        Vec::new()
    }

    /// Finishes all that is open and makes it durable; everything written so far is in the tokens
    /// given here and by [`SinkWriter::finished`].
    async fn prepare(&mut self) -> Result<Vec<CommitToken>>;

    /// Throws away what is open: the job failed.
    async fn discard(&mut self) -> Result<()>;
}
