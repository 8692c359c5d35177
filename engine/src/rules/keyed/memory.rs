//! What a rule remembers, whatever its kind: it is asked about rows, and goes to checkpoints and back.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, Float64Array, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};

use super::ask::Ask;
use super::fingerprint::{WIDTH, column};
use super::last::Last;
use super::ordered::Ordered;
use super::outliers::Outliers;
use super::refers::Read;
use super::seen::{Firsts, Seen};
use super::spans::Spans;
use super::within::Within;
use crate::error::{Error, Result};
use crate::updating::RowCodec;
use crate::updating::short_row::ShortRow;

/// Rows that a rule is asked about.
pub(super) struct Asked<'a> {
    /// The number of each row's key.
    pub(super) keys: &'a [u128],
    /// The values of each row's key.
    pub(super) key: &'a [ArrayRef],
    /// The rows for which there is an answer.
    pub(super) known: &'a BooleanBuffer,
    /// The values of [`Ask::values`].
    pub(super) values: &'a [ArrayRef],
}

impl Asked<'_> {
    /// The values at a place.
    pub(super) fn value(&self, at: usize) -> Result<&ArrayRef> {
        self.values
            .get(at)
            .ok_or_else(|| Error::internal("a rule lacks a value"))
    }

    /// The rows with their keys, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, u128)> {
        let key = |row: usize| Some((row, *self.keys.get(row)?));
        self.known.set_indices().filter_map(key)
    }
}

/// What one rule remembers.
pub(super) trait Memory: fmt::Debug + Send {
    /// Asks about rows, in order; sets those that break the rule.
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()>;

    /// The rows of the last [`Self::ask`] for which there was no answer after all.
    fn unanswered(&mut self) -> Option<BooleanBuffer> {
        None
    }

    /// For rules whose expression is computed over the last row too: its columns.
    fn last(&mut self, _asked: &Asked<'_>) -> Result<Option<Vec<ArrayRef>>> {
        Ok(None)
    }

    /// Forgets what no row at or after a watermark can meet.
    fn forget(&mut self, _watermark: i64) {}

    /// Bytes in memory.
    fn bytes(&self) -> usize;

    /// What a checkpoint needs: all, or what has changed since the one before.
    fn save(&mut self, all: bool) -> Saved;

    /// Takes back keys of which nothing is remembered any more, or something else.
    fn lose(&mut self, keys: &[u128]);

    /// Takes back what is remembered of keys.
    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()>;
}

/// Makes the memory of a rule over rows of a schema.
pub(super) fn memory(ask: &Ask, schema: &Schema) -> Result<Box<dyn Memory>> {
    Ok(match ask {
        Ask::Unique => Box::new(Seen::default()),
        Ask::UniqueLast(_) => return Err(Error::internal("rows that wait are no memory")),
        Ask::UniqueWithin { micros, .. } => Box::new(Within::new(*micros)),
        Ask::Determines(_) => Box::new(Firsts::default()),
        Ask::Transition { state, pairs } => Box::new(Last::transition(
            codec(ask, schema)?,
            &state.data_type(schema)?,
            pairs,
        )?),
        Ask::Ordered { strictly, .. } => Box::new(Ordered::new(codec(ask, schema)?, *strictly)),
        Ask::Sequential(_) => Box::new(Ordered::sequence(codec(ask, schema)?)),
        Ask::Apart { .. } => Box::new(Spans::new(codec(ask, schema)?)),
        Ask::Outliers { last, far, .. } => Box::new(Outliers::new(*last, *far)),
        Ask::Refers(refers) => Box::new(Read::of(&refers.reference)),
        Ask::Last(_) => Box::new(Last::new(codec(ask, schema)?)),
    })
}

/// Encodes the values of a rule, so that they compare as their bytes do.
fn codec(ask: &Ask, schema: &Schema) -> Result<Arc<RowCodec>> {
    let (descending, nulls_first) = match ask {
        Ask::Ordered { descending, .. } => (*descending, true),
        // What has no end ends after all others.
        _ => (false, !matches!(ask, Ask::Apart { .. })),
    };
    let options = arrow::compute::SortOptions {
        descending,
        nulls_first,
    };
    let types = match (ask, ask.values().as_slice()) {
        // Both ends are of one type and compare with each other.
        (Ask::Apart { .. }, [from, _]) => vec![from.data_type(schema)?],
        (_, values) => values
            .iter()
            .map(|value| value.data_type(schema))
            .collect::<std::result::Result<_, _>>()?,
    };
    let columns = types.into_iter().map(|data_type| (data_type, options));
    Ok(Arc::new(RowCodec::try_new(columns)?))
}

/// What a checkpoint has of one rule.
#[derive(Debug)]
pub(super) struct Saved {
    /// Keys of which only what follows holds.
    pub(super) gone: Vec<u128>,
    /// Keys, some of them several times.
    pub(super) keys: Vec<u128>,
    /// What is remembered of each.
    pub(super) values: Values,
}

/// What is remembered of keys.
#[derive(Debug)]
pub(super) enum Values {
    /// That they were there.
    None,
    /// The number of the values that they determine.
    Numbers(Vec<u128>),
    /// Times.
    Times(Vec<i64>),
    /// Values of the last rows, in their order.
    Doubles(Vec<f64>),
    /// Values of the last row.
    Rows(Arc<RowCodec>, Vec<ShortRow>),
    /// Two of them.
    Spans(Arc<RowCodec>, Vec<(ShortRow, ShortRow)>),
}

impl Values {
    /// The columns of some keys.
    pub(super) fn columns(&self, from: usize, count: usize) -> Result<Vec<ArrayRef>> {
        Ok(match self {
            Self::None => Vec::new(),
            Self::Numbers(numbers) => {
                let some = numbers.iter().skip(from).take(count).copied();
                vec![Arc::new(column(some)?)]
            }
            Self::Times(times) => {
                let some = times.iter().skip(from).take(count).copied();
                vec![Arc::new(Int64Array::from_iter_values(some))]
            }
            Self::Doubles(values) => {
                let some = values.iter().skip(from).take(count).copied();
                vec![Arc::new(Float64Array::from_iter_values(some))]
            }
            Self::Rows(codec, rows) => {
                let some = rows.iter().skip(from).take(count);
                codec.decode(some.map(|row| &**row))?
            }
            Self::Spans(codec, spans) => {
                let some = || spans.iter().skip(from).take(count);
                let mut columns = codec.decode(some().map(|(begin, _)| &**begin))?;
                columns.extend(codec.decode(some().map(|(_, end)| &**end))?);
                columns
            }
        })
    }

    /// The types of the columns.
    pub(super) fn types(&self) -> Vec<DataType> {
        match self {
            Self::None => Vec::new(),
            Self::Numbers(_) => vec![DataType::FixedSizeBinary(WIDTH)],
            Self::Times(_) => vec![DataType::Int64],
            Self::Doubles(_) => vec![DataType::Float64],
            Self::Rows(codec, _) => codec.types().to_vec(),
            Self::Spans(codec, _) => [codec.types(), codec.types()].concat(),
        }
    }
}
