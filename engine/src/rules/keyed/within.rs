//! Uniqueness within a time: the times of the rows of a key that held to the rule.

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};

use super::memory::{Asked, Memory, Saved, Values};
use super::store::{Held, Store};
use crate::error::{Error, Result};

/// Parts of the time after which what is too old is looked for: the search over all keys costs
/// little, and a key is remembered longer by this share.
const SWEEPS: i64 = 16;

impl Held for Vec<i64> {
    fn heap(&self) -> usize {
        self.capacity() * size_of::<i64>()
    }
}

/// The times of each key, in no order: there are few.
#[derive(Debug)]
pub(super) struct Within {
    micros: i64,
    held: Store<Vec<i64>>,
    sweep_at: i64,
}

impl Within {
    pub(super) fn new(micros: i64) -> Self {
        Self {
            micros,
            held: Store::default(),
            sweep_at: i64::MIN,
        }
    }
}

impl Memory for Within {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = cast(&cast(asked.value(0)?, &micros)?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>().values();
        for (row, key) in asked.rows() {
            let Some(time) = times.get(row).copied() else {
                continue;
            };
            let near = |other: &i64| time.abs_diff(*other) <= self.micros.unsigned_abs();
            if self.held.get(key).is_some_and(|held| held.iter().any(near)) {
                broken.set_bit(row, true);
            } else {
                self.held.change(key, |held| held.push(time));
            }
        }
        Ok(())
    }

    fn forget(&mut self, watermark: i64) {
        if watermark < self.sweep_at {
            return;
        }
        self.sweep_at = watermark.saturating_add(self.micros / SWEEPS);
        let before = watermark.saturating_sub(self.micros);
        self.held.retain(|times| {
            // What is left of a key's times is not news: the others are forgotten again.
            times.retain(|time| *time >= before);
            !times.is_empty()
        });
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        let (gone, kept) = self.held.take(all);
        let each = |(key, times): (u128, Vec<i64>)| times.into_iter().map(move |time| (key, time));
        let (keys, times) = kept.into_iter().flat_map(each).unzip();
        Saved {
            gone,
            keys,
            values: Values::Times(times),
        }
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        let times = columns
            .first()
            .and_then(|c| c.as_primitive_opt::<Int64Type>());
        let times = times.ok_or_else(|| Error::internal("a rule's state lacks its times"))?;
        for (key, time) in keys.iter().zip(times.values()) {
            self.held.change(*key, |held| held.push(*time));
        }
        self.held.restored();
        Ok(())
    }
}
