//! Decodes messages many at once. A block that fails as a whole is taken apart by halves, so that
//! exactly the bad messages are rejected; the next messages are then decoded in smaller parts, so
//! that a bad one costs no more than a few neighbours.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::deviation::OnChange;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::{Result, limits};

use super::messages::Messages;
use super::{Decoded, Decoder, Push, Record, Rejected, SchemaId};
use crate::rescue::{self, Rest, Rests};

/// The rows of some messages.
#[derive(Debug)]
pub(super) struct Rows {
    /// The asked columns.
    pub(super) batch: RecordBatch,
    /// For each row the position of its message, ascending; a message may have several rows, or
    /// none if it says nothing. `None` when each message is one row.
    pub(super) positions: Option<Vec<usize>>,
    /// Rows with a value that does not fit its column, and what is said of it.
    pub(super) misfits: Vec<(usize, String)>,
    /// The positions of messages that are no rows since they cannot be decoded; only with
    /// `positions`.
    pub(super) failed: Vec<(usize, Trouble)>,
}

/// Why a block cannot be decoded.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The decoder's own words.
    Arrow(ArrowError),
    /// The reason and the words for a dead letter.
    Said(&'static str, String),
}

impl From<ArrowError> for Trouble {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Said("value", error.message().to_owned())
    }
}

/// What the start of a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opened {
    /// It can be decoded.
    Ready,
    /// It can be decoded with the header of a registry's schema 0 before it, which it lacks.
    Framed,
    /// Its schema must be learned first.
    NeedsSchema(SchemaId),
    /// It is wrong: the reason and the words for a dead letter.
    Bad(&'static str, String),
}

/// Decodes blocks of messages: the part of a decoder that differs between formats.
#[async_trait]
pub(super) trait DecodeBlock: Debug + Send {
    /// The columns that come out.
    fn schema(&self) -> &SchemaRef;

    /// Whether [`DecodeBlock::open`] says `Ready` to all messages.
    fn takes_all(&self) -> bool {
        false
    }

    /// Looks at a message before it is taken.
    fn open(&mut self, _value: &[u8]) -> Opened {
        Opened::Ready
    }

    /// Looks up a schema.
    async fn learn(&mut self, _schema: SchemaId) -> Result<()> {
        Ok(())
    }

    /// Decodes the messages at some positions; fails as a whole if one cannot be decoded.
    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble>;

    /// The value as the broker gave it, of a message as it was taken.
    fn raw<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message
    }

    /// Takes a message apart that cannot be decoded: a row of the columns that can, and the rest.
    fn salvage(&mut self, _message: &[u8]) -> Result<Option<(RecordBatch, Rest)>, Trouble> {
        Ok(None)
    }

    /// Says what is wrong with one message: the reason, and words for people.
    fn explain(&self, message: &[u8], error: &ArrowError) -> (&'static str, String);
}

/// A decoder of blocks.
#[derive(Debug)]
pub(super) struct BlockDecoder<D> {
    format: D,
    messages: Messages,
    rejected: Vec<Rejected>,
    skipped: u64,
    /// How many messages are decoded at once.
    part_rows: usize,
    rescue: Rescue,
    /// Messages that were taken apart in the block under way, by their positions.
    salvaged: BTreeMap<usize, (RecordBatch, Rest)>,
}

/// What is rescued of messages.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// Messages that cannot be decoded are rows of what can be.
    pub(super) records: bool,
    /// What becomes of the keys of objects that are no columns, and those that are.
    pub(super) unknown: Option<(OnChange, Vec<String>)>,
    /// The name of the rescue column, and the columns that are asked for, of the format's and that one
    /// behind them.
    pub(super) column: Option<(String, Vec<usize>)>,
}

/// The fewest messages that are decoded at once when some of the last were bad.
const PART_ROWS_MIN: usize = 16;

/// How many messages are decoded at once after some of which so many made their part fail. A part
/// has a price of its own, as of a dozen messages, and one that fails is decoded some three times:
/// the cheapest size is twice the root of the distance between failures.
fn part_rows(known: usize, rows: usize, failed: usize) -> usize {
    match rows.checked_div(failed) {
        Some(distance) => (2 * distance.isqrt()).max(PART_ROWS_MIN),
        None => known.saturating_mul(2),
    }
}

impl<D: DecodeBlock> BlockDecoder<D> {
    pub(super) fn new(format: D) -> Self {
        Self {
            format,
            messages: Messages::default(),
            rejected: Vec::new(),
            skipped: 0,
            part_rows: usize::MAX,
            rescue: Rescue::default(),
            salvaged: BTreeMap::new(),
        }
    }

    /// The same decoder with what is to be rescued.
    pub(super) fn with_rescue(self, rescue: Rescue) -> Self {
        Self { rescue, ..self }
    }

    fn reject(&mut self, index: u32, reason: &'static str, detail: String, value: &[u8]) {
        self.rejected.push(rejected(index, reason, detail, value));
    }

    fn reject_at(&mut self, position: usize, trouble: Trouble) {
        let value = self.messages.get(position).to_vec();
        if self.rescue.records
            && let Ok(Some(salvaged)) = self.format.salvage(&value)
        {
            self.salvaged.insert(position, salvaged);
            return;
        }
        let (reason, detail) = match trouble {
            Trouble::Said(reason, detail) => (reason, detail),
            Trouble::Arrow(error) => self.format.explain(&value, &error),
        };
        let raw = self.format.raw(&value);
        let letter = rejected(self.messages.index(position), reason, detail, raw);
        self.rejected.push(letter);
    }

    /// Decodes all messages, bad ones left out; gives the rows and the positions of their messages.
    fn decode(&mut self) -> Result<(RecordBatch, Vec<usize>)> {
        let mut good: Vec<RecordBatch> = Vec::new();
        let mut positions: Vec<usize> = Vec::new();
        let rows = self.messages.len();
        let starts = (0..rows).step_by(self.part_rows);
        let parts = starts.map(|start| start..rows.min(start.saturating_add(self.part_rows)));
        let mut parts: Vec<Range<usize>> = parts.collect();
        parts.reverse();
        let mut failed = 0;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.format.decode(&self.messages, part.clone()) {
                Ok(rows) => {
                    let (batch, found) = self.keep_fitting(rows, part)?;
                    good.push(batch);
                    positions.extend(found);
                }
                Err(trouble) if part.len() == 1 => {
                    failed += 1;
                    self.reject_at(part.start, trouble);
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
            }
        }
        self.part_rows = part_rows(self.part_rows, rows, failed);
        let mut rests = BTreeMap::new();
        for (position, (row, rest)) in std::mem::take(&mut self.salvaged) {
            positions.push(position);
            good.push(row);
            rests.insert(position, rest);
        }
        let mut batch = match good.as_slice() {
            [] => RecordBatch::new_empty(Arc::clone(self.format.schema())),
            [batch] => batch.clone(),
            [first, ..] => concat_batches(&first.schema(), &good)?,
        };
        if !rests.is_empty() {
            // Back to where they came among the others.
            let mut order: Vec<u32> =
                (0..u32::try_from(positions.len()).unwrap_or(u32::MAX)).collect();
            order.sort_by_key(|row| positions.get(*row as usize).copied());
            batch = take_record_batch(&batch, &UInt32Array::from(order))?;
            positions.sort_unstable();
        }
        let batch = self.with_rests(batch, &positions, rests)?;
        Ok((batch, positions))
    }

    /// Adds the rescue column, if it is asked for.
    fn with_rests(
        &self,
        batch: RecordBatch,
        positions: &[usize],
        mut left: BTreeMap<usize, Rest>,
    ) -> Result<RecordBatch> {
        let mut rests = Rests::default();
        for (row, position) in positions.iter().enumerate() {
            rests.add(row, left.remove(position).unwrap_or_default());
            let Some((on_change, known)) = &self.rescue.unknown else {
                continue;
            };
            let object = rescue::object(self.messages.get(*position)).unwrap_or_default();
            let unknown = rescue::unknown(object, known);
            match (on_change, unknown.keys().next()) {
                (OnChange::Fail, Some(key)) => {
                    let message = format!("a message has the key \"{key}\", which is no column");
                    return Err(Error::new(Kind::Data, codes::SCHEMA, message)
                        .hint("declare it, or say ON SCHEMA CHANGE RESCUE or IGNORE"));
                }
                _ => rests.add(row, unknown),
            }
        }
        let Some((name, asked)) = &self.rescue.column else {
            return Ok(batch);
        };
        let mut fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        let mut columns = batch.columns().to_vec();
        columns.push(rests.column(batch.num_rows(), &DataType::Utf8)?);
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new(schema, columns)?.project(asked)?)
    }

    /// Rejects the messages of rows that do not fit, with all their rows.
    fn keep_fitting(
        &mut self,
        rows: Rows,
        part: Range<usize>,
    ) -> Result<(RecordBatch, Vec<usize>)> {
        let positions = match rows.positions {
            Some(positions) => {
                let mut spoken = positions.clone();
                spoken.dedup();
                let said = spoken.len() + rows.failed.len();
                self.skipped += part.len().saturating_sub(said) as u64;
                positions
            }
            None => part.clone().collect(),
        };
        for (position, trouble) in rows.failed {
            self.reject_at(position, trouble);
        }
        if rows.misfits.is_empty() {
            return Ok((rows.batch, positions));
        }
        let mut bad = vec![false; part.len()];
        for (row, detail) in rows.misfits {
            let position = positions.get(row).copied().unwrap_or(part.start);
            let Some(known) = bad.get_mut(position.saturating_sub(part.start)) else {
                continue;
            };
            // A message with several bad values is one dead letter, for the first of them.
            if !std::mem::replace(known, true) {
                self.reject_at(position, Trouble::Said("value", detail));
            }
        }
        let fits = |position: &usize| {
            let known = bad.get(position.saturating_sub(part.start));
            !known.copied().unwrap_or_default()
        };
        let keep: Vec<bool> = positions.iter().map(fits).collect();
        let batch = filter_record_batch(&rows.batch, &BooleanArray::from(keep))?;
        Ok((batch, positions.into_iter().filter(fits).collect()))
    }
}

/// A rejected message, cut to what a dead letter keeps.
pub(super) fn rejected(index: u32, reason: &'static str, detail: String, value: &[u8]) -> Rejected {
    let end = value.len().min(limits::DEAD_LETTER_RAW_BYTES_MAX);
    Rejected {
        index,
        reason,
        detail,
        raw: value.get(..end).unwrap_or_default().to_vec(),
    }
}

#[async_trait]
impl<D: DecodeBlock> Decoder for BlockDecoder<D> {
    fn push(&mut self, record: Record<'_>, index: u32) -> Result<Push> {
        let Some(value) = record.value else {
            self.skipped += 1;
            return Ok(Push::Taken);
        };
        if value.len() > limits::RECORD_BYTES_MAX {
            let detail = format!(
                "the message is longer than {} bytes",
                limits::RECORD_BYTES_MAX
            );
            self.reject(index, "decode", detail, value);
            return Ok(Push::Taken);
        }
        match self.format.open(value) {
            Opened::Ready => self.messages.push(value, index),
            Opened::Framed => self.messages.push_parts(&[&[0; 5], value], index),
            Opened::NeedsSchema(schema) => return Ok(Push::NeedsSchema(schema)),
            Opened::Bad(reason, detail) => self.reject(index, reason, detail, value),
        }
        Ok(Push::Taken)
    }

    fn take(&mut self, values: &mut Messages, count: usize) -> bool {
        let can = self.format.takes_all()
            && self.messages.len() == 0
            && values.longest() <= limits::RECORD_BYTES_MAX;
        if can {
            self.skipped += count.saturating_sub(values.len()) as u64;
            std::mem::swap(&mut self.messages, values);
        }
        can
    }

    async fn learn(&mut self, schema: SchemaId) -> Result<()> {
        self.format.learn(schema).await
    }

    fn rows(&self) -> usize {
        self.messages.len()
    }

    fn bytes(&self) -> usize {
        self.messages.bytes()
    }

    fn flush(&mut self) -> Result<Decoded> {
        let (batch, positions) = self.decode()?;
        let origin = positions
            .into_iter()
            .map(|position| self.messages.index(position))
            .collect();
        self.messages.clear();
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_by_key(|message| message.index);
        Ok(Decoded {
            batch,
            origin,
            rejected,
            skipped: std::mem::take(&mut self.skipped),
        })
    }
}
