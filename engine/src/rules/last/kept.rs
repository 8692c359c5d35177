//! The last rows of one segment, in their order: by event time, rows of one time by their values, so that which of
//! them are the last does not depend on how they came.

use std::collections::BTreeMap;

use crate::updating::RowBytes;

/// Bytes of a row beside its own.
const ENTRY_BYTES: usize = 96;

/// Rows with how often each is there.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: BTreeMap<(i64, RowBytes), usize>,
    count: usize,
    bytes: usize,
}

impl Kept {
    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row so many times.
    pub(super) fn add(&mut self, time: i64, row: RowBytes, times: usize) {
        let bytes = row.len() + ENTRY_BYTES;
        let known = self.rows.entry((time, row)).or_insert_with(|| {
            self.bytes += bytes;
            0
        });
        *known += times;
        self.count += times;
    }

    /// Forgets all but so many.
    pub(super) fn keep(&mut self, count: usize) {
        while self.count > count {
            let Some(mut first) = self.rows.first_entry() else {
                return;
            };
            *first.get_mut() -= 1;
            self.count -= 1;
            if *first.get() == 0 {
                let ((_, row), _) = first.remove_entry();
                self.bytes -= row.len() + ENTRY_BYTES;
            }
        }
    }

    /// Forgets those up to a time.
    pub(super) fn forget(&mut self, until: i64) {
        while let Some(first) = self.rows.first_entry() {
            if first.key().0 > until {
                return;
            }
            let ((_, row), times) = first.remove_entry();
            self.bytes -= row.len() + ENTRY_BYTES;
            self.count -= times;
        }
    }

    /// All rows up to a time, each with its time and how often it is there.
    pub(super) fn until(&self, time: i64) -> impl Iterator<Item = (i64, &RowBytes, usize)> {
        let rows = self.rows.iter().take_while(move |((of, _), _)| *of <= time);
        rows.map(|((time, row), times)| (*time, row, *times))
    }
}
