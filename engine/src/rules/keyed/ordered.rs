//! Values that go one way, and numbers that follow one another.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder, Int64Array};
use arrow::datatypes::Int64Type;

use super::last::{restore, save};
use super::memory::{Asked, Memory, Saved};
use super::store::Store;
use crate::error::Result;
use crate::updating::RowCodec;
use crate::updating::short_row::ShortRow;

/// The last value of each key, whatever became of its row.
#[derive(Debug)]
pub(super) struct Ordered {
    codec: Arc<RowCodec>,
    held: Store<ShortRow>,
    follows: Follows,
}

/// What a value must be to the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    NotBefore,
    Behind,
    Next,
}

impl Ordered {
    /// The order is that of the codec.
    pub(super) fn new(codec: Arc<RowCodec>, strictly: bool) -> Self {
        let follows = match strictly {
            true => Follows::Behind,
            false => Follows::NotBefore,
        };
        Self {
            codec,
            held: Store::default(),
            follows,
        }
    }

    /// Whole numbers without a gap.
    pub(super) fn sequence(codec: Arc<RowCodec>) -> Self {
        Self {
            follows: Follows::Next,
            ..Self::new(codec, true)
        }
    }

    /// The values as the last ones must have been for them to be next.
    fn before(&self, asked: &Asked<'_>) -> Result<Option<arrow::row::Rows>> {
        if self.follows != Follows::Next {
            return Ok(None);
        }
        let numbers = asked.value(0)?.as_primitive::<Int64Type>();
        let before: Int64Array = numbers.unary_opt(|number| number.checked_sub(1));
        Ok(Some(self.codec.encode(&[Arc::new(before) as ArrayRef])?))
    }
}

impl Memory for Ordered {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let rows = self.codec.encode(asked.values)?;
        let needed = self.before(asked)?;
        for (row, key) in asked.rows() {
            let now = rows.row(row).data();
            let Some(last) = self.held.set(key, now.into()) else {
                continue;
            };
            let holds = match (&needed, self.follows) {
                (Some(needed), _) => *last == *needed.row(row).data(),
                (None, Follows::NotBefore) => *last <= *now,
                (None, _) => *last < *now,
            };
            if !holds {
                broken.set_bit(row, true);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        save(&mut self.held, &self.codec, all)
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        restore(&mut self.held, &self.codec, keys, columns)
    }
}
