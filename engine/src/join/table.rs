//! Rows of one side in a hash multimap: chains of equal hashes over row numbers, newest first.
//!
//! Each row may have a count of its matches. The count of a row that is gone says so; it may still be
//! in its chain, and its values stay until the table is made anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::record_batch::RecordBatch;

use super::chunks::Chunks;
use super::program::Keyed;
use super::results::unmatched;
use crate::error::Result;

/// The end of a chain.
pub(super) const NONE: u32 = u32::MAX;
/// The count of a row that is gone.
pub(super) const GONE: u32 = u32::MAX;
/// Bytes of a row beside its values: hash and head of its chain, next, count.
const ROW_BYTES: usize = 8 + 4 + 4 + 2;

/// Row hashes are hashes already; the product spreads the bits that all keys of a subtask share.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = (self.0 ^ hash)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29);
    }
}

/// Rows with an index.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Chunks,
    heads: HashMap<u64, u32, BuildHasherDefault<Spread>>,
    next: Vec<u32>,
    times: Vec<i64>,
    /// Matches of each row; empty where nobody asks.
    matches: Vec<u32>,
    /// Rows that are gone.
    gone: usize,
    /// Rows that are in a snapshot.
    pub(super) saved: usize,
    /// Rows in a snapshot whose count has changed since.
    changed: Vec<u32>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.rows.rows()
    }

    pub(super) fn bytes(&self) -> usize {
        // A hash map keeps an eighth of its room free and doubles when it is full.
        self.rows.bytes()
            + self.next.capacity() * ROW_BYTES
            + self.heads.capacity().saturating_sub(self.next.capacity()) * 13
            + self.times.capacity() * 8
            + self.changed.capacity() * 4
    }

    /// How many of the rows are gone.
    pub(super) fn gone(&self) -> usize {
        self.gone
    }

    /// Appends rows; `matches` is empty where nobody asks for counts.
    pub(super) fn push(&mut self, rows: Keyed, matches: &[u32]) -> Result<()> {
        let first = u32::try_from(self.len()).unwrap_or(NONE);
        self.next.reserve(rows.len());
        for (row, (at, hash)) in (first..).zip(rows.hashes.iter().enumerate()) {
            let gone = matches.get(at) == Some(&GONE);
            if gone {
                self.next.push(NONE);
                self.gone += 1;
            } else {
                let head = self.heads.insert(*hash, row);
                self.next.push(head.unwrap_or(NONE));
            }
        }
        self.times.extend_from_slice(&rows.times);
        self.matches.extend_from_slice(matches);
        self.rows.push(rows.batch)
    }

    /// The newest row of a hash.
    pub(super) fn head(&self, hash: u64) -> u32 {
        self.heads.get(&hash).copied().unwrap_or(NONE)
    }

    /// The row of the same hash before a row.
    pub(super) fn next(&self, row: u32) -> u32 {
        self.next.get(row as usize).copied().unwrap_or(NONE)
    }

    /// The time of a row.
    pub(super) fn time(&self, row: u32) -> i64 {
        self.times.get(row as usize).copied().unwrap_or(0)
    }

    pub(super) fn times(&self) -> &[i64] {
        &self.times
    }

    /// The counts of all rows; empty where nobody asks.
    pub(super) fn matches(&self) -> &[u32] {
        &self.matches
    }

    /// Gives the rows in a snapshot whose counts have changed since.
    pub(super) fn into_changed(self) -> Vec<u32> {
        self.changed
    }

    pub(super) fn matches_of(&self, row: u32) -> u32 {
        self.matches.get(row as usize).copied().unwrap_or(0)
    }

    /// Sets the count of a row.
    pub(super) fn set_matches(&mut self, row: u32, count: u32) {
        if let Some(matches) = self.matches.get_mut(row as usize) {
            if (row as usize) < self.saved && *matches != count {
                self.changed.push(row);
            }
            if *matches != GONE && count == GONE {
                self.gone += 1;
            }
            *matches = count;
        }
    }

    /// Takes a row out of its chain, and says that it is gone.
    pub(super) fn remove(&mut self, hash: u64, row: u32) {
        let after = self.next(row);
        let head = self.head(hash);
        if head == row {
            if after == NONE {
                self.heads.remove(&hash);
            } else {
                self.heads.insert(hash, after);
            }
        } else {
            let mut at = head;
            while at != NONE && self.next(at) != row {
                at = self.next(at);
            }
            if let Some(next) = self.next.get_mut(at as usize) {
                *next = after;
            }
        }
        self.set_matches(row, GONE);
    }

    /// Rows that have no match.
    pub(super) fn unmatched(&self) -> Vec<u32> {
        unmatched(&self.matches)
    }

    /// Takes the rows from a number on with their counts, without a copy of the rows.
    pub(super) fn part(&self, from: usize) -> Vec<(RecordBatch, Vec<u32>)> {
        let mut start = from;
        let batches = self.rows.from(from).into_iter();
        batches
            .map(|batch| {
                let end = start + batch.num_rows();
                let matches = self.matches.get(start..end).unwrap_or_default().to_vec();
                start = end;
                (batch, matches)
            })
            .collect()
    }

    /// Takes the rows of the last snapshot whose counts have changed, with their counts; from now
    /// on all rows are in a snapshot.
    pub(super) fn save(&mut self) -> Vec<(u32, u32)> {
        self.saved = self.len();
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
            .into_iter()
            .map(|row| (row, self.matches_of(row)))
            .collect()
    }
}
