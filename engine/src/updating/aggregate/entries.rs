//! The rows of one aggregate in one group, each with how often it is there.

use std::collections::HashSet;

use datafusion_common::hash_utils::RandomState;

use super::rows::Rows;
use crate::updating::memory::ENTRY_BYTES;
use crate::updating::short_row::ShortRow;

/// Changed entries beyond those there are at which it is cheaper to save all of them.
const CHANGED_SPARE: usize = 64;

/// A multiset of rows.
#[derive(Debug)]
pub(super) struct Entries {
    rows: Rows,
    /// Whether it matters how often a row is there: if not, its number is a set of marks, and a row
    /// that comes again changes nothing.
    counted: bool,
    /// Entries that differ from what the last snapshot holds; empty while nothing is saved.
    changed: HashSet<ShortRow, RandomState>,
    bytes: usize,
}

impl Entries {
    /// Makes an empty one.
    pub(super) fn new(ordered: bool, counted: bool) -> Self {
        Self {
            rows: Rows::new(ordered),
            counted,
            changed: HashSet::default(),
            bytes: 0,
        }
    }

    /// Adds a row; gives whether it is the first of its kind.
    pub(super) fn add(&mut self, row: &[u8], track: bool) -> bool {
        if !self.counted {
            return self.mark(row, 1, track) != 0;
        }
        let first = match self.rows.get_mut(row) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.insert(row, 1);
                true
            }
        };
        self.note(row, track);
        first
    }

    /// Adds marks to a row; gives those that are new.
    pub(super) fn mark(&mut self, row: &[u8], marks: i64, track: bool) -> i64 {
        let new = match self.rows.get_mut(row) {
            Some(known) => {
                let new = marks & !*known;
                *known |= marks;
                new
            }
            None if marks != 0 => {
                self.insert(row, marks);
                marks
            }
            None => 0,
        };
        if new != 0 {
            self.note(row, track);
        }
        new
    }

    fn insert(&mut self, row: &[u8], count: i64) {
        self.bytes += row.len() + ENTRY_BYTES;
        self.rows.insert(row, count);
    }

    /// Takes a row away; gives whether it was the last of its kind. A row that is not there belongs
    /// to a group that has expired: nothing happens.
    pub(super) fn remove(&mut self, row: &[u8], track: bool) -> bool {
        let Some(count) = self.rows.get_mut(row) else {
            return false;
        };
        *count -= 1;
        let last = *count <= 0;
        if last {
            self.bytes -= row.len() + ENTRY_BYTES;
            self.rows.remove(row);
        }
        self.note(row, track);
        last
    }

    /// Sets how often a row is there, as a snapshot says.
    pub(super) fn set(&mut self, row: &[u8], count: i64) {
        if self.rows.remove(row) {
            self.bytes -= row.len() + ENTRY_BYTES;
        }
        if count > 0 {
            self.insert(row, count);
        }
    }

    /// The number of a row.
    pub(super) fn number(&self, row: &[u8]) -> i64 {
        self.rows.get(row).copied().unwrap_or(0)
    }

    /// The rows with their numbers, in their order if it was asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ShortRow, i64)> {
        self.rows.iter()
    }

    /// What the next snapshot has to say about single rows: how often each is there now.
    pub(super) fn changes(&self) -> impl Iterator<Item = (ShortRow, i64)> {
        let count = |row: &ShortRow| self.rows.get(row).copied().unwrap_or(0);
        self.changed
            .iter()
            .map(move |row| (row.clone(), count(row)))
    }

    /// Whether saving all rows costs less than saving what changed.
    pub(super) fn is_mostly_changed(&self) -> bool {
        self.changed.len() > self.rows.len() + CHANGED_SPARE
    }

    /// All that is here is in a snapshot, or will be written as a whole.
    pub(super) fn forget_changes(&mut self) {
        self.changed = HashSet::default();
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.changed.capacity() * size_of::<ShortRow>()
    }

    fn note(&mut self, row: &[u8], track: bool) {
        if track && !self.changed.contains(row) {
            self.changed.insert(self.rows.share(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_keeping_rows_agree() {
        for counted in [true, false] {
            let mut ways = [Entries::new(true, counted), Entries::new(false, counted)];
            let edges = ways.each_mut().map(|entries| {
                let mut edges = Vec::new();
                for row in [&b"b"[..], b"a", b"b", b"c"] {
                    edges.push(entries.add(row, true));
                }
                edges.push(entries.remove(b"c", true));
                edges.push(entries.remove(b"never", true));
                entries.set(b"set", 4);
                edges
            });
            assert_eq!(edges[0], [true, true, false, true, true, false]);
            assert_eq!(edges[0], edges[1]);
            let all = ways.each_ref().map(|entries| {
                let rows = |(row, count): (ShortRow, i64)| (row.to_vec(), count);
                let mut all: Vec<_> = entries.iter().map(rows).collect();
                let mut changes: Vec<_> = entries.changes().map(rows).collect();
                all.sort();
                changes.sort();
                (all, changes, entries.bytes)
            });
            assert_eq!(all[0], all[1]);
            let twice = 1 + i64::from(counted);
            let expected = [("a", 1), ("b", twice), ("set", 4)];
            assert_eq!(all[0].0, expected.map(|(row, n)| (row.into(), n)));
            let changes = [("a", 1), ("b", twice), ("c", 0)];
            assert_eq!(all[0].1, changes.map(|(row, n)| (row.into(), n)));
        }
    }
}
