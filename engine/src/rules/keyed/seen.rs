//! Keys that were there (uniqueness), and what they determine.

use std::hint::black_box;

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use parking_lot::Mutex;

use super::fingerprint::{low, numbers, values};
use super::key_set::KeySet;
use super::memory::{Asked, Memory, Saved, Values};
use super::store::Store;
use crate::error::{Error, Result};

/// Tables that the keys are spread over: one that grows is in memory twice, and those who share them
/// seldom wait for one another.
const TABLES: usize = 64;

/// The table of a key, by bits that say nothing of its place there.
fn table_of(key: u128) -> usize {
    (low(key >> 64) as usize) % TABLES
}

/// The keys that were there. Nothing is remembered of them but their numbers.
#[derive(Debug)]
pub(super) struct Seen {
    tables: Vec<Mutex<KeySet>>,
    /// What the next checkpoint has to say; followed once there is one.
    new: Vec<u128>,
    tracking: bool,
}

impl Default for Seen {
    fn default() -> Self {
        let mut tables = Vec::new();
        tables.resize_with(TABLES, Mutex::default);
        Self {
            tables,
            new: Vec::new(),
            tracking: false,
        }
    }
}

impl Seen {
    /// Takes the keys out, table by table.
    pub(super) fn drain(&self) -> impl Iterator<Item = Vec<u128>> + '_ {
        let tables = self.tables.iter();
        tables.map(|table| std::mem::take(&mut *table.lock()).iter().collect())
    }

    /// Notes the keys of rows. Several may do so at the same time: of rows with one key that they bring
    /// one is `first`, the others are `repeated`.
    pub(super) fn note(
        &self,
        rows: &[(usize, u128)],
        mut repeated: impl FnMut(usize),
        mut first: impl FnMut(u128),
    ) {
        let (mut start, sorted) = (0, sorted(rows));
        for (table, end) in self.tables.iter().zip(sorted.ends) {
            let rows = sorted.rows.get(start..end).unwrap_or_default();
            start = end;
            if rows.is_empty() {
                continue;
            }
            let mut table = table.lock();
            black_box(rows.iter().fold(0, |all, (_, key)| all ^ table.peek(*key)));
            for (row, key) in rows {
                match table.insert(*key) {
                    true => first(*key),
                    false => repeated(*row),
                }
            }
        }
    }

    /// Bytes of the keys.
    pub(super) fn held_bytes(&self) -> usize {
        let tables = self.tables.iter();
        tables.map(|table| table.lock().bytes()).sum()
    }
}

/// Rows by the tables of their keys.
struct Sorted {
    rows: Vec<(usize, u128)>,
    /// Where those of each table end.
    ends: [usize; TABLES],
}

fn sorted(rows: &[(usize, u128)]) -> Sorted {
    let mut ends = [0; TABLES];
    for (_, key) in rows {
        if let Some(count) = ends.get_mut(table_of(*key)) {
            *count += 1;
        }
    }
    let mut all = 0;
    for end in &mut ends {
        all += std::mem::replace(end, all);
    }
    let mut sorted = vec![(0, 0); rows.len()];
    for row in rows {
        let Some(end) = ends.get_mut(table_of(row.1)) else {
            continue;
        };
        if let Some(place) = sorted.get_mut(*end) {
            *place = *row;
        }
        *end += 1;
    }
    Sorted { rows: sorted, ends }
}

impl Memory for Seen {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let rows: Vec<_> = asked.rows().collect();
        let mut new = std::mem::take(&mut self.new);
        let note = |key| {
            if self.tracking {
                new.push(key);
            }
        };
        self.note(&rows, |row| broken.set_bit(row, true), note);
        self.new = new;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held_bytes() + self.new.capacity() * size_of::<u128>()
    }

    fn save(&mut self, all: bool) -> Saved {
        let all = all || !std::mem::replace(&mut self.tracking, true);
        let new = std::mem::take(&mut self.new);
        let held = || {
            let tables = self.tables.iter();
            tables.flat_map(|table| table.lock().iter().collect::<Vec<_>>())
        };
        Saved {
            gone: Vec::new(),
            keys: if all { held().collect() } else { new },
            values: Values::None,
        }
    }

    fn lose(&mut self, _keys: &[u128]) {}

    fn restore(&mut self, keys: &[u128], _columns: &[ArrayRef]) -> Result<()> {
        self.tracking = true;
        let rows: Vec<_> = keys.iter().copied().enumerate().collect();
        self.note(&rows, |_| {}, |_| {});
        Ok(())
    }
}

/// What each key determines: the number of the values of its first row.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    held: Store<u128>,
}

impl Memory for Firsts {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let found = values(asked.values, asked.keys.len())?;
        for (row, key) in asked.rows() {
            let Some(value) = found.get(row) else {
                continue;
            };
            match self.held.get(key) {
                Some(first) if first != value => broken.set_bit(row, true),
                Some(_) => {}
                None => {
                    self.held.set(key, *value);
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        let (gone, kept) = self.held.take(all);
        let (keys, numbers) = kept.into_iter().unzip();
        Saved {
            gone,
            keys,
            values: Values::Numbers(numbers),
        }
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        let found = columns.first();
        let found = found.ok_or_else(|| Error::internal("a rule's state lacks its values"))?;
        for (key, value) in keys.iter().zip(numbers(found)?) {
            self.held.set(*key, value);
        }
        self.held.restored();
        Ok(())
    }
}
