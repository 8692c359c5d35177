//! Keys that were there (uniqueness), and what they determine.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::fingerprint::{low, numbers, values};
use super::memory::{Asked, Memory, Saved, Values};
use super::store::Store;
use crate::error::{Error, Result};

/// Tables that the keys of a subtask are spread over: a table that grows is in memory twice.
const TABLES: usize = 64;

/// The keys that were there. Nothing is remembered of them but their numbers.
#[derive(Debug)]
pub(super) struct Seen {
    tables: Vec<HashTable<u128>>,
    /// What the next checkpoint has to say; followed once there is one.
    new: Vec<u128>,
    tracking: bool,
}

impl Default for Seen {
    fn default() -> Self {
        let mut tables = Vec::new();
        tables.resize_with(TABLES, HashTable::new);
        Self {
            tables,
            new: Vec::new(),
            tracking: false,
        }
    }
}

impl Seen {
    /// Notes a key; gives whether it is new.
    fn see(&mut self, key: u128) -> bool {
        // Bits that the table itself doesn't use.
        let table = (low(key >> 64) as usize) % TABLES;
        let Some(table) = self.tables.get_mut(table) else {
            return false;
        };
        match table.entry(low(key), |other| *other == key, |key| low(*key)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(key);
                true
            }
        }
    }
}

impl Memory for Seen {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        for (row, key) in asked.rows() {
            if !self.see(key) {
                broken.set_bit(row, true);
            } else if self.tracking {
                self.new.push(key);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let held: usize = self.tables.iter().map(HashTable::allocation_size).sum();
        held + self.new.capacity() * size_of::<u128>()
    }

    fn save(&mut self, all: bool) -> Saved {
        let all = all || !std::mem::replace(&mut self.tracking, true);
        let new = std::mem::take(&mut self.new);
        Saved {
            gone: Vec::new(),
            keys: match all {
                true => self.tables.iter().flatten().copied().collect(),
                false => new,
            },
            values: Values::None,
        }
    }

    fn lose(&mut self, _keys: &[u128]) {}

    fn restore(&mut self, keys: &[u128], _columns: &[ArrayRef]) -> Result<()> {
        self.tracking = true;
        keys.iter().for_each(|key| {
            self.see(*key);
        });
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
