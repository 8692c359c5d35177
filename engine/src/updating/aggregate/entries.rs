//! The rows of one aggregate in one group, each with how often it is there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion_common::hash_utils::RandomState;

use crate::updating::RowBytes;
use crate::updating::memory::ENTRY_BYTES;

/// Changed entries beyond those there are at which it is cheaper to save all of them.
const CHANGED_SPARE: usize = 64;

/// A multiset in the order of its rows.
#[derive(Debug, Default)]
pub(super) struct Entries {
    counts: BTreeMap<RowBytes, i64>,
    /// Entries that differ from what the last snapshot holds; empty while nothing is saved.
    changed: HashSet<RowBytes, RandomState>,
    bytes: usize,
}

impl Entries {
    /// Adds a row; gives whether it is the first of its kind.
    pub(super) fn add(&mut self, row: &[u8], track: bool) -> bool {
        let first = match self.counts.get_mut(row) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.bytes += row.len() + ENTRY_BYTES;
                self.counts.insert(row.into(), 1);
                true
            }
        };
        self.note(row, track);
        first
    }

    /// Takes a row away; gives whether it was the last of its kind. A row that is not there belongs
    /// to a group that has expired: nothing happens.
    pub(super) fn remove(&mut self, row: &[u8], track: bool) -> bool {
        let Some(count) = self.counts.get_mut(row) else {
            return false;
        };
        *count -= 1;
        let last = *count <= 0;
        if last {
            self.bytes -= row.len() + ENTRY_BYTES;
            self.counts.remove(row);
        }
        self.note(row, track);
        last
    }

    /// Sets how often a row is there, as a snapshot says.
    pub(super) fn set(&mut self, row: &[u8], count: i64) {
        let known = self.counts.contains_key(row);
        if count > 0 {
            self.bytes += if known { 0 } else { row.len() + ENTRY_BYTES };
            self.counts.insert(row.into(), count);
        } else if self.counts.remove(row).is_some() {
            self.bytes -= row.len() + ENTRY_BYTES;
        }
    }

    /// The rows in order, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&RowBytes, i64)> {
        self.counts.iter().map(|(row, count)| (row, *count))
    }

    /// What the next snapshot has to say about single rows: how often each is there now.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&RowBytes, i64)> {
        let count = |row: &RowBytes| self.counts.get(row).copied().unwrap_or(0);
        self.changed.iter().map(move |row| (row, count(row)))
    }

    /// Whether saving all rows costs less than saving what changed.
    pub(super) fn is_mostly_changed(&self) -> bool {
        self.changed.len() > self.counts.len() + CHANGED_SPARE
    }

    /// All that is here is in a snapshot, or will be written as a whole.
    pub(super) fn forget_changes(&mut self) {
        self.changed = HashSet::default();
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.changed.capacity() * size_of::<RowBytes>()
    }

    fn note(&mut self, row: &[u8], track: bool) {
        if !track || self.changed.contains(row) {
            return;
        }
        let shared = match self.counts.get_key_value(row) {
            Some((known, _)) => Arc::clone(known),
            None => row.into(),
        };
        self.changed.insert(shared);
    }
}
