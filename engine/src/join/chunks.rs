//! Rows of one schema as a list of batches, numbered through from 0. Small batches are put together
//! as more come, so that a column is gathered from few places.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, interleave, take, take_record_batch};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// Rows up to which batches are put together.
const MERGED_ROWS_MAX: usize = 1 << 14;
/// Bytes up to which batches are put together: offsets of text stay far from their limit.
const MERGED_BYTES_MAX: usize = 16 << 20;
/// A batch that holds this many times the memory of its rows is copied.
const SPARSE_FACTOR: usize = 2;
/// A batch of up to this many bytes is never copied for being sparse.
const SPARSE_BYTES_MIN: usize = 16 << 10;

/// A batch, where it begins, and what it takes.
#[derive(Debug, Clone)]
struct Chunk {
    batch: RecordBatch,
    start: usize,
    bytes: usize,
}

/// The batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    rows: usize,
    bytes: usize,
}

/// Where rows are: their numbers in the only batch, or batch and row of each.
#[derive(Debug)]
pub(super) enum Places {
    /// In the only batch.
    One(UInt32Array),
    /// In several.
    Many(Vec<(usize, usize)>),
}

impl Chunks {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends rows.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if self.rows + batch.num_rows() >= u32::MAX as usize {
            return Err(Error::internal("a join bucket has too many rows"));
        }
        let rows = batch.num_rows();
        let batch = compact(batch)?;
        let bytes = batch.get_array_memory_size();
        self.chunks.push(Chunk {
            batch,
            start: self.rows,
            bytes,
        });
        self.rows += rows;
        self.bytes += bytes;
        self.merge()
    }

    /// Puts the last batches together while the last is not much smaller than the one before: each
    /// row is copied a logarithmic number of times.
    fn merge(&mut self) -> Result<()> {
        while let [.., before, last] = self.chunks.as_slice() {
            let rows = before.batch.num_rows() + last.batch.num_rows();
            let small = rows <= MERGED_ROWS_MAX && before.bytes + last.bytes <= MERGED_BYTES_MAX;
            if !small || last.batch.num_rows() * 2 < before.batch.num_rows() {
                return Ok(());
            }
            let merged = concat_batches(before.batch.schema_ref(), [&before.batch, &last.batch])?;
            let chunk = Chunk {
                start: before.start,
                bytes: merged.get_array_memory_size(),
                batch: merged,
            };
            self.bytes += chunk.bytes;
            self.bytes -= before.bytes + last.bytes;
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// The bytes of the rows from a number on.
    pub(super) fn bytes_from(&self, start: usize) -> usize {
        let chunks = self.chunks.iter();
        let bytes = chunks.map(|chunk| {
            let rows = chunk.batch.num_rows();
            let skip = start.saturating_sub(chunk.start).min(rows);
            chunk.bytes / rows.max(1) * (rows - skip)
        });
        bytes.sum()
    }

    /// The rows from a number on, without a copy.
    pub(super) fn from(&self, start: usize) -> Vec<RecordBatch> {
        let chunks = self.chunks.iter();
        chunks
            .filter_map(|chunk| {
                let skip = start.saturating_sub(chunk.start);
                let rows = chunk.batch.num_rows();
                (skip < rows).then(|| chunk.batch.slice(skip, rows - skip))
            })
            .collect()
    }

    /// Finds rows once for all columns.
    pub(super) fn places(&self, rows: &[u32]) -> Places {
        if self.chunks.len() == 1 {
            return Places::One(UInt32Array::from(rows.to_vec()));
        }
        let place = |row: &u32| {
            let row = *row as usize;
            let chunk = self.chunks.partition_point(|chunk| chunk.start <= row);
            let chunk = chunk.saturating_sub(1);
            let start = self.chunks.get(chunk).map_or(0, |chunk| chunk.start);
            (chunk, row - start)
        };
        Places::Many(rows.iter().map(place).collect())
    }

    /// One column of rows.
    pub(super) fn column(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self
            .chunks
            .iter()
            .filter_map(|chunk| chunk.batch.columns().get(column).map(AsRef::as_ref))
            .collect();
        match (places, arrays.as_slice()) {
            (Places::One(rows), [array]) => Ok(take(*array, rows, None)?),
            (Places::Many(rows), [_, ..]) => Ok(interleave(&arrays, rows)?),
            _ => Err(Error::internal("a join gathers from rows that it has not")),
        }
    }
}

/// Copies rows that hold on to much more memory than they need.
pub(super) fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let held = batch.get_array_memory_size();
    if held <= SPARSE_BYTES_MIN {
        return Ok(batch);
    }
    let needed = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size())
        .sum::<std::result::Result<usize, _>>()?;
    if held <= needed.saturating_mul(SPARSE_FACTOR) {
        return Ok(batch);
    }
    let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
    let all = UInt32Array::from_iter_values(0..rows);
    Ok(take_record_batch(&batch, &all)?)
}
