//! The keys of a table that rows refer to, as its rows come and go.

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::rules::keyed::memory::{Asked, Memory, Saved, Values};
use crate::rules::keyed::store::{Held, Store};

impl Held for i64 {
    fn heap(&self) -> usize {
        0
    }
}

/// How many rows there are of each key. Where rows are only added, one stands for all.
#[derive(Debug)]
pub(super) struct Known {
    held: Store<i64>,
    /// There is one row of each key at most, also where not each of its versions is told.
    one_per_key: bool,
}

impl Known {
    pub(super) fn new(one_per_key: bool) -> Self {
        Self {
            held: Store::default(),
            one_per_key,
        }
    }

    /// Notes a row of a table whose rows are only added; says whether its key is new.
    pub(super) fn add(&mut self, key: u128) -> bool {
        let is_new = self.held.get(key).is_none();
        if is_new {
            self.held.set(key, 1);
        }
        is_new
    }

    /// Notes a row that comes or goes; says whether its key is there now and was not before.
    pub(super) fn change(&mut self, key: u128, adds: bool) -> bool {
        let before = self.held.get(key).copied().unwrap_or(0);
        let now = match (self.one_per_key, adds) {
            (true, adds) => i64::from(adds),
            (false, true) => before + 1,
            (false, false) => before - 1,
        };
        match now {
            0 => self.held.remove(key),
            _ => {
                self.held.set(key, now);
            }
        }
        before <= 0 && now > 0
    }

    pub(super) fn holds(&self, key: u128) -> bool {
        self.held.get(key).is_some_and(|rows| *rows > 0)
    }
}

impl Memory for Known {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        for (row, key) in asked.rows() {
            broken.set_bit(row, !self.holds(key));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        let (gone, kept) = self.held.take(all);
        let (keys, counts) = kept.into_iter().unzip();
        Saved {
            gone,
            keys,
            values: Values::Times(counts),
        }
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        let counts = columns
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let counts = counts.ok_or_else(|| Error::internal("a rule's state lacks its counts"))?;
        for (key, count) in keys.iter().zip(counts.values()) {
            self.held.set(*key, *count);
        }
        self.held.restored();
        Ok(())
    }
}
