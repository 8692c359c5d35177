//! Builds batches of results: not larger than the job's batches, not much smaller either.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::aggregate::{Assign, OutputColumn};
use super::columns::fit;
use super::part::Part;
use super::program::Program;
use super::spec::Span;
use super::split::PaneId;
use super::table::{Groups, pick};
use super::times;
use crate::error::{Error, Result};
use crate::operator::Output;

/// Cuts what is large without a copy, and puts what is small together, in order.
#[derive(Debug)]
pub(super) struct Collector {
    schema: SchemaRef,
    rows_max: usize,
    small: Vec<RecordBatch>,
    small_rows: usize,
}

impl Collector {
    pub(super) fn new(schema: SchemaRef, rows_max: usize) -> Self {
        Self {
            schema,
            rows_max: rows_max.max(1),
            small: Vec::new(),
            small_rows: 0,
        }
    }

    /// Adds rows after those before.
    pub(super) fn push(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        if self.small_rows + batch.num_rows() > self.rows_max {
            self.flush(out)?;
        }
        let mut offset = 0;
        while batch.num_rows() - offset >= self.rows_max {
            out.send(batch.slice(offset, self.rows_max));
            offset += self.rows_max;
        }
        let rest = batch.num_rows() - offset;
        if rest > 0 {
            self.small_rows += rest;
            self.small.push(if offset == 0 {
                batch
            } else {
                batch.slice(offset, rest)
            });
        }
        Ok(())
    }

    /// Sends what is kept back.
    pub(super) fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.small_rows = 0;
        let small = std::mem::take(&mut self.small);
        match <[RecordBatch; 1]>::try_from(small) {
            Ok([one]) => out.send(one),
            Err(small) if small.is_empty() => {}
            Err(small) => out.send(concat_batches(&self.schema, &small)?),
        }
        Ok(())
    }
}

/// The results of one window.
pub(super) fn results(program: &Program, window: Span, groups: &Groups) -> Result<RecordBatch> {
    let (starts, ends) = (
        vec![window.start; groups.rows],
        vec![window.end; groups.rows],
    );
    results_of(program, starts, ends, groups)
}

/// The results of groups with their own windows.
pub(super) fn results_of(
    program: &Program,
    starts: Vec<i64>,
    ends: Vec<i64>,
    groups: &Groups,
) -> Result<RecordBatch> {
    let schema = Arc::clone(&program.rows);
    let mut columns = Vec::with_capacity(program.output.len());
    for (column, field) in program.output.iter().zip(schema.fields()) {
        let array = match column {
            OutputColumn::WindowStart => times::timestamps(starts.clone(), field.data_type())?,
            OutputColumn::WindowEnd => times::timestamps(ends.clone(), field.data_type())?,
            OutputColumn::Key(i) => fit(only(&groups.keys, *i)?, field.data_type())?,
            OutputColumn::Aggregate(i) => fit(only(&groups.aggregates, *i)?, field.data_type())?,
        };
        columns.push(array);
    }
    batch(schema, columns, groups.rows)
}

fn only(columns: &[ArrayRef], place: usize) -> Result<ArrayRef> {
    pick(columns, &[place])?
        .pop()
        .ok_or_else(|| Error::internal("a column is missing"))
}

/// The partial states of one pane, for the final phase.
pub(super) fn states(program: &Program, pane: PaneId, part: &Part) -> Result<RecordBatch> {
    let mut columns = id_columns(program, &[(pane, part.rows)]);
    columns.extend(part.columns.iter().map(Arc::clone));
    batch(program.schema(), columns, part.rows)
}

/// The columns that name panes, for runs of rows.
pub(super) fn id_columns(program: &Program, runs: &[(PaneId, usize)]) -> Vec<ArrayRef> {
    let column = |value: fn(&PaneId) -> i64| {
        let mut values = Vec::with_capacity(runs.iter().map(|(_, rows)| rows).sum());
        for (pane, rows) in runs {
            values.resize(values.len() + rows, value(pane));
        }
        Arc::new(TimestampMicrosecondArray::from(values)) as ArrayRef
    };
    match program.assign {
        Assign::Time { .. } => vec![column(|p| p.start)],
        Assign::Session { .. } => Vec::new(),
        Assign::Columns { start, end } => {
            let mut columns = Vec::with_capacity(2);
            if end.is_some() {
                columns.push(column(|p| p.end));
            }
            if start.is_some() {
                columns.push(column(|p| p.start));
            }
            columns
        }
    }
}

/// A batch that may have no columns.
pub(super) fn batch(
    schema: Arc<Schema>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}
