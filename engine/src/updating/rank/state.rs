//! The state of a rank as batches: the rows that are kept, each with how often it is there.
//!
//! Partition and order are computed from the rows again when they are restored.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, SchemaRef, UInt64Type};

use super::operator::Rank;
use super::{Program, misfit};
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, StateBatches};
use crate::updating::Format;
use crate::updating::state::unreadable;

const FORMAT: Format = Format {
    name: "weir.updating.rank",
    version: "1",
};
const ROWS: &str = "rows";

/// Gives what changed, or all. The rows are decoded on the thread that takes them.
pub(super) fn snapshot(of: &mut Rank, extent: Extent) -> StateBatches {
    let all = extent == Extent::All || !of.rows.is_tracking();
    let changes = of.rows.take_changes();
    of.rows.track();
    let rows = if all { of.rows.all() } else { changes };
    let rows_max = of.batch_rows;
    let program = Arc::clone(&of.program);
    let chunks = rows.len().div_ceil(rows_max);
    Box::new((0..chunks).map(move |i| {
        let rows = || rows.iter().skip(i * rows_max).take(rows_max);
        let (arrival, rows_of) = program.decode(rows().map(|(row, _)| &**row))?;
        let mut columns: Vec<ArrayRef> = arrival.into_iter().chain(rows_of).collect();
        let counts = rows().map(|(_, count)| *count);
        columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        Ok(RecordBatch::try_new(schema(&program), columns)?)
    }))
}

/// Takes back what the snapshots of one subtask gave, in their order.
pub(super) fn restore(
    into: &mut Rank,
    saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
    groups: &KeyGroups,
) -> Result<()> {
    into.rows.track();
    let program = Arc::clone(&into.program);
    for batch in saved {
        let batch = batch?;
        let part = FORMAT.part(&batch)?;
        if part != ROWS {
            return Err(unreadable(format!("it has an unknown part, \"{part}\"")));
        }
        FORMAT.check(&batch, &schema(&program))?;
        let rows = rows_of(&program, &batch)?;
        let mask = groups.mask(&program.partitions(&rows)?, rows.num_rows())?;
        let batch = filter_record_batch(&batch, &mask)?;
        let rows = rows_of(&program, &batch)?;
        let partition = program.partitions(&rows)?;
        let arrival = program.arrival.then(|| Arc::clone(batch.column(0)));
        if let Some(arrival) = &arrival {
            let places = arrival.as_primitive::<UInt64Type>();
            let next = arrow::compute::max(places).map_or(0, |last| last + 1);
            into.arrived = into.arrived.max(next);
        }
        let columns = program.columns(&rows, &partition, arrival)?;
        let encoded = program.codec.encode(&columns)?;
        let counts = batch.columns().last().ok_or_else(misfit)?;
        let counts = counts.as_primitive::<Int64Type>();
        let slots = into.open(&partition, batch.num_rows())?;
        for ((row, slot), count) in encoded.iter().zip(&slots).zip(counts.values()) {
            into.rows.set(*slot, row.data(), *count);
        }
        for slot in slots {
            into.rows.close_if_empty(slot);
        }
        into.settle()?;
    }
    Ok(())
}

/// The input's columns of a batch of state.
pub(super) fn rows_of(program: &Program, batch: &RecordBatch) -> Result<RecordBatch> {
    let width = program.rows_schema.fields().len();
    let columns = batch.columns().iter().skip(usize::from(program.arrival));
    Ok(RecordBatch::try_new(
        Arc::clone(&program.rows_schema),
        columns.take(width).map(Arc::clone).collect(),
    )?)
}

fn schema(program: &Program) -> SchemaRef {
    let mut fields: Vec<FieldRef> = Vec::new();
    if program.arrival {
        fields.push(Arc::new(Field::new("_arrival", DataType::UInt64, false)));
    }
    fields.extend(program.rows_schema.fields().iter().map(Arc::clone));
    fields.push(Arc::new(Field::new("_count", DataType::Int64, false)));
    FORMAT.schema(ROWS, fields)
}
