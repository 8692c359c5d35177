//! What a join gives: pairs, and rows of one side alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::meet::Results;
use super::pairs::Pairs;
use super::program::{Keyed, Program};
use super::spec::Side;
use super::table::Table;
use crate::error::{Error, Result};
use crate::operator::Output;

/// Pairs as rows.
pub(super) fn pairs(
    program: &Program,
    side: Side,
    probe: &Keyed,
    table: &Table,
    pairs: &Pairs,
) -> Result<RecordBatch> {
    let columns = program
        .output
        .iter()
        .map(|column| pairs.column(*column, side, probe, table));
    batch(program, columns.collect::<Result<_>>()?, pairs.stored.len())
}

/// Rows of a batch, with NULL for the other side.
pub(super) fn alone(
    program: &Program,
    side: Side,
    rows: &RecordBatch,
    indices: &[u32],
) -> Result<RecordBatch> {
    let indices = UInt32Array::from(indices.to_vec());
    padded(program, side, indices.len(), |column| {
        let array = rows.columns().get(column);
        let array = array.ok_or_else(|| Error::internal("a join has no such column"))?;
        Ok(take(array, &indices, None)?)
    })
}

/// Rows of a table, with NULL for the other side.
pub(super) fn stored_alone(
    program: &Program,
    side: Side,
    table: &Table,
    rows: &[u32],
) -> Result<RecordBatch> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(&program.schema)));
    }
    let places = table.rows.places(rows);
    padded(program, side, rows.len(), |column| {
        table.rows.column(column, &places)
    })
}

/// Sends the rows of a batch that have no match.
pub(super) fn send_unmatched(
    program: &Program,
    side: Side,
    rows: &Keyed,
    matches: &[u32],
    results: &mut Results<'_>,
) -> Result<()> {
    for numbers in unmatched(matches).chunks(results.collector.rows_max) {
        let alone = alone(program, side, &rows.batch, numbers)?;
        results.collector.push(alone, results.out)?;
    }
    Ok(())
}

/// The numbers of the rows that have no match.
pub(super) fn unmatched(matches: &[u32]) -> Vec<u32> {
    let rows = (0_u32..).zip(matches);
    rows.filter(|(_, matches)| **matches == 0)
        .map(|(row, _)| row)
        .collect()
}

fn padded(
    program: &Program,
    side: Side,
    rows: usize,
    column: impl Fn(usize) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let fields = program.schema.fields().iter();
    let columns = program.output.iter().zip(fields).map(|(from, field)| {
        if from.side == side {
            column(from.column)
        } else {
            Ok(new_null_array(field.data_type(), rows))
        }
    });
    batch(program, columns.collect::<Result<_>>()?, rows)
}

fn batch(program: &Program, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::clone(&program.schema);
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// Puts small results of one call together, in order.
#[derive(Debug)]
pub(super) struct Collector {
    schema: SchemaRef,
    pub(super) rows_max: usize,
    small: Vec<RecordBatch>,
    rows: usize,
}

impl Collector {
    pub(super) fn new(schema: SchemaRef, rows_max: usize) -> Self {
        Self {
            schema,
            rows_max: rows_max.max(1),
            small: Vec::new(),
            rows: 0,
        }
    }

    /// Adds rows after those before: no more than [`Self::rows_max`].
    pub(super) fn push(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        if self.rows + batch.num_rows() > self.rows_max {
            self.flush(out)?;
        }
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.small.push(batch);
        }
        Ok(())
    }

    /// Sends what is kept back.
    pub(super) fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.rows = 0;
        match <[RecordBatch; 1]>::try_from(std::mem::take(&mut self.small)) {
            Ok([one]) => out.send(one),
            Err(small) if small.is_empty() => {}
            Err(small) => out.send(concat_batches(&self.schema, &small)?),
        }
        Ok(())
    }
}
