//! What a node in the middle of the graph does: synchronous, no I/O, one operator per file.

use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::checkpoint::ViewInfo;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;

#[cfg(test)]
pub(crate) mod driving;
pub mod project_filter;
pub mod union;

/// Where an operator puts its results, in order.
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<RecordBatch>,
    watermark: Option<EventTime>,
}

impl Output {
    /// Sends rows on; an empty batch is dropped.
    pub fn send(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }

    /// How many batches were sent since the last [`Self::take`].
    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Says that no earlier row follows what was sent: for an operator that has a time of its own.
    /// It must replace the watermarks of its input too, see [`Operator::output_watermark`].
    pub fn watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(Some(watermark));
    }

    /// Takes the watermark that was said since the last call.
    pub fn take_watermark(&mut self) -> Option<EventTime> {
        self.watermark.take()
    }

    /// Takes what was sent since the last call.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches)
    }
}

/// State on its way to a checkpoint, batch by batch, so that it is never in memory as a whole.
pub type StateBatches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// How much of its state an operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What has changed since the last snapshot.
    Changes,
    /// All.
    All,
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

    /// The watermark that goes on in place of this one: an operator whose later results may be
    /// older than it says by how much. Never falls while the watermark rises.
    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        watermark
    }

    /// Called about every [`crate::limits::SINK_TICK_INTERVAL`] with the time of day, in
    /// microseconds since 1970, also without rows: results and expiry by processing time.
    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        let _ = (now_micros, out);
        Ok(())
    }

    /// The barrier of a checkpoint is here: gives the state, or what changed of it since the last
    /// call, as batches of a schema that the operator versions. What is sent here goes before the
    /// barrier. The batches are taken later by another thread while rows go on.
    fn snapshot(&mut self, extent: Extent, out: &mut Output) -> Result<StateBatches> {
        let _ = (extent, out);
        Ok(Box::new(std::iter::empty()))
    }

    /// Whether the next snapshot has to be [`Extent::All`]: what the ones before it hold cannot be
    /// gone on with.
    fn renews(&self) -> bool {
        false
    }

    /// A barrier is about to come: what must not wait over it is given by [`Operator::resume`], which
    /// is called until there is nothing more, and only then is the snapshot taken.
    fn before_barrier(&mut self) -> Result<()> {
        Ok(())
    }

    /// Takes back, before the first row, what [`Operator::snapshot`] of one subtask gave: the last
    /// [`Extent::All`] and each [`Extent::Changes`] after it, in order. Called once per subtask
    /// that there was; only rows of these key groups are kept.
    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        // An operator without state has nothing to take.
        let (_, _) = (state, groups);
        Ok(())
    }

    /// Called again and again after every other call that may send results, when what they sent has
    /// gone on, until it says that there was nothing more: results that are larger than memory come
    /// a few batches at a time.
    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        let _ = out;
        Ok(false)
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

    /// What the state is of: state of another fingerprint is dropped at a restart. `None` has no
    /// state.
    fn fingerprint(&self) -> Option<String> {
        None
    }

    /// The input that is read to its end before the others are read at all. What is behind it is
    /// read anew at each start and takes no part in checkpoints.
    fn prefers(&self) -> Option<usize> {
        None
    }

    /// The input that has no event time: its watermarks say nothing, and nobody waits for one.
    fn timeless(&self) -> Option<usize> {
        None
    }

    /// Whether rows of batches that wait are better given in one call: what changes several times
    /// within a call is sent once.
    fn gathers(&self) -> bool {
        false
    }

    /// Whether its state still means something when the input has ended and more of it comes in a
    /// later run: totals do, windows that the end has closed do not.
    fn outlives_input(&self) -> bool {
        false
    }

    /// The materialized view whose rows are its state.
    fn view(&self) -> Option<ViewInfo> {
        None
    }

    /// The rules over many rows that it asks, by name.
    fn judges(&self) -> Vec<String> {
        Vec::new()
    }

    /// What happens to rows that come in and do not go out.
    fn consumes(&self) -> Consumes;
}

/// How the rows of a node are accounted: the sums at the end of a run rest on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumes {
    /// Each row goes on or is dropped by a filter.
    Filters,
    /// Each row goes on or is kept back by a rule.
    Judges,
    /// The same for the rules of a source: what they keep back is counted by its name.
    JudgesSource,
    /// Each row goes on or is kept back by a rule over keys, which it may have to wait for.
    Holds {
        /// It is a rule of a source: what is kept back is counted by its name.
        of_source: bool,
    },
    /// Each row goes on, some time later.
    Delays,
    /// Rows end here and become others: aggregation, join.
    Folds,
}
