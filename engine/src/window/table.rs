//! A hash table over the keys with the accumulators of each group: the open part of a pane.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take};
use datafusion_execution::memory_pool::MemoryReservation;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_plan::aggregates::group_values::GroupValues;

use super::columns::fit;
use super::dense::group_values;
use super::part::{Part, concat_parts};
use super::program::{Aggregate, Program};
use crate::error::{Error, Result};

/// Key tables kept for the next panes: as many as close and open at once in a steady stream.
const SPARE_TABLES_MAX: usize = 4;
/// Bytes up to which an empty key table is kept: beyond, making a new one costs nothing beside
/// filling it, and no account has what is kept.
const SPARE_BYTES_MAX: usize = 1 << 20;
/// Memory of a merge, in sizes of what is merged: a hash table is up to twice the size of its
/// keys and states, and the part that it becomes is made beside it column by column.
const MERGE_SHARES: usize = 3;

/// The results of the groups of one window.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) aggregates: Vec<ArrayRef>,
    pub(super) rows: usize,
}

/// What tables of one operator reuse.
#[derive(Default)]
pub(super) struct Scratch {
    /// The group of each row.
    groups: Vec<usize>,
    /// Empty key tables.
    spare: Vec<Box<dyn GroupValues>>,
    /// Where memory for merges is taken from.
    memory: Option<MemoryReservation>,
}

impl Scratch {
    /// Takes the memory for merges from an account.
    pub(super) fn of(memory: MemoryReservation) -> Self {
        let memory = Some(memory);
        Self {
            memory,
            ..Self::default()
        }
    }

    /// Takes memory to merge parts beside them: their hash table, then the part that it becomes.
    /// `None` when there is no room.
    pub(super) fn room(&self, parts: &[Arc<Part>]) -> Option<MemoryReservation> {
        let room = self.memory.as_ref()?.new_empty();
        let bytes: usize = parts.iter().map(|part| part.bytes).sum();
        room.try_grow(bytes * MERGE_SHARES).is_ok().then_some(room)
    }

    /// Gives back the memory of empty key tables.
    pub(super) fn forget(&mut self) {
        self.spare.clear();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("spare", &self.spare.len())
            .finish_non_exhaustive()
    }
}

/// Keys and accumulators.
pub(super) struct Table {
    /// None when there are no keys: then all rows are one group.
    keys: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    groups: usize,
    rows: u64,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("groups", &self.groups)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn new(program: &Program, scratch: &mut Scratch) -> Result<Self> {
        let accumulators = program
            .aggregates
            .iter()
            .map(Aggregate::accumulator)
            .collect::<Result<_>>()?;
        let keys = if program.keys.is_empty() {
            None
        } else if let Some(keys) = scratch.spare.pop() {
            Some(keys)
        } else {
            Some(group_values(&program.key_schema)?)
        };
        Ok(Self {
            keys,
            accumulators,
            groups: 0,
            rows: 0,
        })
    }

    /// Groups with rows.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Rows that went in.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of memory. Costs some virtual calls: not for every batch.
    pub(super) fn bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |k| k.size())
            + self.accumulators.iter().map(|a| a.size()).sum::<usize>()
            + size_of::<Self>()
    }

    /// A table whose groups are given by their numbers, for [`Self::update_groups`] and
    /// [`Self::merge_groups`].
    pub(super) fn numbered(program: &Program, groups: usize) -> Result<Self> {
        let accumulators = program.aggregates.iter().map(Aggregate::accumulator);
        Ok(Self {
            accumulators: accumulators.collect::<Result<_>>()?,
            keys: None,
            groups,
            rows: 0,
        })
    }

    fn intern(&mut self, keys: &[ArrayRef], rows: usize, scratch: &mut Scratch) -> Result<()> {
        match &mut self.keys {
            Some(table) => {
                table.intern(keys, &mut scratch.groups)?;
                self.groups = table.len();
            }
            None => {
                scratch.groups.clear();
                scratch.groups.resize(rows, 0);
                self.groups = 1;
            }
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Adds rows: computed columns, as the program lays them out.
    pub(super) fn update(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.intern(&pick(columns, &program.keys)?, rows, scratch)?;
        self.update_groups(program, columns, &scratch.groups)
    }

    /// Adds rows to groups by number.
    pub(super) fn update_groups(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        groups: &[usize],
    ) -> Result<()> {
        for (aggregate, accumulator) in program.aggregates.iter().zip(&mut self.accumulators) {
            let args = pick(columns, &aggregate.args)?;
            let filter = filter_of(aggregate, columns)?;
            accumulator.update_batch(&args, groups, filter, self.groups)?;
        }
        Ok(())
    }

    /// Adds rows, to each aggregate in the order that it asks for. All rows of a group at once:
    /// nothing may be added before or after.
    pub(super) fn update_sorted(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.intern(&pick(columns, &program.keys)?, rows, scratch)?;
        self.update_groups_sorted(program, columns, rows, &scratch.groups)
    }

    /// Adds rows to groups by number, as [`Self::update_sorted`] does.
    pub(super) fn update_groups_sorted(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        groups: &[usize],
    ) -> Result<()> {
        for (aggregate, accumulator) in program.aggregates.iter().zip(&mut self.accumulators) {
            let args = pick(columns, &aggregate.args)?;
            let filter = filter_of(aggregate, columns)?;
            if aggregate.sort.is_empty() {
                accumulator.update_batch(&args, groups, filter, self.groups)?;
                continue;
            }
            let order = sorted(aggregate, columns, rows)?;
            let args = args
                .iter()
                .map(|a| take(a, &order, None))
                .collect::<Result<Vec<_>, _>>()?;
            let filter = filter.map(|f| take(f, &order, None)).transpose()?;
            let filter = filter.as_ref().and_then(|f| f.as_boolean_opt());
            let group = |row: &u32| groups.get(*row as usize).copied().unwrap_or_default();
            let groups: Vec<usize> = order.values().iter().map(group).collect();
            accumulator.update_batch(&args, &groups, filter, self.groups)?;
        }
        Ok(())
    }

    /// Adds partial states: keys, then states, as in a part.
    pub(super) fn merge(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let keys = columns.get(..program.keys.len()).ok_or_else(misfit)?;
        self.intern(keys, rows, scratch)?;
        self.merge_groups(program, columns, &scratch.groups)
    }

    /// Adds partial states to groups by number.
    pub(super) fn merge_groups(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        groups: &[usize],
    ) -> Result<()> {
        for (aggregate, accumulator) in program.aggregates.iter().zip(&mut self.accumulators) {
            let states = columns.get(aggregate.states.clone()).ok_or_else(misfit)?;
            accumulator.merge_batch(states, groups, self.groups)?;
        }
        Ok(())
    }

    /// Gives the partial states of all groups.
    pub(super) fn into_part(mut self, program: &Program, scratch: &mut Scratch) -> Result<Part> {
        let keys = self.take_keys(scratch)?;
        self.into_part_of(program, keys)
    }

    /// Gives the partial states of all groups, which have these keys.
    pub(super) fn into_part_of(mut self, program: &Program, keys: Vec<ArrayRef>) -> Result<Part> {
        let rows = self.groups;
        let mut columns = keys;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        if columns.len() != program.part_fields.len() {
            return Err(misfit());
        }
        let columns = columns
            .into_iter()
            .zip(&program.part_fields)
            .map(|(column, field)| fit(column, field.data_type()))
            .collect::<Result<_>>()?;
        Ok(Part::new(columns, rows))
    }

    /// Gives the results of all groups.
    pub(super) fn into_results(mut self, scratch: &mut Scratch) -> Result<Groups> {
        let keys = self.take_keys(scratch)?;
        self.into_results_of(keys)
    }

    /// Gives the results of all groups, which have these keys.
    pub(super) fn into_results_of(mut self, keys: Vec<ArrayRef>) -> Result<Groups> {
        let rows = self.groups;
        let aggregates = self
            .accumulators
            .iter_mut()
            .map(|a| Ok(a.evaluate(EmitTo::All)?))
            .collect::<Result<_>>()?;
        Ok(Groups {
            keys,
            aggregates,
            rows,
        })
    }

    /// Empties the key table and keeps it for the next pane, which is likely to be of its size.
    fn take_keys(&mut self, scratch: &mut Scratch) -> Result<Vec<ArrayRef>> {
        let Some(mut table) = self.keys.take() else {
            return Ok(Vec::new());
        };
        let keys = table.emit(EmitTo::All)?;
        if scratch.spare.len() < SPARE_TABLES_MAX {
            table.clear_shrink(self.groups);
            if table.size() <= SPARE_BYTES_MAX {
                scratch.spare.push(table);
            }
        }
        Ok(keys)
    }
}

/// Merges parts into one table; the parts are kept rows when the program sorts.
pub(super) fn merge_parts(
    program: &Program,
    parts: &[Arc<Part>],
    scratch: &mut Scratch,
) -> Result<Table> {
    let mut table = Table::new(program, scratch)?;
    if program.sorted {
        let all = concat_parts(parts)?;
        table.update_sorted(program, &all.columns, all.rows, scratch)?;
        return Ok(table);
    }
    for piece in parts.iter().flat_map(|part| part.pieces()) {
        let (columns, rows) = piece?;
        table.merge(program, &columns, rows, scratch)?;
    }
    Ok(table)
}

fn sorted(aggregate: &Aggregate, columns: &[ArrayRef], rows: usize) -> Result<UInt32Array> {
    let mut by = Vec::with_capacity(aggregate.sort.len() + 1);
    for (column, options) in &aggregate.sort {
        let values = columns.get(*column).map(Arc::clone).ok_or_else(misfit)?;
        by.push(SortColumn {
            values,
            options: Some(*options),
        });
    }
    // Equal rows stay in the order of their arrival.
    let arrival = UInt32Array::from_iter_values((0_u32..).take(rows));
    by.push(SortColumn {
        values: Arc::new(arrival),
        options: None,
    });
    Ok(lexsort_to_indices(&by, None)?)
}

/// Gives the columns at some places.
pub(super) fn pick(columns: &[ArrayRef], places: &[usize]) -> Result<Vec<ArrayRef>> {
    places
        .iter()
        .map(|i| columns.get(*i).map(Arc::clone).ok_or_else(misfit))
        .collect()
}

/// Gives the truth values of an aggregate's FILTER.
pub(super) fn filter_of<'a>(
    aggregate: &Aggregate,
    columns: &'a [ArrayRef],
) -> Result<Option<&'a BooleanArray>> {
    let Some(place) = aggregate.filter else {
        return Ok(None);
    };
    let column = columns.get(place).ok_or_else(misfit)?;
    column
        .as_boolean_opt()
        .map(Some)
        .ok_or_else(|| Error::internal("an aggregate's FILTER gave no truth values"))
}

fn misfit() -> Error {
    Error::internal("a window aggregation's columns do not fit its layout")
}
