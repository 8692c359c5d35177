//! A table that ends was read whole when the job started: nothing is remembered, and no row waits.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder};

use crate::error::Result;
use crate::rules::Reference;
use crate::rules::keyed::memory::{Asked, Memory, Saved, Values};

/// Asks the keys that were read.
#[derive(Debug)]
pub(in crate::rules::keyed) struct Read {
    reference: Arc<Reference>,
}

impl Read {
    pub(in crate::rules::keyed) fn of(reference: &Arc<Reference>) -> Self {
        let reference = Arc::clone(reference);
        Self { reference }
    }
}

impl Memory for Read {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let held = self.reference.holds(asked.key, asked.keys.len())?;
        for (row, _) in asked.rows() {
            broken.set_bit(row, !held.value(row));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        0
    }

    fn save(&mut self, _all: bool) -> Saved {
        Saved {
            gone: Vec::new(),
            keys: Vec::new(),
            values: Values::None,
        }
    }

    fn lose(&mut self, _keys: &[u128]) {}

    fn restore(&mut self, _keys: &[u128], _columns: &[ArrayRef]) -> Result<()> {
        Ok(())
    }
}
