//! Rows in their order, partition by partition, and which of them changed since a snapshot.

use std::sync::Arc;

use super::misfit;
use super::rows::Rows;
use crate::error::Result;
use crate::updating::RowBytes;
use crate::updating::codec::RowMap;
use crate::updating::memory::ENTRY_BYTES;
use crate::updating::places::{Keyed, Places};
use crate::updating::short_row::ShortRow;

/// A multiset of encoded rows in partitions.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    partitions: Places<Partition>,
    /// Rows whose number changed, with the place of their partition; followed once there is a
    /// snapshot.
    changed: RowMap<u32>,
    tracking: bool,
    bytes: usize,
}

/// The rows of one partition.
#[derive(Debug)]
struct Partition {
    key: ShortRow,
    rows: Rows,
    /// How many rows there are, each as often as it is there.
    held: usize,
    /// When a row came last, in microseconds since 1970.
    touched_at: i64,
    /// The last batch that changed it.
    touched_in: u64,
}

impl Ordered {
    /// Finds a partition or makes it; gives its place.
    pub(super) fn open(&mut self, key: &[u8], now: i64) -> Result<u32> {
        if let Some(slot) = self.partitions.find(key) {
            if let Some(partition) = self.partitions.get_mut(slot) {
                partition.touched_at = now;
            }
            return Ok(slot);
        }
        let partition = Partition {
            key: key.into(),
            rows: Rows::default(),
            held: 0,
            touched_at: now,
            touched_in: 0,
        };
        self.bytes += key.len();
        self.partitions.insert(partition).ok_or_else(misfit)
    }

    /// How many rows a partition has, each as often as it is there.
    pub(super) fn held(&self, slot: u32) -> usize {
        self.partition(slot).map_or(0, |partition| partition.held)
    }

    /// Notes that a batch changes a partition; gives whether it is the batch's first change.
    pub(super) fn touch(&mut self, slot: u32, batch: u64) -> bool {
        let partition = self.partitions.get_mut(slot);
        partition.is_some_and(|p| std::mem::replace(&mut p.touched_in, batch) != batch)
    }

    /// The first rows of a partition, each as often as it is there.
    pub(super) fn first(&self, slot: u32, rows: usize) -> Vec<RowBytes> {
        let partition = self.partition(slot);
        partition.map_or_else(Vec::new, |partition| partition.rows.first(rows))
    }

    /// The last row of a partition.
    pub(super) fn last(&self, slot: u32) -> Option<&RowBytes> {
        self.partition(slot)?.rows.last()
    }

    /// Adds a row some times.
    pub(super) fn add(&mut self, slot: u32, row: &[u8], times: i64) {
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.held += usize::try_from(times).unwrap_or(0);
            if partition.rows.add(row, times) {
                self.bytes += row_bytes(row);
            }
            self.note(slot, row);
        }
    }

    /// Takes a row away once; one that is not there belongs to a partition that has expired.
    pub(super) fn remove(&mut self, slot: u32, row: &[u8]) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let Some(last) = partition.rows.remove(row) else {
            return;
        };
        partition.held -= 1;
        if last {
            self.bytes -= row_bytes(row);
        }
        self.note(slot, row);
    }

    /// Takes the last row of a partition away.
    pub(super) fn remove_last(&mut self, slot: u32) {
        if let Some(last) = self.last(slot).map(Arc::clone) {
            self.remove(slot, &last);
        }
    }

    /// Sets how often a row is there, as a snapshot says.
    pub(super) fn set(&mut self, slot: u32, row: &[u8], count: i64) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let before = partition.rows.drop_row(row);
        partition.held -= usize::try_from(before).unwrap_or(0);
        if before > 0 {
            self.bytes -= row_bytes(row);
        }
        if count > 0 {
            partition.held += usize::try_from(count).unwrap_or(0);
            partition.rows.add(row, count);
            self.bytes += row_bytes(row);
        }
    }

    /// Forgets a partition that has no rows.
    pub(super) fn close_if_empty(&mut self, slot: u32) {
        if self
            .partition(slot)
            .is_some_and(|partition| partition.held == 0)
            && let Some(partition) = self.partitions.remove(slot)
        {
            self.bytes -= partition.key.len();
        }
    }

    /// Drops the partitions that no row has touched since a moment.
    pub(super) fn expire(&mut self, before: i64) {
        let old = |slot: &u32| self.partition(*slot).is_some_and(|p| p.touched_at < before);
        let old: Vec<u32> = self.partitions.places().filter(old).collect();
        for slot in old {
            let Some(partition) = self.partitions.get_mut(slot) else {
                continue;
            };
            partition.held = 0;
            for (row, _) in std::mem::take(&mut partition.rows).into_all() {
                self.bytes -= row_bytes(&row);
                self.note(slot, &row);
            }
            self.close_if_empty(slot);
        }
    }

    /// All rows with how often they are there.
    pub(super) fn all(&self) -> Vec<(RowBytes, i64)> {
        let rows = self.partitions.iter().flat_map(|p| p.rows.iter());
        rows.map(|(row, count)| (Arc::clone(row), count)).collect()
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
        let count = |row: &RowBytes, slot: u32| {
            self.partition(slot)
                .map_or(0, |partition| partition.rows.count(row))
        };
        changed
            .into_iter()
            .map(|(row, slot)| {
                let count = count(&row, slot);
                (row, count)
            })
            .collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.partitions.bytes() + self.changed.len() * ENTRY_BYTES
    }

    fn partition(&self, slot: u32) -> Option<&Partition> {
        self.partitions.get(slot)
    }

    fn note(&mut self, slot: u32, row: &[u8]) {
        if !self.tracking {
            return;
        }
        // The partition may have been closed and opened again at another place.
        if let Some(place) = self.changed.get_mut(row) {
            *place = slot;
            return;
        }
        let known = self.partitions.get(slot);
        let known = known.and_then(|partition| partition.rows.find(row));
        self.changed
            .insert(known.map_or_else(|| row.into(), Arc::clone), slot);
    }
}

impl Keyed for Partition {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

fn row_bytes(row: &[u8]) -> usize {
    row.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_however_many() {
        for many in [3, 500] {
            let mut rows = Ordered::default();
            let slot = rows.open(&[7], 0).unwrap();
            let numbers = (0..many).map(|i: u32| i.wrapping_mul(7919) % many);
            for number in numbers.clone() {
                rows.add(slot, &number.to_be_bytes(), 2);
            }
            assert_eq!(rows.held(slot), many as usize * 2);
            let first = rows.first(slot, 3);
            assert_eq!(
                first.iter().map(|row| row[3]).collect::<Vec<_>>(),
                [0, 0, 1]
            );
            assert_eq!(&**rows.last(slot).unwrap(), (many - 1).to_be_bytes());
            for number in numbers {
                let row = number.to_be_bytes();
                rows.remove(slot, &row);
                rows.set(slot, &row, 0);
            }
            assert_eq!(rows.held(slot), 0);
            rows.close_if_empty(slot);
            assert_eq!(rows.bytes, 0);
            assert!(rows.all().is_empty());
        }
    }

    #[test]
    fn a_partition_that_comes_again_elsewhere_keeps_its_changes() {
        let mut rows = Ordered::default();
        rows.track();
        let first = rows.open(&[1], 0).unwrap();
        rows.add(first, &[1, 1], 1);
        rows.remove(first, &[1, 1]);
        rows.close_if_empty(first);
        let other = rows.open(&[2], 0).unwrap();
        rows.add(other, &[2, 2], 1);
        let again = rows.open(&[1], 0).unwrap();
        assert_ne!(again, first);
        rows.add(again, &[1, 1], 3);
        let mut changes = rows.take_changes();
        changes.sort();
        let expected: [(RowBytes, i64); 2] = [([1, 1].into(), 3), ([2, 2].into(), 1)];
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_is_not_touched_expires() {
        let mut rows = Ordered::default();
        let old = rows.open(&[1], 5).unwrap();
        rows.add(old, &[1, 1], 1);
        let new = rows.open(&[2], 9).unwrap();
        rows.add(new, &[2, 2], 1);
        rows.expire(9);
        assert_eq!(rows.all(), [(RowBytes::from([2, 2]), 1)]);
        assert_eq!(rows.open(&[1], 9).unwrap(), old);
    }
}
