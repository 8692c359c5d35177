//! The state of a window aggregation as batches: what a checkpoint keeps.
//!
//! A snapshot gives what is new since the last one: a header, then the parts that rows have made
//! since. The snapshots of all epochs, in order, are the state: panes that a later header's
//! watermark has closed are dropped on the way, so old epochs can be merged by replaying them.
//! An open table has to be rotated into a part to be read; the pane goes on with a new table.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::aggregate::Phase;
use super::operator::WindowAggregate;
use super::program::Program;
use super::split::{PaneId, by_id};
use super::table::Part;
use crate::error::{Error, Kind, Result, codes};

/// The version of the layout below, in the metadata of every batch.
const VERSION: (&str, &str) = ("weir.window.state", "1");
/// Columns before those of a part: the pane's start and end.
const PANE_COLUMNS: usize = 2;

/// Gives what is new.
pub(super) fn snapshot(of: &mut WindowAggregate) -> Result<Vec<RecordBatch>> {
    let flushed = std::mem::take(&mut of.flushed);
    let mut batches = vec![RecordBatch::try_new(
        header_schema(),
        vec![
            Arc::new(Int64Array::from(vec![of.watermark])),
            Arc::new(BooleanArray::from(vec![flushed])),
        ],
    )?];
    let schema = part_schema(&of.program);
    for (id, part) in of.panes.persist(&of.program, &mut of.scratch)? {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![id.start; part.rows])),
            Arc::new(Int64Array::from(vec![id.end; part.rows])),
        ];
        columns.extend(part.columns.iter().map(Arc::clone));
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    Ok(batches)
}

/// Takes back what snapshots gave, in their order.
pub(super) fn restore(into: &mut WindowAggregate, state: Vec<RecordBatch>) -> Result<()> {
    for batch in state {
        let version = batch
            .schema_ref()
            .metadata()
            .get(VERSION.0)
            .map(String::as_str);
        if version != Some(VERSION.1) {
            return Err(unreadable(format!(
                "its version is {}",
                version.unwrap_or("missing")
            )));
        }
        if batch.schema_ref().fields() == header_schema().fields() {
            restore_header(into, &batch)?;
        } else {
            restore_parts(into, &batch)?;
        }
    }
    Ok(())
}

fn restore_header(into: &mut WindowAggregate, batch: &RecordBatch) -> Result<()> {
    let values = batch.column(0).as_primitive::<Int64Type>().values();
    let flushed = batch.column(1).as_boolean();
    for (watermark, flushed) in values.iter().zip(flushed.iter()) {
        if flushed == Some(true) {
            while into.panes.pop_if(|_| true).is_some() {}
        }
        // At the same watermark nothing was closed in between: what came for closed slices of
        // windows that are still open is kept.
        if *watermark > into.watermark {
            into.watermark = *watermark;
            let mut kept = Vec::new();
            let local = into.program.phase == Phase::Local;
            while let Some((id, pane)) = into.panes.pop_if(|_| true) {
                let over = if local {
                    id.end <= *watermark
                } else {
                    into.is_over(id)
                };
                if !over {
                    kept.push((id, pane));
                }
            }
            into.panes.put_back(kept);
        }
    }
    Ok(())
}

fn restore_parts(into: &mut WindowAggregate, batch: &RecordBatch) -> Result<()> {
    let expected = part_schema(&into.program);
    let same = batch.num_columns() == expected.fields().len()
        && batch
            .columns()
            .iter()
            .zip(expected.fields())
            .all(|(column, field)| column.data_type() == field.data_type());
    if !same {
        return Err(unreadable(
            "its columns are not those of the query".to_owned(),
        ));
    }
    let starts = batch.column(0).as_primitive::<Int64Type>().values();
    let ends = batch.column(1).as_primitive::<Int64Type>().values();
    let ids = starts
        .iter()
        .zip(ends)
        .map(|(s, e)| Some(PaneId { start: *s, end: *e }));
    let split = by_id(ids, |id| *id);
    let ordered = match &split.order {
        Some(order) => take_record_batch(batch, order)?,
        None => batch.clone(),
    };
    for share in split.shares {
        let columns = ordered.columns().iter().skip(PANE_COLUMNS);
        let columns = columns.map(|c| c.slice(share.offset, share.rows)).collect();
        into.panes
            .restore(share.pane, Part::new(columns, share.rows))?;
    }
    Ok(())
}

fn header_schema() -> SchemaRef {
    Arc::new(versioned(vec![
        Arc::new(Field::new("watermark", DataType::Int64, false)),
        Arc::new(Field::new("flushed", DataType::Boolean, false)),
    ]))
}

fn part_schema(program: &Program) -> SchemaRef {
    let pane = ["_start", "_end"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    Arc::new(versioned(
        pane.into_iter()
            .chain(program.part_fields.iter().map(Arc::clone))
            .collect(),
    ))
}

fn versioned(fields: Vec<Arc<Field>>) -> Schema {
    let metadata = [(VERSION.0.to_owned(), VERSION.1.to_owned())].into();
    Schema::new_with_metadata(fields, metadata)
}

fn unreadable(detail: String) -> Error {
    Error::new(
        Kind::Data,
        codes::CORRUPT,
        "a window aggregation's saved state does not fit it",
    )
    .detail(detail)
    .hint("the query has changed: start the pipeline with a new state, or change it back")
}
