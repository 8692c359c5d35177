//! Tables that are asked for rows by key while a stream goes by, and a cache of what they said.
//!
//! A connector that can find rows by key implements [`Lookup`]; [`crate::join::LookupJoin`] asks it.

mod cache;
mod derived;
mod retry;
mod settings;

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::error::Result;

pub use cache::{Cache, CacheLimits};
pub use derived::{Derived, Step};
pub(crate) use derived::{by_key, copy};
pub(crate) use retry::get;
pub use settings::{OPTIONS, Settings};

/// What a table has for some keys.
#[derive(Debug, Clone)]
pub struct Found {
    /// The rows, in the schema of the lookup.
    pub rows: RecordBatch,
    /// Of each row, the number of the key that it belongs to.
    pub keys: Vec<u32>,
}

/// A table that finds rows by key.
#[async_trait]
pub trait Lookup: fmt::Debug + Send + Sync {
    /// The rows that it gives.
    fn schema(&self) -> SchemaRef;

    /// How it wants to be asked.
    fn settings(&self) -> Settings;

    /// For EXPLAIN and the log: connector, table and the columns that it is asked by. Never a
    /// secret.
    fn describe(&self) -> String;

    /// Finds the rows of keys: one array per key column, no key twice, none with a NULL, no more
    /// than [`Settings::keys_max`]. A key may have no row, or several. A failure of the kind
    /// [`crate::error::Kind::Unavailable`] is tried again by the caller, with pauses.
    async fn get(&self, keys: &[ArrayRef]) -> Result<Found>;
}
