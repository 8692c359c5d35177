//! Keyed state that is larger than memory: one decorator for all operators that keep state by key.
//!
//! While memory suffices there is one operator for all keys of a subtask, and nothing is different.
//! When it does not, the state is divided by the hash of the keys into parts, each with an operator
//! of its own. What is largest goes to disk in the form in which checkpoints have it; the operator
//! is dropped. Rows for a part on disk wait in a file of their own. When enough of them wait, or
//! they have waited for long, the part is read back, takes them, and goes again if memory is short.
//! All of this reads and writes whole parts one after the other: slower, and right.
//!
//! A part that has rows to take holds the watermark back, so that its results are never late. A
//! checkpoint does not wait for such rows: they are in it beside the state.

mod divide;
mod eviction;
mod file;
mod gauge;
mod operator;
mod partition;
mod past;
mod pending;
mod saved;
#[cfg(test)]
mod tests;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, ArrayRef};
use arrow::record_batch::RecordBatch;

pub(crate) use self::file::{Disk, Frame, own_view, own_views};
pub(crate) use self::gauge::Room;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::hash_keys;
use crate::operator::Operator;

/// What the decorator must know of a kind of operators.
///
/// Their state is by key alone: rows of different keys never meet, and [`Operator::restore`] keeps
/// the rows of the key groups that it is given. The watermark goes on as it comes in, unless
/// [`Self::holds_back`].
pub(crate) trait Spillable: fmt::Debug + Send + Sync {
    /// What is kept, in the plural, for errors.
    fn what(&self) -> &'static str;

    /// Makes an operator.
    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>>;

    /// The hashes of the keys of rows that come in, as the exchange in front computes them.
    fn hashes(&self, input: usize, rows: &RecordBatch) -> Result<Vec<u64>>;

    /// The hashes of the keys of a batch of a full snapshot; `None` for one that is not of keys,
    /// which belongs to every part of the state.
    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>>;

    /// Whether the state does something at watermarks.
    fn follows_watermarks(&self) -> bool {
        false
    }

    /// How often state on disk is looked at although no row comes for it: what has expired goes then.
    fn visited_every(&self) -> Option<Duration> {
        None
    }

    /// Whether results wait for the clock.
    fn gives_by_clock(&self) -> bool {
        false
    }

    /// Whether rows that are kept hold the watermark back, by [`Operator::output_watermark`].
    fn holds_back(&self) -> bool {
        false
    }

    /// Whether the state is in checkpoints. If it is not, no rows wait when one is taken.
    fn is_saved(&self) -> bool {
        true
    }
}

/// Makes the operator of one subtask.
pub(crate) fn create(of: Arc<dyn Spillable>, context: &TaskContext) -> Result<Box<dyn Operator>> {
    Ok(Box::new(operator::Spilling::new(of, context)?))
}

/// The hashes of keys.
pub(crate) fn hashes_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = Vec::new();
    hash_keys(keys, rows, &mut hashes)?;
    Ok(hashes)
}

/// The bytes that a batch shows: columns that were read together share a buffer, which each of them
/// would count as its own.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let size = |column: &ArrayRef| {
        let size = column.to_data().get_slice_memory_size();
        size.unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(size).sum()
}

/// How often state with a time to live is looked at on disk: what has expired takes room there for
/// a part of that time more.
pub(crate) fn visited_for(ttl: Option<Duration>) -> Option<Duration> {
    ttl.map(|ttl| ttl / 4)
}
