//! Writes state files piece by piece: never more than one piece and one batch are in memory, and
//! no batch of the file is larger than [`limits::STATE_BATCH_BYTES_MAX`], whatever an operator gives.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use twox_hash::XxHash3_64;

use super::{BEGINS, Counts, END, GOES_ON, Pieces, Summary, head};
use crate::error::Result;
use crate::limits;
use crate::operator::StateBatches;

/// Encodes batches into the bytes of a state file.
pub struct Encoder {
    batches: StateBatches,
    /// What is left of a batch that is cut, and the rows of a cut.
    cut: Option<(RecordBatch, usize)>,
    stream: Option<(SchemaRef, StreamEncoder)>,
    out: Writer,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("out", &self.out).finish()
    }
}

impl Encoder {
    /// Takes what is to be encoded.
    pub fn new(batches: StateBatches) -> Self {
        Self {
            batches,
            cut: None,
            stream: None,
            out: Writer::default(),
        }
    }

    /// Gives the next rows, a batch or a cut of a large one.
    fn next_rows(&mut self) -> Result<Option<RecordBatch>> {
        if self.cut.is_none() {
            let Some(batch) = self.batches.next() else {
                return Ok(None);
            };
            let batch = batch?;
            let rows = rows_of_cut(&batch);
            if rows >= batch.num_rows() {
                return Ok(Some(batch));
            }
            self.cut = Some((batch, rows));
        }
        let Some((batch, rows)) = self.cut.take() else {
            return Ok(None);
        };
        let rows = rows.min(batch.num_rows());
        let left = batch.num_rows() - rows;
        if left > 0 {
            self.cut = Some((batch.slice(rows, left), rows));
        }
        Ok(Some(batch.slice(0, rows)))
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let same = self
            .stream
            .as_ref()
            .is_some_and(|(schema, _)| *schema == batch.schema());
        let mut kind = GOES_ON;
        if !same {
            self.end_stream()?;
            let options =
                IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
            let encoder = StreamEncoder::try_new_with_options(batch.schema_ref(), options)?;
            self.stream = Some((batch.schema(), encoder));
            kind = BEGINS;
        }
        if let Some((_, encoder)) = &mut self.stream {
            let buffers = encoder.encode(&compact(batch)?)?;
            self.out.frame(kind, batch.num_rows(), &buffers);
        }
        Ok(())
    }

    fn end_stream(&mut self) -> Result<()> {
        if let Some((_, encoder)) = self.stream.take() {
            self.out.frame(GOES_ON, 0, &encoder.finish()?);
        }
        Ok(())
    }
}

impl Pieces for Encoder {
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>> {
        while self.out.pending.len() < bytes && !self.out.is_finished() {
            match self.next_rows()? {
                Some(batch) => self.push(&batch)?,
                None => {
                    self.end_stream()?;
                    if !self.out.finish() {
                        break;
                    }
                }
            }
        }
        Ok(self.out.take(bytes))
    }

    fn summary(&self) -> Option<Summary> {
        self.out.summary()
    }
}

/// Gives how many rows of a batch are within the bound, if they are of one size; one at least.
fn rows_of_cut(batch: &RecordBatch) -> usize {
    let bytes: usize = batch.columns().iter().map(bytes_of).sum();
    let cuts = bytes.div_ceil(limits::STATE_BATCH_BYTES_MAX).max(1);
    batch.num_rows().div_ceil(cuts).max(1)
}

fn bytes_of(column: &ArrayRef) -> usize {
    let data = column.to_data();
    let own = data.get_slice_memory_size();
    let own = own.unwrap_or_else(|_| column.get_array_memory_size());
    // The text that views show is not theirs.
    let shown = match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
        _ => 0,
    };
    own + shown
}

/// Copies views whose buffers are mostly not theirs: a slice of a large batch would otherwise
/// write the whole batch's text.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => {
                let view = column.as_string_view();
                let held: usize = view.data_buffers().iter().map(Buffer::len).sum();
                if held > view.total_buffer_bytes_used() * 2 {
                    return Arc::new(view.gc());
                }
            }
            DataType::BinaryView => {
                let view = column.as_binary_view();
                let held: usize = view.data_buffers().iter().map(Buffer::len).sum();
                if held > view.total_buffer_bytes_used() * 2 {
                    return Arc::new(view.gc());
                }
            }
            _ => {}
        }
        Arc::clone(column)
    });
    let options =
        arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns.collect(),
        &options,
    )?)
}

/// The bytes of a file as they grow.
#[derive(Default)]
pub(super) struct Writer {
    pending: BytesMut,
    hasher: Option<XxHash3_64>,
    counts: Option<Counts>,
    bytes: u64,
    summary: Option<Summary>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("counts", &self.counts)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Adds a frame.
    fn frame(&mut self, kind: u8, rows: usize, buffers: &[Buffer]) {
        let length: usize = buffers.iter().map(Buffer::len).sum();
        self.count(rows as u64, 1);
        self.put(&[kind]);
        self.put(&(length as u64).to_le_bytes());
        for buffer in buffers {
            self.put(buffer.as_slice());
        }
    }

    /// Counts rows and frames; the first call begins the file.
    pub(super) fn count(&mut self, rows: u64, frames: u64) {
        if self.counts.is_none() {
            self.put(&head());
        }
        let counts = self.counts.get_or_insert(Counts { rows: 0, frames: 0 });
        counts.rows = counts.rows.saturating_add(rows);
        counts.frames = counts.frames.saturating_add(frames);
    }

    /// Adds bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.hasher
            .get_or_insert_with(|| XxHash3_64::with_seed(0))
            .write(bytes);
        self.bytes += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
    }

    /// Adds the foot; gives whether there is a file at all.
    pub(super) fn finish(&mut self) -> bool {
        let Some(counts) = self.counts else {
            return false;
        };
        self.put(&counts.rows.to_le_bytes());
        self.put(&counts.frames.to_le_bytes());
        let checksum = self.hasher.as_ref().map_or(0, XxHash3_64::finish);
        self.pending.extend_from_slice(&checksum.to_le_bytes());
        self.pending.extend_from_slice(END);
        self.bytes += 16;
        self.summary = Some(Summary {
            bytes: self.bytes,
            rows: counts.rows,
            checksum,
        });
        true
    }

    /// Takes so many of the bytes that are not taken yet, or what is there.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Bytes> {
        let at = self.pending.len().min(bytes);
        (at > 0).then(|| self.pending.split_to(at).freeze())
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.summary.is_some()
    }

    /// What was written, once all of it is taken.
    pub(super) fn summary(&self) -> Option<Summary> {
        self.summary.filter(|_| self.pending.is_empty())
    }
}
