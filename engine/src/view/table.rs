//! The rows of a view in memory, and how they were at the last snapshot.

use std::sync::Arc;

use crate::changelog::RowKind;
use crate::updating::RowBytes;
use crate::updating::codec::RowMap;
use crate::updating::memory::ENTRY_BYTES;

/// One row of a changelog.
pub(super) type Line = (RowBytes, RowKind);

/// Rows by unique key, or by themselves.
#[derive(Debug)]
pub(super) enum Table {
    /// One row per key.
    Keyed(Kept<RowBytes>),
    /// Each row with how often it is there. It is negative where a row goes in one subtask that came
    /// in another: the sum over the subtasks is right.
    Counted(Kept<i64>),
}

/// Values by key, with those of the last snapshot where they may differ.
#[derive(Debug)]
pub(super) struct Kept<V> {
    values: RowMap<V>,
    /// The values before, of keys that were touched since the last snapshot.
    before: RowMap<Option<V>>,
    /// Whether there is a snapshot to compare with.
    tracking: bool,
    bytes: usize,
}

/// What takes part in the account of memory beside its key.
pub(super) trait Size {
    /// Its bytes.
    fn size(&self) -> usize;
}

impl Size for RowBytes {
    fn size(&self) -> usize {
        self.len() + ENTRY_BYTES
    }
}

impl Size for i64 {
    fn size(&self) -> usize {
        ENTRY_BYTES
    }
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self {
            values: RowMap::default(),
            before: RowMap::default(),
            tracking: false,
            bytes: 0,
        }
    }
}

impl<V: Clone + Size> Kept<V> {
    /// Sets or drops a value.
    fn set(&mut self, key: &[u8], value: Option<V>) {
        let size = |value: &V| key.len() + value.size();
        self.bytes += value.as_ref().map_or(0, size);
        let (shared, old) = match self.values.get_key_value(key) {
            Some((shared, old)) => (Arc::clone(shared), Some(old.clone())),
            None => (key.into(), None),
        };
        self.bytes -= old.as_ref().map_or(0, size);
        if self.tracking && !self.before.contains_key(key) {
            self.bytes += size_of::<RowBytes>() + old.as_ref().map_or(0, size);
            self.before.insert(Arc::clone(&shared), old);
        }
        match value {
            Some(value) => drop(self.values.insert(shared, value)),
            None => drop(self.values.remove(key)),
        }
    }

    /// The values before and now of what was touched since the last call; all are new at first.
    fn take_changes(&mut self) -> Vec<(RowBytes, Option<V>, Option<V>)> {
        if !std::mem::replace(&mut self.tracking, true) {
            let values = self.values.iter();
            return values
                .map(|(key, now)| (Arc::clone(key), None, Some(now.clone())))
                .collect();
        }
        let changes: Vec<_> = std::mem::take(&mut self.before)
            .into_iter()
            .map(|(key, before)| {
                let now = self.values.get(&key).cloned();
                (key, before, now)
            })
            .collect();
        let size = |(key, before, _): &(RowBytes, Option<V>, Option<V>)| {
            size_of::<RowBytes>() + before.as_ref().map_or(0, |v| key.len() + v.size())
        };
        self.bytes -= changes.iter().map(size).sum::<usize>();
        changes
    }
}

impl Table {
    pub(super) fn new(keyed: bool) -> Self {
        if keyed {
            Self::Keyed(Kept::default())
        } else {
            Self::Counted(Kept::default())
        }
    }

    /// Applies one row of a changelog; `key` is its unique key, if the table has one.
    pub(super) fn apply(&mut self, key: &[u8], row: &[u8], kind: RowKind) {
        match self {
            Self::Keyed(kept) => match kind {
                RowKind::Insert | RowKind::UpdateAfter => kept.set(key, Some(row.into())),
                RowKind::Delete => kept.set(key, None),
                // The row may have been replaced by what came for its key since.
                RowKind::UpdateBefore => {
                    if kept.values.get(key).is_some_and(|held| **held == *row) {
                        kept.set(key, None);
                    }
                }
            },
            Self::Counted(kept) => {
                let count = kept.values.get(row).copied().unwrap_or(0);
                let count = count + if kind.adds() { 1 } else { -1 };
                kept.set(row, (count != 0).then_some(count));
            }
        }
    }

    /// Adds restored rows, which count as saved: what follows is a change.
    pub(super) fn absorb(&mut self, restored: Self) {
        match (self, restored) {
            (Self::Keyed(kept), Self::Keyed(restored)) => {
                kept.bytes += restored.bytes;
                kept.values.extend(restored.values);
                kept.tracking = true;
            }
            (Self::Counted(kept), Self::Counted(restored)) => {
                kept.tracking = false;
                for (row, count) in restored.values {
                    let sum = kept.values.get(&row).copied().unwrap_or(0) + count;
                    kept.set(&row, (sum != 0).then_some(sum));
                }
                kept.tracking = true;
            }
            // Both are made for the same program.
            _ => {}
        }
    }

    /// Whether there was a snapshot.
    pub(super) fn is_tracking(&self) -> bool {
        match self {
            Self::Keyed(kept) => kept.tracking,
            Self::Counted(kept) => kept.tracking,
        }
    }

    /// The net change since the last call, compacted: what came and went is not in it.
    pub(super) fn take_changes(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        match self {
            Self::Keyed(kept) => {
                for (_, before, now) in kept.take_changes() {
                    match (before, now) {
                        (None, Some(now)) => lines.push((now, RowKind::Insert)),
                        (Some(before), None) => lines.push((before, RowKind::Delete)),
                        (Some(before), Some(now)) if before != now => {
                            lines.push((before, RowKind::UpdateBefore));
                            lines.push((now, RowKind::UpdateAfter));
                        }
                        _ => {}
                    }
                }
            }
            Self::Counted(kept) => {
                for (row, before, now) in kept.take_changes() {
                    repeat(&row, now.unwrap_or(0) - before.unwrap_or(0), &mut lines);
                }
            }
        }
        lines
    }

    /// All rows.
    pub(super) fn rows(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        match self {
            Self::Keyed(kept) => {
                let rows = kept.values.values();
                lines.extend(rows.map(|row| (Arc::clone(row), RowKind::Insert)));
            }
            Self::Counted(kept) => {
                for (row, count) in &kept.values {
                    repeat(row, *count, &mut lines);
                }
            }
        }
        lines
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Keyed(kept) => kept.bytes,
            Self::Counted(kept) => kept.bytes,
        }
    }
}

fn repeat(row: &RowBytes, count: i64, lines: &mut Vec<Line>) {
    let kind = if count > 0 {
        RowKind::Insert
    } else {
        RowKind::Delete
    };
    let times = usize::try_from(count.unsigned_abs()).unwrap_or(0);
    lines.extend(std::iter::repeat_n((Arc::clone(row), kind), times));
}
