//! The batches of a view's state: the view's columns and `_op`, in parts that say what they are for.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, SchemaRef};

use super::Program;
use super::table::Line;
use crate::changelog::{self, RowKind, changelog_schema};
use crate::error::Result;
use crate::operator::StateBatches;
use crate::updating::Format;
use crate::updating::state::unreadable;

pub(super) const FORMAT: Format = Format {
    name: "weir.view",
    version: "1",
};

/// What the rows of a batch are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The net change of the epoch.
    Changes,
    /// All rows, after the epoch.
    Rows,
    /// The net change of an epoch whose snapshot holds all rows: they have it already.
    Included,
    /// All rows, which are also the net change: the first epoch.
    First,
}

impl Part {
    const ALL: [Self; 4] = [Self::Changes, Self::Rows, Self::Included, Self::First];

    fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Rows => "rows",
            Self::Included => "included changes",
            Self::First => "first rows",
        }
    }

    /// What a batch is for.
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        let name = FORMAT.part(batch)?;
        let part = Self::ALL.into_iter().find(|part| part.name() == name);
        part.ok_or_else(|| unreadable(format!("it has an unknown part, \"{name}\"")))
    }

    /// Whether its rows make the view.
    pub(super) fn is_state(self) -> bool {
        self != Self::Included
    }

    /// Whether its rows are what happened in the epoch.
    pub(super) fn is_change(self) -> bool {
        self != Self::Rows
    }
}

/// Makes the batches of a part; they are decoded on the thread that takes them.
pub(super) fn batches(
    program: &Arc<Program>,
    part: Part,
    lines: Vec<Line>,
    rows_max: usize,
) -> StateBatches {
    let program = Arc::clone(program);
    let chunks = lines.len().div_ceil(rows_max);
    Box::new((0..chunks).map(move |i| {
        let lines = || lines.iter().skip(i * rows_max).take(rows_max);
        let mut columns: Vec<ArrayRef> = if program.codec.types().is_empty() {
            Vec::new()
        } else {
            program.codec.decode(lines().map(|(row, _)| &**row))?
        };
        let kinds = Int8Array::from_iter_values(lines().map(|(_, kind)| kind.number()));
        let options = RecordBatchOptions::new().with_row_count(Some(kinds.values().len()));
        columns.push(Arc::new(kinds));
        let schema = schema(&program.schema, part);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }))
}

/// Makes a batch of a part of rows or changes; without kinds all rows are new.
pub(super) fn labelled(program: &Program, part: Part, batch: &RecordBatch) -> Result<RecordBatch> {
    let (columns, kinds) = changelog::split(batch);
    let mut columns = columns.to_vec();
    columns.push(match kinds {
        Some(kinds) => Arc::new(kinds.clone()),
        None => changelog::kinds(RowKind::Insert, batch.num_rows()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema(&program.schema, part),
        columns,
        &options,
    )?)
}

/// The schema of a part of the view of some rows.
pub(super) fn schema(rows: &SchemaRef, part: Part) -> SchemaRef {
    let fields: Vec<FieldRef> = changelog_schema(rows)
        .fields()
        .iter()
        .map(Arc::clone)
        .collect();
    FORMAT.schema(part.name(), fields)
}
