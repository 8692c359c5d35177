//! The newest measures of each segment, where they change as rows come.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{ChecksSpec, Codecs};
use crate::changelog;
use crate::error::Result;
use crate::updating::RowBytes;
use crate::updating::codec::RowMap;

/// Bytes of an entry beside those of its rows.
const ENTRY_BYTES: usize = 96;

#[derive(Debug)]
struct Newest {
    row: RowBytes,
    /// No verdict was given since it changed.
    is_open: bool,
}

/// The newest measures.
#[derive(Debug)]
pub(super) struct Held {
    schema: SchemaRef,
    segments: Vec<usize>,
    codecs: Arc<Codecs>,
    rows: RowMap<Newest>,
    open: Vec<RowBytes>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(spec: &ChecksSpec, codecs: Arc<Codecs>) -> Self {
        Self {
            schema: changelog::rows_schema(&spec.input),
            segments: spec.segments.clone(),
            codecs,
            rows: RowMap::default(),
            open: Vec::new(),
            bytes: 0,
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes rows of measures, or changes of them; `open` when they still need a verdict.
    pub(super) fn take(&mut self, batch: &RecordBatch, open: bool) -> Result<()> {
        let (columns, kinds) = changelog::split(batch);
        let adds = changelog::adds(kinds, batch.num_rows())?;
        let keys = keys(&self.codecs, &self.segments, columns, batch.num_rows())?;
        let rows = self.codecs.rows.encode(columns)?;
        for ((key, row), adds) in keys.into_iter().zip(rows.iter()).zip(adds) {
            let before = self.rows.remove(&key);
            if let Some(before) = &before {
                self.bytes -= before.row.len() + key.len() + ENTRY_BYTES;
            }
            if !adds {
                continue;
            }
            let listed = before.is_some_and(|before| before.is_open);
            if open && !listed {
                self.open.push(Arc::clone(&key));
            }
            let row: RowBytes = row.data().into();
            self.bytes += row.len() + key.len() + ENTRY_BYTES;
            let is_open = open || listed;
            self.rows.insert(key, Newest { row, is_open });
        }
        Ok(())
    }

    /// The measures that have changed since the last call; none if nothing has.
    pub(super) fn changed(&mut self) -> Result<Option<RecordBatch>> {
        let mut changed = Vec::new();
        for key in std::mem::take(&mut self.open) {
            // What was taken back and has come again is listed twice.
            if let Some(newest) = self.rows.get_mut(&key).filter(|newest| newest.is_open) {
                newest.is_open = false;
                changed.push(Arc::clone(&newest.row));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        self.decode(changed.iter().map(AsRef::as_ref)).map(Some)
    }

    /// All measures.
    pub(super) fn all(&self) -> Result<RecordBatch> {
        self.decode(self.rows.values().map(|newest| newest.row.as_ref()))
    }

    fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let columns = self.codecs.rows.decode(rows)?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The segment of each row, as bytes; empty where rows are not divided.
pub(super) fn keys(
    codecs: &Codecs,
    segments: &[usize],
    columns: &[ArrayRef],
    rows: usize,
) -> Result<Vec<RowBytes>> {
    if segments.is_empty() {
        let all: RowBytes = Arc::new([]);
        return Ok(vec![all; rows]);
    }
    let columns = segments.iter().filter_map(|at| columns.get(*at).cloned());
    let encoded = codecs.segments.encode(&columns.collect::<Vec<_>>())?;
    Ok(encoded.iter().map(|row| row.data().into()).collect())
}

/// Rows of measures as one batch, where some of them may be those of no row.
pub(super) fn joined(parts: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
    let Some(first) = parts.first() else {
        return Ok(None);
    };
    let fields = first.schema_ref().fields().iter();
    let fields = fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let parts = parts.iter().map(|part| {
        let columns = part.columns().to_vec();
        RecordBatch::try_new(Arc::clone(&schema), columns)
    });
    let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Some(concat_batches(&schema, &parts)?))
}

/// A row, so many times.
pub(super) fn repeated(row: &RecordBatch, times: usize) -> Result<RecordBatch> {
    Ok(take_record_batch(row, &UInt32Array::from(vec![0; times]))?)
}
