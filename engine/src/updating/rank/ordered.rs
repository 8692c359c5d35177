//! Rows in their order, partition after partition, and which of them changed since a snapshot.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::updating::RowBytes;
use crate::updating::codec::RowMap;
use crate::updating::memory::ENTRY_BYTES;

/// A multiset of encoded rows. A partition is the rows that begin with its bytes: no partition's
/// bytes are the beginning of another's.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    counts: BTreeMap<RowBytes, i64>,
    /// Rows whose number changed; followed once there is a snapshot.
    changed: RowMap<()>,
    tracking: bool,
    bytes: usize,
}

impl Ordered {
    pub(super) fn add(&mut self, row: &[u8], times: i64) {
        match self.counts.get_mut(row) {
            Some(count) => *count += times,
            None => {
                self.bytes += row.len() + ENTRY_BYTES;
                self.counts.insert(row.into(), times);
            }
        }
        self.note(row);
    }

    /// Takes a row away once; one that is not there belongs to a partition that has expired.
    pub(super) fn remove(&mut self, row: &[u8]) {
        let Some(count) = self.counts.get_mut(row) else {
            return;
        };
        *count -= 1;
        if *count <= 0 {
            self.drop_row(row);
        }
        self.note(row);
    }

    /// Sets how often a row is there, as a snapshot says.
    pub(super) fn set(&mut self, row: &[u8], count: i64) {
        self.drop_row(row);
        if count > 0 {
            self.bytes += row.len() + ENTRY_BYTES;
            self.counts.insert(row.into(), count);
        }
    }

    /// The first rows of a partition, each as often as it is there.
    pub(super) fn first(&self, partition: &[u8], rows: usize) -> Vec<RowBytes> {
        let mut first = Vec::new();
        for (row, count) in self.range(partition) {
            let missing = rows - first.len();
            let times = usize::try_from(*count).unwrap_or(0).min(missing);
            first.extend(std::iter::repeat_n(row, times).map(Arc::clone));
            if first.len() == rows {
                break;
            }
        }
        first
    }

    /// The last row of a partition.
    pub(super) fn last(&self, partition: &[u8]) -> Option<RowBytes> {
        self.range(partition)
            .next_back()
            .map(|(row, _)| Arc::clone(row))
    }

    /// Drops a partition.
    pub(super) fn drop_partition(&mut self, partition: &[u8]) {
        let rows: Vec<RowBytes> = self
            .range(partition)
            .map(|(row, _)| Arc::clone(row))
            .collect();
        for row in rows {
            self.drop_row(&row);
            self.note(&row);
        }
    }

    /// All rows with how often they are there.
    pub(super) fn all(&self) -> Vec<(RowBytes, i64)> {
        let rows = self.counts.iter();
        rows.map(|(row, count)| (Arc::clone(row), *count)).collect()
    }

    /// Whether there was a snapshot, so that changes are known.
    pub(super) fn is_tracking(&self) -> bool {
        self.tracking
    }

    /// Follows changes from now on.
    pub(super) fn track(&mut self) {
        self.tracking = true;
    }

    /// The rows that changed since the last call, with how often they are there now.
    pub(super) fn take_changes(&mut self) -> Vec<(RowBytes, i64)> {
        let changed = std::mem::take(&mut self.changed);
        let count = |row: &RowBytes| self.counts.get(row).copied().unwrap_or(0);
        changed
            .into_keys()
            .map(|row| {
                let count = count(&row);
                (row, count)
            })
            .collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.changed.len() * ENTRY_BYTES
    }

    fn range(&self, partition: &[u8]) -> impl DoubleEndedIterator<Item = (&RowBytes, &i64)> {
        let end = successor(partition);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.counts
            .range::<[u8], _>((Bound::Included(partition), end))
    }

    fn drop_row(&mut self, row: &[u8]) {
        if self.counts.remove(row).is_some() {
            self.bytes -= row.len() + ENTRY_BYTES;
        }
    }

    fn note(&mut self, row: &[u8]) {
        if !self.tracking || self.changed.contains_key(row) {
            return;
        }
        let shared = match self.counts.get_key_value(row) {
            Some((known, _)) => Arc::clone(known),
            None => row.into(),
        };
        self.changed.insert(shared, ());
    }
}

/// The least bytes after all that begin with these.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let kept = bytes.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next: Vec<u8> = bytes.iter().take(kept + 1).copied().collect();
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_what_begins_with_its_bytes() {
        let mut rows = Ordered::default();
        for row in [
            [1, 255, 0],
            [1, 255, 255],
            [2, 0, 0],
            [255, 255, 9],
            [1, 254, 9],
        ] {
            rows.add(&row, 2);
        }
        let first = |partition: &[u8], n| {
            let rows = rows.first(partition, n);
            rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(
            first(&[1, 255], 3),
            [[1, 255, 0], [1, 255, 0], [1, 255, 255]]
        );
        assert_eq!(first(&[255, 255], 1), [[255, 255, 9]]);
        assert_eq!(first(&[3], 1), Vec::<Vec<u8>>::new());
        assert_eq!(first(&[], 1), [[1, 254, 9]]);
        assert_eq!(rows.last(&[1]).as_deref(), Some(&[1, 255, 255][..]));
    }
}
