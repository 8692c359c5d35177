//! What a node in the middle of the graph does: synchronous, no I/O, one operator per file.

use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::job::TaskContext;
use crate::message::{Epoch, EventTime};

pub mod project_filter;
pub mod union;

/// Where an operator puts its results, in order.
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<RecordBatch>,
}

impl Output {
    /// Sends rows on; an empty batch is dropped.
    pub fn send(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }

    /// Takes what was sent since the last call.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches)
    }
}

/// The running state of one subtask of one node.
///
/// The runtime merges watermarks over the inputs, aligns barriers, forwards control messages after
/// the call that handles them, and calls from one task only.
pub trait Operator: Send + fmt::Debug {
    /// Handles rows of an input.
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()>;

    /// Handles the merged watermark; it is forwarded after what is sent here.
    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        let _ = (watermark, out);
        Ok(())
    }

    /// Gives what changed since the last epoch, as batches of a schema that the operator versions.
    fn snapshot(&mut self, epoch: Epoch) -> Result<Vec<RecordBatch>> {
        let _ = epoch;
        Ok(Vec::new())
    }

    /// Takes back what [`Operator::snapshot`] gave, before the first row.
    fn restore(&mut self, state: Vec<RecordBatch>) -> Result<()> {
        let _ = state;
        Ok(())
    }

    /// All inputs have ended: everything that is kept is sent.
    fn end(&mut self, out: &mut Output) -> Result<()>;
}

/// Makes the operators of a node, one per subtask. What a node is, without its state.
pub trait OperatorFactory: fmt::Debug + Send + Sync {
    /// The rows that come out.
    fn schema(&self) -> SchemaRef;

    /// Makes the operator of one subtask.
    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>>;

    /// One line for EXPLAIN: what it does, with its expressions.
    fn describe(&self) -> String;

    /// What happens to rows that come in and do not go out.
    fn consumes(&self) -> Consumes;
}

/// How the rows of a node are accounted: the sums at the end of a run rest on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumes {
    /// Each row goes on or is dropped by a filter.
    Filters,
    /// Rows end here and become others: aggregation, join.
    Folds,
}
