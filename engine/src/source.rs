//! Where rows come from: a [`Source`] finds splits, a [`SplitReader`] reads one.
//!
//! The runtime hands splits to the subtasks in their order, keeps a watermark per split and holds
//! the node's watermark for every split that is known and not yet read, so that a source that
//! reads old and new files side by side never makes a row late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::estimate::Estimate;
use crate::job::TaskContext;

/// A place within a split to go on from, in a form that only its source understands; it goes into
/// the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position(pub String);

/// A part of the input that is read in order by one reader: a file, a row group, a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Names the split among all of its source, through restarts.
    pub id: String,
    /// Splits are handed out by this key, then by id: a path, a time of change.
    pub order: String,
    /// What the source needs to open it.
    pub payload: String,
    /// Bytes to read, where they are known, for progress.
    pub bytes: Option<u64>,
    /// Where to go on; `None` starts at the beginning.
    pub position: Option<Position>,
}

/// Whether a source ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundedness {
    /// It has an end.
    Bounded,
    /// It goes on, and is asked for new splits at this interval.
    Unbounded(Duration),
}

/// What is known of the earliest rows of a split before it is read.
#[derive(Debug, Clone)]
pub enum Low {
    /// One row that holds, in the asked columns, the exact minimum over the split.
    Exact(RecordBatch),
    /// The first rows of the split, as [`SplitReader::next`] would give them.
    First(RecordBatch),
    /// The split has no rows.
    Empty,
    /// Nothing: the watermark waits until the split is open.
    Unknown,
}

/// A source of rows: shared by the subtasks of its node.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// The rows that it gives when nothing is projected away.
    fn schema(&self) -> SchemaRef;

    /// Whether it ends by itself.
    fn boundedness(&self) -> Boundedness;

    /// Gives the splits that are new since the last call. A bounded source is asked once; nothing
    /// found at the first call of a bounded source is an error with a hint.
    async fn discover(&self) -> Result<Vec<Split>>;

    /// Gives the same source as if nothing had been discovered yet: each scan of a query reads
    /// through its own, since a script may read one source several times. `None` says that
    /// [`Source::discover`] keeps nothing, so that the source can be shared.
    fn rescan(&self) -> Option<Arc<dyn Source>> {
        None
    }

    /// Gives the same source as [`Source::rescan`] does, with texts as views (`Utf8View`) wherever they
    /// cost less to read so: batch plans filter, group and join by them without copying them. `None`
    /// says that it has none.
    fn with_views(&self) -> Option<Arc<dyn Source>> {
        None
    }

    /// Looks at the earliest rows of a split, in the columns at `columns` of [`Source::schema`].
    async fn low(&self, split: &Split, columns: &[usize]) -> Result<Low> {
        let _ = (split, columns);
        Ok(Low::Unknown)
    }

    /// Whether [`Source::low`] gives [`Low::Exact`] for times, for all but odd splits. In batch mode
    /// windows close before the end only where it does: without it they are aggregated by
    /// DataFusion, which can spill to disk.
    fn has_exact_lows(&self) -> bool {
        false
    }

    /// Estimates the rows, and the columns at `columns` of [`Source::schema`], in little time: a
    /// batch plan waits for it. `None` says that nothing is known.
    async fn estimate(&self, columns: &[usize]) -> Option<Estimate> {
        let _ = columns;
        None
    }

    /// Whether all splits are read at the same time: partitions that have no end. Else a subtask
    /// reads a few at a time, in order.
    fn is_side_by_side(&self) -> bool {
        false
    }

    /// Told before the first discovery of a run that goes on from a checkpoint: a split that the
    /// checkpoint doesn't know is new, and is read from its beginning.
    fn resume(&self) {}

    /// Opens a split to read the columns at `projection` of [`Source::schema`], in that order.
    /// Rows that cannot be decoded go to `context.dead_letters`.
    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>>;

    /// One line for EXPLAIN: connector, place, format. Never a secret.
    fn describe(&self) -> String;
}

/// What a reader has.
#[derive(Debug)]
pub enum Read {
    /// Rows, and the bytes of input that they took.
    Rows {
        /// The rows.
        batch: RecordBatch,
        /// Bytes read from the peer or file for them.
        bytes: u64,
    },
    /// Nothing for now; the reader is asked again after a short wait.
    Pending,
    /// The split is read to its end.
    End,
}

/// Reads one split in order.
#[async_trait]
pub trait SplitReader: fmt::Debug + Send {
    /// Gives the next rows. Cancel-safe: a dropped call loses nothing that was not returned.
    async fn next(&mut self) -> Result<Read>;

    /// Where to go on after what [`SplitReader::next`] has given.
    fn position(&self) -> Position;

    /// Where a row of the last batch stands, for people: its number in the file, or its offset in
    /// the partition. `None` where that is not known.
    fn offset(&self, row: usize) -> Option<u64> {
        let _ = row;
        None
    }

    /// The record that a row of the last batch was decoded from, as it came. `None` where rows are not
    /// decoded from records of their own, or it is not known any more.
    fn raw(&self, row: usize) -> Option<&[u8]> {
        let _ = row;
        None
    }
}
