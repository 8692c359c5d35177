//! What pipelines have kept of themselves: tables of the schema `weir`, such as what rules have found.

use std::fmt;

use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// The tables of one pipeline's state.
pub trait History: Send + Sync + fmt::Debug {
    /// Gives the names of the files of a table as they are now.
    fn files(&self, table: &str) -> Result<Vec<String>>;

    /// Adds a file of rows under a name that no other has.
    fn add(&self, table: &str, file: &str, rows: &[RecordBatch]) -> Result<()>;

    /// Reads a file of a table. One that is gone since has no rows: what it held is in another.
    fn read(&self, table: &str, file: &str) -> Result<Vec<RecordBatch>>;
}
