//! The state of a window aggregation as batches: what a checkpoint keeps.
//!
//! A snapshot gives what is new since the last one: a header with the watermark, then the parts
//! that rows have made since, then the results that were given since, where results are updated.
//! The snapshots of all epochs, in order, are the state: panes that a later header's watermark has
//! closed are dropped on the way. An open table has to be rotated into a part to be read; the pane
//! goes on with a new table.
//!
//! A subtask takes back the snapshots of each earlier subtask by themselves, since each had its own
//! watermark, and keeps only the rows of its own key groups.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::aggregate::Assign;
use super::given::Given;
use super::operator::WindowAggregate;
use super::panes::Panes;
use super::part::Part;
use super::program::Program;
use super::split::{PaneId, by_id};
use super::table::{Groups, pick};
use crate::error::{Error, Kind, Result, codes};
use crate::key_group::KeyGroups;
use crate::operator::{Extent, StateBatches};

/// The version of the layout below, in the metadata of every batch.
const VERSION: (&str, &str) = ("weir.window.state", "2");
/// What a batch holds, in its metadata too.
const KIND: &str = "weir.window.kind";
const HEADER: &str = "header";
const PARTS: &str = "parts";
const GIVEN: &str = "given";
/// Columns before those of a part: the pane's start and end.
const PANE_COLUMNS: usize = 2;

/// What one earlier subtask left.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) panes: Panes,
    pub(super) given: Given,
    pub(super) watermark: i64,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            panes: Panes::default(),
            given: Given::default(),
            watermark: i64::MIN,
        }
    }
}

/// Gives what is new, or all.
pub(super) fn snapshot(of: &mut WindowAggregate, extent: Extent) -> Result<StateBatches> {
    let watermark: ArrayRef = Arc::new(Int64Array::from(vec![of.watermark]));
    let header = RecordBatch::try_new(header_schema(), vec![watermark])?;
    let parts = of.panes.persist(extent, &of.program, &mut of.scratch)?;
    let mut given = Vec::new();
    if let Some(updates) = &mut of.updates {
        let schema = given_schema(&of.program);
        for (id, groups) in updates.given.persist(extent)? {
            let columns = groups.keys.iter().chain(&groups.aggregates);
            given.push(of_pane(&schema, id, columns.map(Arc::clone), groups.rows)?);
        }
    }
    let schema = part_schema(&of.program);
    let lent = parts.into_iter().map(|(id, part)| {
        let loan = of.lent.lend(part.bytes);
        (id, part, loan)
    });
    let lent: Vec<_> = lent.collect();
    // What is on disk is read piece by piece, when it is asked for.
    let parts = lent.into_iter().flat_map(move |(id, part, loan)| {
        let schema = Arc::clone(&schema);
        part.into_pieces().map(move |piece| {
            // It is given back with the last piece.
            let _held = &loan;
            let (columns, rows) = piece?;
            of_pane(&schema, id, columns.into_iter(), rows)
        })
    });
    Ok(Box::new(
        std::iter::once(Ok(header))
            .chain(parts)
            .chain(given.into_iter().map(Ok)),
    ))
}

fn of_pane(
    schema: &SchemaRef,
    id: PaneId,
    rest: impl Iterator<Item = ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![id.start; rows])),
        Arc::new(Int64Array::from(vec![id.end; rows])),
    ];
    columns.extend(rest);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Takes back the next batch of what the snapshots of one earlier subtask gave, in their order.
pub(super) fn restore(
    program: &Program,
    past: &mut Past,
    batch: &RecordBatch,
    groups: &KeyGroups,
) -> Result<()> {
    let metadata = batch.schema_ref().metadata();
    let version = metadata.get(VERSION.0).map(String::as_str);
    if version != Some(VERSION.1) {
        let version = version.unwrap_or("missing");
        return Err(unreadable(format!("its version is {version}")));
    }
    match metadata.get(KIND).map(String::as_str) {
        Some(HEADER) => restore_header(program, past, batch)?,
        Some(PARTS) => {
            let kept = own(batch, &part_schema(program), &program.part_keys(), groups)?;
            each_pane(&kept, |id, columns, rows| {
                past.panes.restore(id, Part::new(columns, rows))
            })?;
        }
        Some(GIVEN) => {
            let keys: Vec<usize> = (0..program.keys.len()).collect();
            let kept = own(batch, &given_schema(program), &keys, groups)?;
            each_pane(&kept, |id, mut columns, rows| {
                let aggregates = columns.split_off(keys.len().min(columns.len()));
                let keys = columns;
                let groups = Groups {
                    keys,
                    aggregates,
                    rows,
                };
                past.given.restore(program, id, groups)
            })?;
        }
        _ => return Err(unreadable("what a batch holds is not said".to_owned())),
    }
    Ok(())
}

fn restore_header(program: &Program, past: &mut Past, batch: &RecordBatch) -> Result<()> {
    let watermarks = batch
        .columns()
        .first()
        .and_then(|c| c.as_primitive_opt::<Int64Type>());
    let watermarks = watermarks.ok_or_else(|| unreadable("it has no watermark".to_owned()))?;
    for watermark in watermarks.values() {
        // At the same watermark nothing was closed in between: what came for closed slices of
        // windows that are still open is kept.
        if *watermark <= past.watermark {
            continue;
        }
        past.watermark = *watermark;
        past.given.expire(program.firing, *watermark);
        let mut kept = Vec::new();
        while let Some((id, pane)) = past.panes.pop_if(|_| true) {
            if !is_over(program, id, *watermark) {
                kept.push((id, pane));
            }
        }
        past.panes.put_back(kept);
    }
    Ok(())
}

/// Whether all windows of a pane are closed for good.
pub(super) fn is_over(program: &Program, pane: PaneId, watermark: i64) -> bool {
    let last_end = match program.assign {
        Assign::Time { spec, .. } => spec.last_end(pane.start),
        Assign::Session { .. } | Assign::Columns { .. } => pane.end,
    };
    program.firing.gone(last_end) <= watermark
}

/// The keys of the rows of a batch of state; `None` for the header.
pub(super) fn keys(program: &Program, batch: &RecordBatch) -> Result<Option<Vec<ArrayRef>>> {
    let kind = batch.schema_ref().metadata().get(KIND).map(String::as_str);
    let keys = match kind {
        Some(PARTS) => program.part_keys(),
        Some(GIVEN) => (0..program.keys.len()).collect(),
        _ => return Ok(None),
    };
    let places: Vec<usize> = keys.iter().map(|key| key + PANE_COLUMNS).collect();
    pick(batch.columns(), &places).map(Some)
}

/// The rows of this subtask.
fn own(
    batch: &RecordBatch,
    expected: &SchemaRef,
    keys: &[usize],
    groups: &KeyGroups,
) -> Result<RecordBatch> {
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
    // Without keys all rows are in the only subtask.
    if keys.is_empty() || groups.is_all() {
        return Ok(batch.clone());
    }
    let places: Vec<usize> = keys.iter().map(|key| key + PANE_COLUMNS).collect();
    let mask = groups.mask(&pick(batch.columns(), &places)?, batch.num_rows())?;
    Ok(filter_record_batch(batch, &mask)?)
}

/// Takes a batch apart by its panes.
fn each_pane(
    batch: &RecordBatch,
    mut put: impl FnMut(PaneId, Vec<ArrayRef>, usize) -> Result<()>,
) -> Result<()> {
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
        put(share.pane, columns, share.rows)?;
    }
    Ok(())
}

fn header_schema() -> SchemaRef {
    let watermark = Arc::new(Field::new("watermark", DataType::Int64, false));
    versioned(vec![watermark], HEADER)
}

fn part_schema(program: &Program) -> SchemaRef {
    of_panes(&program.part_fields, PARTS)
}

fn given_schema(program: &Program) -> SchemaRef {
    let keys = program.key_schema.fields().iter();
    let fields: Vec<FieldRef> = keys.chain(&program.result_fields).map(Arc::clone).collect();
    of_panes(&fields, GIVEN)
}

fn of_panes(fields: &[FieldRef], kind: &str) -> SchemaRef {
    let pane = ["_start", "_end"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    versioned(
        pane.into_iter()
            .chain(fields.iter().map(Arc::clone))
            .collect(),
        kind,
    )
}

fn versioned(fields: Vec<FieldRef>, kind: &str) -> SchemaRef {
    let metadata = [(VERSION.0, VERSION.1), (KIND, kind)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// The error for state that is not of this query.
pub(super) fn unreadable(detail: String) -> Error {
    Error::new(
        Kind::Data,
        codes::CORRUPT,
        "a window aggregation's saved state does not fit it",
    )
    .detail(detail)
    .hint("the query has changed: start the pipeline with a new state, or change it back")
}
