//! The rows that a join keeps as batches: what a checkpoint holds.
//!
//! A snapshot begins with a header (the watermark, and which sides start anew), then come
//! the rows that are new since the last one, by side and bucket, then the new counts of rows that
//! earlier snapshots hold, by their number in their bucket. What a watermark has ended needs no
//! record: the replay drops it when it meets the header.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt8Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::MemoryReservation;

use super::chunks::compact;
use super::program::Program;
use super::shape::Shape;
use super::spec::Side;
use super::spill::Spilled;
use super::timed::Buckets;
use crate::error::{Error, Kind, Result, codes};
use crate::operator::StateBatches;
use crate::spill::Room;

/// The version of the layout below, in the metadata of every batch.
pub(super) const VERSION: (&str, &str) = ("weir.join.state", "1");
/// Which part of the state a batch is, in its metadata.
pub(super) const PART: &str = "weir.join.part";
/// Columns before those of the rows: bucket, time, count of matches.
pub(super) const ROW_COLUMNS: usize = 3;

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Rows(Side),
    Counts,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Rows(Side::Left) => "left",
            Self::Rows(Side::Right) => "right",
            Self::Counts => "counts",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        [
            Self::Header,
            Self::Rows(Side::Left),
            Self::Rows(Side::Right),
            Self::Counts,
        ]
        .into_iter()
        .find(|part| part.name() == name)
    }
}

/// Gives the rows and counts since the last snapshot; everything of the sides that start anew. What
/// is held of rows in memory is taken from `room`, where there is one, until it is written: by then the
/// rows may be on disk.
pub(super) fn snapshot(
    program: &Arc<Shape>,
    buckets: &mut Buckets,
    watermark: i64,
    anew: [bool; 2],
    room: Option<&Room>,
) -> Result<StateBatches> {
    let header = RecordBatch::try_new(
        schema(&program.program, Part::Header),
        vec![
            Arc::new(Int64Array::from(vec![watermark])),
            Arc::new(BooleanArray::from(vec![anew[0]])),
            Arc::new(BooleanArray::from(vec![anew[1]])),
        ],
    )?;
    let mut rows = Vec::new();
    let (mut sides, mut of, mut numbers, mut counts) = (vec![], vec![], vec![], vec![]);
    for side in Side::BOTH {
        let all = *side.get(&anew);
        for (bucket, slot) in side.get_mut(buckets) {
            for segment in &slot.segments {
                let from = if all { 0 } else { segment.saved() };
                if from < segment.rows {
                    let on_disk = Rows::OnDisk(segment.file.clone(), from, segment.matched());
                    rows.push((side, *bucket, on_disk));
                }
            }
            let table = &slot.live;
            let from = if all { 0 } else { table.saved };
            let mut start = from;
            for (batch, matches) in table.part(from) {
                let end = start + batch.num_rows();
                let times = table.times().get(start..end).unwrap_or_default().to_vec();
                let batch = compact(batch)?;
                let loan = room.map(|room| room.lend(batch.get_array_memory_size()));
                let in_memory = Rows::InMemory(batch, times, matches, loan);
                rows.push((side, *bucket, in_memory));
                start = end;
            }
            for (row, count) in slot.save().into_iter().filter(|_| !all) {
                sides.push(side_number(side));
                of.push(*bucket);
                numbers.push(row);
                counts.push(count);
            }
        }
    }
    let mut last = Vec::new();
    if !numbers.is_empty() {
        last.push(RecordBatch::try_new(
            schema(&program.program, Part::Counts),
            vec![
                Arc::new(UInt8Array::from(sides)),
                Arc::new(Int64Array::from(of)),
                Arc::new(UInt32Array::from(numbers)),
                Arc::new(UInt32Array::from(counts)),
            ],
        )?);
    }
    let shape = Arc::clone(program);
    let rows = rows
        .into_iter()
        .flat_map(move |(side, bucket, rows)| rows.encode(&shape, side, bucket));
    Ok(Box::new(
        std::iter::once(Ok(header))
            .chain(rows)
            .chain(last.into_iter().map(Ok)),
    ))
}

/// Rows on their way into a snapshot.
enum Rows {
    /// With their times and counts, and the memory that they take.
    InMemory(RecordBatch, Vec<i64>, Vec<u32>, Option<MemoryReservation>),
    /// The rows of a file from a number on, and which of all have a match.
    OnDisk(Spilled, usize, BooleanBuffer),
}

impl Rows {
    fn encode(self, shape: &Arc<Shape>, side: Side, bucket: i64) -> StateBatches {
        match self {
            Self::InMemory(batch, times, matches, loan) => {
                let batch = encode(&shape.program, side, bucket, &batch, times, matches);
                drop(loan);
                Box::new(std::iter::once(batch))
            }
            Self::OnDisk(file, from, matched) => {
                let shape = Arc::clone(shape);
                let batches = match file.read() {
                    Ok(batches) => batches,
                    Err(error) => return Box::new(std::iter::once(Err(error))),
                };
                let mut start = 0;
                Box::new(batches.filter_map(move |batch| {
                    let batch = match batch {
                        Ok(batch) => batch,
                        Err(error) => return Some(Err(error)),
                    };
                    let end = start + batch.num_rows();
                    let skip = from.saturating_sub(start).min(batch.num_rows());
                    let rows_from = start + skip;
                    let count = |row| u32::from(row < matched.len() && matched.value(row));
                    let counts = (rows_from..end).map(count).collect();
                    start = end;
                    let rows = batch.slice(skip, batch.num_rows() - skip);
                    (rows.num_rows() > 0).then(|| from_disk(&shape, side, bucket, &rows, counts))
                }))
            }
        }
    }
}

fn from_disk(
    shape: &Shape,
    side: Side,
    bucket: i64,
    rows: &RecordBatch,
    counts: Vec<u32>,
) -> Result<RecordBatch> {
    let times = if shape.times {
        shape.program.times(side, rows)?
    } else {
        Vec::new()
    };
    encode(&shape.program, side, bucket, rows, times, counts)
}

fn side_number(side: Side) -> u8 {
    match side {
        Side::Left => 0,
        Side::Right => 1,
    }
}

fn encode(
    program: &Program,
    side: Side,
    bucket: i64,
    batch: &RecordBatch,
    times: Vec<i64>,
    matches: Vec<u32>,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let or = |values: Vec<i64>| {
        if values.is_empty() {
            vec![bucket; rows]
        } else {
            values
        }
    };
    let matches = if matches.is_empty() {
        vec![0; rows]
    } else {
        matches
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![bucket; rows])),
        Arc::new(Int64Array::from(or(times))),
        Arc::new(UInt32Array::from(matches)),
    ];
    columns.extend(program.without_keys(side, batch));
    Ok(RecordBatch::try_new(
        schema(program, Part::Rows(side)),
        columns,
    )?)
}

pub(super) fn schema(program: &Program, part: Part) -> SchemaRef {
    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, false));
    let fields = match part {
        Part::Header => vec![
            field("watermark", DataType::Int64),
            field("left_anew", DataType::Boolean),
            field("right_anew", DataType::Boolean),
        ],
        Part::Counts => vec![
            field("side", DataType::UInt8),
            field("bucket", DataType::Int64),
            field("row", DataType::UInt32),
            field("matches", DataType::UInt32),
        ],
        Part::Rows(side) => [
            field("_bucket", DataType::Int64),
            field("_time", DataType::Int64),
            field("_matches", DataType::UInt32),
        ]
        .into_iter()
        .chain(side.get(&program.rows).fields().iter().map(Arc::clone))
        .collect(),
    };
    let metadata = [
        (VERSION.0.to_owned(), VERSION.1.to_owned()),
        (PART.to_owned(), part.name().to_owned()),
    ];
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// The hashes of the keys of a batch of rows; `None` for any other part of a full snapshot.
pub(super) fn state_hashes(program: &Program, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
    let part = state.schema_ref().metadata().get(PART);
    let Some(Part::Rows(side)) = part.and_then(|name| Part::of(name)) else {
        return Ok(None);
    };
    let columns = state.columns().iter().skip(ROW_COLUMNS).map(Arc::clone);
    let rows = RecordBatch::try_new(Arc::clone(side.get(&program.rows)), columns.collect())?;
    program.hashes(side, &rows).map(Some)
}

pub(super) fn unreadable(detail: String) -> Error {
    Error::new(
        Kind::Data,
        codes::CORRUPT,
        "a join's saved state does not fit it",
    )
    .detail(detail)
    .hint("the query has changed: start the pipeline with a new state, or change it back")
}
