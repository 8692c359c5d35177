//! The last row of each key: what `lag(column)` gives, and the state from which one goes on.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::memory::{Asked, Memory, Saved, Values};
use super::store::Store;
use crate::error::{Error, Result};
use crate::updating::RowCodec;
use crate::updating::short_row::ShortRow;

/// The values of the last row of each key, whatever became of it.
#[derive(Debug)]
pub(super) struct Last {
    codec: Arc<RowCodec>,
    held: Store<ShortRow>,
    allowed: Option<Allowed>,
}

/// Which state may follow which.
#[derive(Debug)]
struct Allowed {
    pairs: HashSet<(ShortRow, ShortRow)>,
    /// How a key may begin; with anything if nothing is said.
    starts: HashSet<ShortRow>,
}

impl Last {
    pub(super) fn new(codec: Arc<RowCodec>) -> Self {
        Self {
            codec,
            held: Store::default(),
            allowed: None,
        }
    }

    /// Allows these pairs of states only.
    pub(super) fn transition(
        codec: Arc<RowCodec>,
        data_type: &DataType,
        (from, to): &(ArrayRef, ArrayRef),
    ) -> Result<Self> {
        let froms = codec.encode(&[cast(from, data_type)?])?;
        let tos = codec.encode(&[cast(to, data_type)?])?;
        let mut allowed = Allowed {
            pairs: HashSet::new(),
            starts: HashSet::new(),
        };
        for (at, (one, other)) in froms.iter().zip(tos.iter()).enumerate() {
            match from.is_null(at) {
                true => allowed.starts.insert(other.data().into()),
                false => allowed
                    .pairs
                    .insert((one.data().into(), other.data().into())),
            };
        }
        Ok(Self {
            allowed: Some(allowed),
            ..Self::new(codec)
        })
    }
}

impl Allowed {
    fn allows(&self, before: Option<ShortRow>, now: ShortRow) -> bool {
        match before {
            Some(before) => self.pairs.contains(&(before, now)),
            None => self.starts.is_empty() || self.starts.contains(&now),
        }
    }
}

impl Memory for Last {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        let rows = self.codec.encode(asked.values)?;
        for (row, key) in asked.rows() {
            let now = ShortRow::from(rows.row(row).data());
            let before = self.held.set(key, now.clone());
            if !allowed.allows(before, now) {
                broken.set_bit(row, true);
            }
        }
        Ok(())
    }

    fn last(&mut self, asked: &Asked<'_>) -> Result<Option<Vec<ArrayRef>>> {
        if self.allowed.is_some() {
            return Ok(None);
        }
        let rows = self.codec.encode(asked.values)?;
        let nulls = self.codec.types().iter().map(|t| new_null_array(t, 1));
        let none = self.codec.encode(&nulls.collect::<Vec<_>>())?;
        let none = none
            .iter()
            .next()
            .map_or_else(|| ShortRow::from(&[][..]), |row| row.data().into());
        let mut before = vec![none; asked.keys.len()];
        for (row, key) in asked.rows() {
            let last = self.held.set(key, rows.row(row).data().into());
            if let (Some(last), Some(place)) = (last, before.get_mut(row)) {
                *place = last;
            }
        }
        Ok(Some(self.codec.decode(before.iter().map(|row| &**row))?))
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

/// What a checkpoint needs of the last rows.
pub(super) fn save(held: &mut Store<ShortRow>, codec: &Arc<RowCodec>, all: bool) -> Saved {
    let (gone, kept) = held.take(all);
    let (keys, rows) = kept.into_iter().unzip();
    Saved {
        gone,
        keys,
        values: Values::Rows(Arc::clone(codec), rows),
    }
}

/// Takes the last rows back.
pub(super) fn restore(
    held: &mut Store<ShortRow>,
    codec: &RowCodec,
    keys: &[u128],
    columns: &[ArrayRef],
) -> Result<()> {
    let rows = codec.encode(columns)?;
    if rows.num_rows() != keys.len() {
        return Err(Error::internal("a rule's state lacks its rows"));
    }
    for (key, row) in keys.iter().zip(rows.iter()) {
        held.set(*key, row.data().into());
    }
    held.restored();
    Ok(())
}
