//! Rows that wait for a part of the state that is on disk, with the time at which each came.
//!
//! They are kept in the order of arrival of each input. A piece that is written knows after which
//! of its rows the watermark or the clock went on, so that the rows are seen as they were when they
//! came.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::file::{Disk, Frame};
use crate::error::{Error, Result};

/// The key of the input and the marks in the metadata of a piece.
const MARKS: &str = "weir.spill.marks";

/// When rows came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The watermark; that of the first row where watermarks mean nothing to the state.
    pub(super) watermark: i64,
    /// The clock, as the last tick had it.
    pub(super) now: i64,
}

/// Rows that came at one moment.
#[derive(Debug)]
struct Waiting {
    input: usize,
    rows: RecordBatch,
    at: Moment,
}

/// The rows that wait for one part of the state.
#[derive(Debug, Default)]
pub(super) struct Pending {
    buffer: Vec<Waiting>,
    /// Bytes of the buffer.
    pub(super) buffered: usize,
    frames: Vec<Frame>,
    /// Bytes of the frames.
    bytes: u64,
    /// The number of the first frame among all that there were.
    first: u64,
    /// How many of the frames are in a snapshot.
    saved: usize,
}

impl Pending {
    /// Adds rows, which take `bytes` of memory.
    pub(super) fn push(&mut self, input: usize, rows: RecordBatch, bytes: usize, at: Moment) {
        self.buffered += bytes;
        self.buffer.push(Waiting { input, rows, at });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.frames.is_empty()
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.buffered as u64
    }

    /// Puts the rows in memory on disk, those of each input together.
    pub(super) fn flush(&mut self, disk: &mut Disk) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.buffered = 0;
        while let Some(first) = buffer.first() {
            let (input, schema) = (first.input, first.rows.schema());
            let (own, others): (Vec<_>, Vec<_>) =
                buffer.into_iter().partition(|w| w.input == input);
            buffer = others;
            let rows = concat_batches(&schema, own.iter().map(|waiting| &waiting.rows))?;
            let mut marks: Vec<(usize, Moment)> = Vec::new();
            for waiting in &own {
                match marks.last_mut() {
                    Some((rows, at)) if *at == waiting.at => *rows += waiting.rows.num_rows(),
                    _ => marks.push((waiting.rows.num_rows(), waiting.at)),
                }
            }
            self.add(disk.write(&marked(&rows, input, &marks)?)?);
        }
        Ok(())
    }

    /// Adds a piece that is on disk.
    pub(super) fn add(&mut self, frame: Frame) {
        self.bytes += frame.bytes;
        self.frames.push(frame);
    }

    /// Takes all that is on disk.
    pub(super) fn take(&mut self) -> Vec<Frame> {
        let frames = std::mem::take(&mut self.frames);
        self.first += frames.len() as u64;
        (self.bytes, self.saved) = (0, 0);
        frames
    }

    /// The number of the first piece that waits.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The pieces that no snapshot has, or all, with the number of the first; now one has them.
    pub(super) fn save(&mut self, all: bool) -> (u64, Vec<Frame>) {
        let from = if all { 0 } else { self.saved };
        self.saved = self.frames.len();
        let frames = self.frames.get(from..).unwrap_or_default().to_vec();
        (self.first + from as u64, frames)
    }
}

/// Puts rows of several moments into one piece; `None` when there are none.
pub(super) fn piece(
    rows: &[RecordBatch],
    input: usize,
    marks: &[(usize, Moment)],
) -> Result<Option<RecordBatch>> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let rows = concat_batches(first.schema_ref(), rows)?;
    (rows.num_rows() > 0)
        .then(|| marked(&rows, input, marks))
        .transpose()
}

fn marked(rows: &RecordBatch, input: usize, marks: &[(usize, Moment)]) -> Result<RecordBatch> {
    let marks = marks.iter();
    let marks = marks.map(|(rows, at)| format!("{rows}:{}:{}", at.watermark, at.now));
    let text = format!("{input};{}", marks.collect::<Vec<_>>().join(","));
    with_metadata(rows, &[(MARKS, Some(text))])
}

/// Rows that came at one moment, for an input.
pub(super) type Arrived = (Moment, RecordBatch);

/// Takes a piece apart: the input, and the rows of each moment.
pub(super) fn arrivals(piece: &RecordBatch) -> Result<(usize, Vec<Arrived>)> {
    let text = piece.schema_ref().metadata().get(MARKS);
    let (input, marks) = text
        .and_then(|text| text.split_once(';'))
        .ok_or_else(misread)?;
    let input: usize = input.parse().map_err(|_| misread())?;
    let rows = with_metadata(piece, &[(MARKS, None)])?;
    let (mut arrived, mut start) = (Vec::new(), 0);
    for mark in marks.split(',') {
        let mut numbers = mark.split(':').map(str::parse::<i64>);
        let mut next = || numbers.next().and_then(|n| n.ok()).ok_or_else(misread);
        let (count, watermark, now) = (next()?, next()?, next()?);
        let count = usize::try_from(count).map_err(|_| misread())?;
        if start + count > rows.num_rows() {
            return Err(misread());
        }
        arrived.push((Moment { watermark, now }, rows.slice(start, count)));
        start += count;
    }
    Ok((input, arrived))
}

/// Sets entries in the metadata of a batch, or takes them out.
pub(super) fn with_metadata(
    batch: &RecordBatch,
    entries: &[(&str, Option<String>)],
) -> Result<RecordBatch> {
    let mut metadata = batch.schema_ref().metadata().clone();
    for (key, value) in entries {
        match value {
            Some(value) => metadata.insert((*key).to_owned(), value.clone()),
            None => metadata.remove(*key),
        };
    }
    let fields = batch.schema_ref().fields().clone();
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, metadata));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

fn misread() -> Error {
    super::saved::unreadable("rows that wait do not say when they came".to_owned())
}
