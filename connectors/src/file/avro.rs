//! Reads Avro object container files block by block: whole blocks are decoded together, so that a
//! file that is cut short or damaged gives everything before the damage.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::reader::{Reader, ReaderBuilder};
use async_trait::async_trait;
use bytes::Bytes;
use weir_engine::Result;
use weir_engine::limits;
use weir_engine::source::{Position, Read, SplitReader};

use super::columns::{Columns, Offsets};
use super::input::{Filled, Input};
use super::letters::Letters;
use crate::rescue::Rests;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Bytes of blocks that are decoded together, so that small blocks cost little each.
const GROUP_BYTES: usize = 1 << 20;

/// The start of a file: its schema, codec and sync marker.
#[derive(Debug, Clone)]
pub(super) struct Header {
    bytes: Bytes,
}

impl Header {
    /// Takes the header off the front of a buffer; `None` when more bytes are needed.
    pub(super) fn parse(buffer: &[u8]) -> std::result::Result<Option<Self>, String> {
        let magic = buffer
            .get(..MAGIC.len().min(buffer.len()))
            .unwrap_or_default();
        if !MAGIC.starts_with(magic) {
            return Err("the file does not start as an Avro file does".to_owned());
        }
        let mut at = MAGIC.len();
        loop {
            let Some(count) = long(buffer, &mut at) else {
                return Ok(None);
            };
            if count == 0 {
                break;
            }
            if count < 0 && long(buffer, &mut at).is_none() {
                return Ok(None);
            }
            for _ in 0..count.unsigned_abs().saturating_mul(2) {
                let Some(length) = long(buffer, &mut at) else {
                    return Ok(None);
                };
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > limits::RECORD_BYTES_MAX {
                    return Err("the header of the Avro file is damaged".to_owned());
                }
                at += length;
            }
        }
        let end = at + SYNC_BYTES;
        Ok(buffer.get(..end).map(|bytes| Self {
            bytes: Bytes::copy_from_slice(bytes),
        }))
    }

    /// The file's columns.
    pub(super) fn schema(&self) -> std::result::Result<SchemaRef, ArrowError> {
        Ok(ReaderBuilder::new()
            .build(Cursor::new(self.bytes.clone()))?
            .schema())
    }

    /// Bytes before the first block.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn sync(&self) -> &[u8] {
        self.bytes
            .get(self.bytes.len() - SYNC_BYTES..)
            .unwrap_or_default()
    }
}

/// Avro's variable-length number.
fn long(buffer: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *buffer.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Whole blocks at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// One block of so many bytes.
    Whole(usize),
    /// More bytes are needed.
    Partial,
    /// What follows is no block.
    Damaged,
}

fn block(buffer: &[u8], start: usize, sync: &[u8]) -> Block {
    let mut at = start;
    let (Some(count), Some(size)) = (long(buffer, &mut at), long(buffer, &mut at)) else {
        return Block::Partial;
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if count < 0 || size > limits::RECORD_BYTES_MAX * 4 {
        return Block::Damaged;
    }
    let end = at + size;
    match buffer.get(end..end + SYNC_BYTES) {
        None => Block::Partial,
        Some(found) if found == sync => Block::Whole(end + SYNC_BYTES - start),
        Some(_) => Block::Damaged,
    }
}

/// Reads one Avro file.
pub(super) struct AvroReader {
    /// Where the bytes come from; after the header.
    pub(super) input: Input,
    /// Bytes that are read and not yet decoded.
    pub(super) buffer: Vec<u8>,
    /// The header, put before each group of blocks.
    pub(super) header: Header,
    /// The file's columns to read.
    pub(super) read: Vec<usize>,
    /// How they become the asked ones.
    pub(super) columns: Columns,
    /// Where the rest of a damaged file goes.
    pub(super) letters: Letters,
    /// Rows of a batch.
    pub(super) batch_rows: usize,
    /// Rows that an earlier reader gave already.
    pub(super) skip: u64,
    /// Rows that are decoded, skipped ones included.
    pub(super) done: u64,
    /// The number of the first row of the last batch, if its rows are in sequence.
    pub(super) given: Option<u64>,
    /// The blocks at hand.
    pub(super) reader: Option<Reader<Cursor<Vec<u8>>>>,
    /// How far the input is.
    pub(super) state: State,
}

/// How far an Avro reader is with its input.
#[derive(Debug, Default)]
pub(super) enum State {
    /// There is more to read.
    #[default]
    Open,
    /// All is in the buffer.
    Closed,
    /// The file is damaged behind the blocks at hand.
    Damaged(String),
    /// All is given.
    Done,
}

impl std::fmt::Debug for AvroReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AvroReader")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl AvroReader {
    /// Makes the next group of blocks ready; false at the end.
    async fn advance(&mut self) -> Result<bool> {
        let mut end = 0;
        loop {
            match block(&self.buffer, end, self.header.sync()) {
                Block::Whole(bytes) => {
                    end += bytes;
                    if end < GROUP_BYTES {
                        continue;
                    }
                }
                Block::Partial if matches!(self.state, State::Open) => {
                    match self.input.fill(&mut self.buffer).await? {
                        Filled::Bytes => {}
                        Filled::End => self.state = State::Closed,
                        Filled::Damaged(detail) => self.state = State::Damaged(detail),
                    }
                    continue;
                }
                Block::Partial => {
                    if matches!(self.state, State::Closed) && end < self.buffer.len() {
                        let detail = "the file ends in the middle of a block".to_owned();
                        self.state = State::Damaged(detail);
                    }
                }
                Block::Damaged => {
                    self.state = State::Damaged("a block of the file is damaged".to_owned());
                }
            }
            break;
        }
        if end > 0 {
            self.open(end)?;
            return Ok(true);
        }
        if let State::Damaged(detail) = std::mem::replace(&mut self.state, State::Done) {
            self.letters.corrupt(self.done, &detail, &[])?;
        }
        Ok(false)
    }

    fn open(&mut self, end: usize) -> Result<()> {
        let mut bytes = Vec::with_capacity(self.header.len() + end);
        bytes.extend_from_slice(&self.header.bytes);
        bytes.extend(self.buffer.drain(..end));
        let builder = ReaderBuilder::new()
            .with_batch_size(self.batch_rows)
            .with_projection(self.read.clone());
        match builder.build(Cursor::new(bytes)) {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => self.damaged(&error)?,
        }
        Ok(())
    }

    fn damaged(&mut self, error: &ArrowError) -> Result<()> {
        self.reader = None;
        self.state = State::Done;
        self.letters.corrupt(self.done, &error.to_string(), &[])
    }
}

#[async_trait]
impl SplitReader for AvroReader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            let Some(reader) = &mut self.reader else {
                if matches!(self.state, State::Done) || !self.advance().await? {
                    return Ok(Read::End);
                }
                continue;
            };
            let batch = match reader.next() {
                None => {
                    self.reader = None;
                    continue;
                }
                Some(Err(error)) => {
                    self.damaged(&error)?;
                    continue;
                }
                Some(Ok(batch)) => batch,
            };
            let first = self.done;
            let rows = batch.num_rows();
            self.done += rows as u64;
            let known = usize::try_from(self.skip.saturating_sub(first))
                .unwrap_or(rows)
                .min(rows);
            let (first, rows) = (first + known as u64, rows - known);
            let batch = batch.slice(known, rows);
            let batch = self
                .columns
                .shape(&batch, &Offsets::From(first), Rests::default())?;
            self.given = (batch.num_rows() == rows).then_some(first);
            if batch.num_rows() > 0 {
                return Ok(Read::Rows {
                    batch,
                    bytes: self.input.take_count(),
                });
            }
        }
    }

    fn position(&self) -> Position {
        Position(self.done.max(self.skip).to_string())
    }

    fn offset(&self, row: usize) -> Option<u64> {
        Some(self.given? + row as u64)
    }
}

/// The columns to ask the decoder for: it cannot give rows without any.
pub(super) fn at_least_one(read: &[usize], fields: &Fields) -> Vec<usize> {
    if read.is_empty() && !fields.is_empty() {
        vec![0]
    } else {
        read.to_vec()
    }
}

/// The schema with plain types, for discovery.
pub(super) fn fields(schema: &SchemaRef) -> Fields {
    Arc::clone(schema)
        .fields()
        .iter()
        .map(|field| super::columns::plain_field(field))
        .collect()
}
