//! Ranges that have nothing in common: those of each key, as the set of what they cover.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder};

use super::memory::{Asked, Memory, Saved, Values};
use super::store::{Held, Store};
use crate::error::{Error, Result};
use crate::updating::RowCodec;
use crate::updating::short_row::ShortRow;

/// What one range costs in its tree.
const SPAN_BYTES: usize = 64;

/// What the ranges of a key cover, each piece by where it begins. Ranges that touch are one piece.
type Covered = BTreeMap<ShortRow, ShortRow>;

impl Held for Covered {
    fn heap(&self) -> usize {
        // The rows of dates and numbers are short: they are within the tree.
        self.len() * SPAN_BYTES
    }
}

/// The ranges of the rows that held to the rule.
#[derive(Debug)]
pub(super) struct Spans {
    codec: Arc<RowCodec>,
    held: Store<Covered>,
}

impl Spans {
    /// The codec is of one end.
    pub(super) fn new(codec: Arc<RowCodec>) -> Self {
        Self {
            codec,
            held: Store::default(),
        }
    }
}

impl Memory for Spans {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let encode = |at| {
            let column = Arc::clone(asked.value(at)?);
            self.codec.encode(&[column])
        };
        let (froms, tos) = (encode(0)?, encode(1)?);
        for (row, key) in asked.rows() {
            let (from, to) = (froms.row(row), tos.row(row));
            let (from, to) = (from.data(), to.data());
            if from == to {
                // It covers nothing.
                continue;
            }
            let covered = self.held.get(key);
            if from > to || covered.is_some_and(|covered| meets(covered, from, to)) {
                broken.set_bit(row, true);
            } else {
                self.held.change(key, |held| cover(held, from, to));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        let (gone, kept) = self.held.take(all);
        let each = |(key, held): (u128, Covered)| held.into_iter().map(move |span| (key, span));
        let (keys, spans) = kept.into_iter().flat_map(each).unzip();
        Saved {
            gone,
            keys,
            values: Values::Spans(Arc::clone(&self.codec), spans),
        }
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        let [from, to] = columns else {
            return Err(Error::internal("a rule's state lacks its ranges"));
        };
        let encode = |column: &ArrayRef| self.codec.encode(&[Arc::clone(column)]);
        let (froms, tos) = (encode(from)?, encode(to)?);
        for (key, (from, to)) in keys.iter().zip(froms.iter().zip(tos.iter())) {
            self.held
                .change(*key, |held| cover(held, from.data(), to.data()));
        }
        self.held.restored();
        Ok(())
    }
}

/// Whether a range has something in common with what is covered: of the pieces that begin before its
/// end the last one ends last.
fn meets(covered: &Covered, from: &[u8], to: &[u8]) -> bool {
    let mut before = covered.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(to)));
    before.next_back().is_some_and(|(_, end)| **end > *from)
}

/// Covers a range that has nothing in common with what is covered.
fn cover(covered: &mut Covered, from: &[u8], to: &[u8]) {
    let (mut begin, mut end) = (ShortRow::from(from), ShortRow::from(to));
    let up_to = (Bound::Unbounded, Bound::Included(from));
    let before = covered.range::<[u8], _>(up_to).next_back();
    if let Some((before, _)) = before.filter(|(_, end)| ***end == *from) {
        begin = before.clone();
    }
    if let Some(next) = covered.remove(to) {
        end = next;
    }
    covered.insert(begin, end);
}
