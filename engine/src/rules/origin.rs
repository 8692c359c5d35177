//! Where the rows of a batch come from, as a quarantine table tells it of each.

use std::fmt;

use arrow::record_batch::RecordBatch;
use serde_json::{Map, Value};

/// Where the rows of a batch come from.
#[derive(Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The file or partition; `None` for rows of a query.
    pub place: Option<&'a str>,
    /// Where in it a row stands, by its number in the batch.
    pub offset: Option<&'a dyn Fn(usize) -> Option<u64>>,
    /// The record that a row came as, by its number in the batch.
    pub raw: Option<&'a dyn Fn(usize) -> Option<&'a [u8]>>,
    /// The rows are in quarantine and are judged once more: with all the columns that they have
    /// there.
    pub again: Option<&'a RecordBatch>,
    /// What rules over many rows have measured of the window or batch of a row, by its number.
    pub measured: Option<&'a dyn Fn(usize) -> Option<&'a Map<String, Value>>>,
}

impl<'a> Origin<'a> {
    /// Rows of a file or partition.
    pub fn of(place: &'a str) -> Self {
        Self {
            place: Some(place),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("place", &self.place)
            .field("again", &self.again.map(RecordBatch::num_rows))
            .finish_non_exhaustive()
    }
}
