//! What is kept of a session's rows, and what is given when it is over.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use crate::error::{Error, Result};
use crate::window::columns::Evaluator;
use crate::window::emit::Firing;
use crate::window::part::Part;
use crate::window::program::Program;
use crate::window::results;
use crate::window::table::{Groups, Table, pick};
use crate::window::times;

/// What happens to rows.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// They are aggregated.
    Aggregate {
        program: Arc<Program>,
        evaluator: Evaluator,
    },
    /// They are kept, and get the bounds of their session.
    Expand {
        keys: Vec<Arc<dyn PhysicalExpr>>,
        key_fields: Vec<FieldRef>,
        input: SchemaRef,
        schema: SchemaRef,
    },
}

/// The rows of a batch, seen by their sessions.
pub(super) struct Read {
    pub(super) keys: Vec<ArrayRef>,
    columns: Vec<ArrayRef>,
}

impl Payload {
    pub(super) fn aggregate(program: &Arc<Program>) -> Self {
        Self::Aggregate {
            program: Arc::clone(program),
            evaluator: Evaluator::default(),
        }
    }

    /// What comes out.
    pub(super) fn schema(&self) -> SchemaRef {
        match self {
            Self::Aggregate { program, .. } => program.schema(),
            Self::Expand { schema, .. } => Arc::clone(schema),
        }
    }

    /// The columns of a payload row.
    pub(super) fn fields(&self) -> Vec<FieldRef> {
        match self {
            Self::Aggregate { program, .. } => program.part_fields.clone(),
            Self::Expand { input, .. } => input.fields().iter().map(Arc::clone).collect(),
        }
    }

    /// The keys of sessions.
    pub(super) fn key_fields(&self) -> Vec<FieldRef> {
        match self {
            Self::Aggregate { program, .. } => {
                program.key_schema.fields().iter().map(Arc::clone).collect()
            }
            Self::Expand { key_fields, .. } => key_fields.clone(),
        }
    }

    /// When results come out.
    pub(super) fn firing(&self) -> Firing {
        match self {
            Self::Aggregate { program, .. } => program.firing,
            Self::Expand { .. } => Firing::default(),
        }
    }

    /// Whether the payload rows of one session can become one.
    pub(super) fn merges(&self) -> bool {
        matches!(self, Self::Aggregate { program, .. } if !program.sorted)
    }

    /// Computes keys and what else is needed of a batch.
    pub(super) fn read(&mut self, batch: &RecordBatch) -> Result<Read> {
        Ok(match self {
            Self::Aggregate { program, evaluator } => {
                let columns = evaluator.columns(program, batch, None)?;
                let keys = pick(&columns, &program.keys)?;
                Read { keys, columns }
            }
            Self::Expand { keys, .. } => Read {
                keys: evaluate(keys, batch)?,
                columns: batch.columns().to_vec(),
            },
        })
    }

    /// The keys of payload rows.
    pub(super) fn keys_of(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Aggregate { program, .. } => pick(columns, &program.part_keys()),
            Self::Expand { keys, input, .. } => evaluate(
                keys,
                &results::batch(Arc::clone(input), columns.to_vec(), rows)?,
            ),
        }
    }

    /// Makes payload rows of the rows in `order`; `groups` numbers the stretches of rows that
    /// belong together, of which there are `count`. Gives the group of each payload row too.
    pub(super) fn pack(
        &self,
        read: &Read,
        order: &UInt32Array,
        groups: Vec<usize>,
        count: usize,
    ) -> Result<(Part, Vec<usize>)> {
        let columns = read.columns.iter().map(|c| Ok(take(c, order, None)?));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let Self::Aggregate { program, .. } = self else {
            return Ok((Part::new(columns, groups.len()), groups));
        };
        if program.sorted {
            return Ok((Part::new(columns, groups.len()), groups));
        }
        let keys = pick(&columns, &program.keys)?;
        let keys = firsts(&keys, &groups, count)?;
        let mut table = Table::numbered(program, count)?;
        table.update_groups(program, &columns, &groups)?;
        Ok((table.into_part_of(program, keys)?, (0..count).collect()))
    }

    /// Makes one payload row of those of each group.
    pub(super) fn merge(
        &self,
        columns: Vec<ArrayRef>,
        groups: Vec<usize>,
        count: usize,
    ) -> Result<(Part, Vec<usize>)> {
        match self {
            Self::Aggregate { program, .. } if !program.sorted => {
                let keys = firsts(&pick(&columns, &program.part_keys())?, &groups, count)?;
                let mut table = Table::numbered(program, count)?;
                table.merge_groups(program, &columns, &groups)?;
                Ok((table.into_part_of(program, keys)?, (0..count).collect()))
            }
            _ => Ok((Part::new(columns, groups.len()), groups)),
        }
    }

    /// Computes the keys and the results of sessions: of each its payload rows by its number.
    pub(super) fn results(
        &self,
        columns: &[ArrayRef],
        groups: &[usize],
        count: usize,
    ) -> Result<Groups> {
        let Self::Aggregate { program, .. } = self else {
            return Err(Error::internal("rows that are kept have no results"));
        };
        let mut table = Table::numbered(program, count)?;
        if program.sorted {
            table.update_groups_sorted(program, columns, groups.len(), groups)?;
        } else {
            table.merge_groups(program, columns, groups)?;
        }
        let keys = firsts(&pick(columns, &program.part_keys())?, groups, count)?;
        table.into_results_of(keys)
    }

    /// Gives the results of sessions that are over: of each its bounds, and its payload rows by
    /// its number.
    pub(super) fn finish(
        &self,
        columns: Vec<ArrayRef>,
        groups: &[usize],
        starts: Vec<i64>,
        ends: Vec<i64>,
    ) -> Result<RecordBatch> {
        match self {
            Self::Aggregate { program, .. } => {
                let groups = self.results(&columns, groups, starts.len())?;
                results::results_of(program, starts, ends, &groups)
            }
            Self::Expand { schema, .. } => {
                let each = |bounds: &[i64]| -> Vec<i64> {
                    let bound = |group: &usize| bounds.get(*group).copied().unwrap_or_default();
                    groups.iter().map(bound).collect()
                };
                let [.., start, end] = &schema.fields()[..] else {
                    return Err(Error::internal("a session's schema has no window columns"));
                };
                let mut columns = columns;
                columns.push(times::timestamps(each(&starts), start.data_type())?);
                columns.push(times::timestamps(each(&ends), end.data_type())?);
                Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
            }
        }
    }
}

fn evaluate(keys: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let rows = batch.num_rows();
    let keys = keys.iter();
    keys.map(|key| Ok(key.evaluate(batch)?.into_array(rows)?))
        .collect()
}

/// The first row of each group.
fn firsts(columns: &[ArrayRef], groups: &[usize], count: usize) -> Result<Vec<ArrayRef>> {
    let mut first = vec![None; count];
    for (row, group) in (0_u32..).zip(groups) {
        if let Some(first) = first.get_mut(*group) {
            first.get_or_insert(row);
        }
    }
    let rows: UInt32Array = first.into_iter().collect();
    let columns = columns.iter();
    columns
        .map(|column| Ok(take(column, &rows, None)?))
        .collect()
}

/// The types of keys, as columns.
pub(super) fn key_fields(
    keys: &[Arc<dyn PhysicalExpr>],
    input: &SchemaRef,
) -> Result<Vec<FieldRef>> {
    let field = |key: &Arc<dyn PhysicalExpr>| {
        Ok(Arc::new(Field::new(
            key.to_string(),
            key.data_type(input)?,
            true,
        )))
    };
    keys.iter().map(field).collect()
}
