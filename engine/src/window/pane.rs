//! A pane: what is known of one slice or window.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::aggregate::Phase;
use super::part::{Part, concat_parts};
use super::program::Program;
use super::spill::Spill;
use super::table::{Groups, Scratch, Table, merge_parts};
use crate::error::Result;

/// Rows after which a pane is measured again though its groups do not grow: lists may.
const MEASURE_ROWS: usize = 1 << 16;
/// Parts of a pane that are kept apart; more are merged at the next snapshot.
const PARTS_MAX: usize = 8;

/// An open table, and parts that a snapshot or a merge has rotated out of it.
#[derive(Debug, Default)]
pub(super) struct Pane {
    table: Option<Table>,
    pub(super) parts: Vec<Arc<Part>>,
    /// How many of the parts, from the first, are in a snapshot already.
    pub(super) persisted: usize,
    pub(super) bytes: usize,
    /// When it got rows last, in rounds of its operator.
    pub(super) used: u64,
    measured_groups: usize,
    rows_since_measured: usize,
}

impl Pane {
    pub(super) fn add(
        &mut self,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.rows_since_measured += rows;
        if program.sorted {
            self.parts.push(Arc::new(Part::new(columns.to_vec(), rows)));
            return Ok(());
        }
        let table = match &mut self.table {
            Some(table) => table,
            None => self.table.insert(Table::new(program, scratch)?),
        };
        if program.phase == Phase::Final {
            table.merge(program, columns, rows, scratch)
        } else {
            table.update(program, columns, rows, scratch)
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.table.as_ref().map_or(0, Table::groups)
    }

    /// Measures when it must have changed by a good part.
    pub(super) fn measure_if_grown(&mut self) {
        let groups = self.groups();
        if self.bytes == 0
            || groups > self.measured_groups + self.measured_groups / 4
            || self.rows_since_measured >= MEASURE_ROWS
        {
            self.measure();
        }
    }

    pub(super) fn measure(&mut self) {
        self.measured_groups = self.groups();
        self.rows_since_measured = 0;
        self.bytes = self.table.as_ref().map_or(0, Table::bytes)
            + self.parts.iter().map(|p| p.bytes).sum::<usize>()
            + size_of::<Self>();
    }

    /// Turns the open table into a part: `state` consumes it.
    pub(super) fn rotate(&mut self, program: &Program, scratch: &mut Scratch) -> Result<()> {
        if let Some(table) = self.table.take() {
            self.parts
                .push(Arc::new(table.into_part(program, scratch)?));
        }
        Ok(())
    }

    /// Rotates in order to be read while the pane goes on: what no snapshot has yet is kept
    /// together, however often that happens.
    pub(super) fn close_table(&mut self, program: &Program, scratch: &mut Scratch) -> Result<()> {
        if self.table.is_none() {
            return Ok(());
        }
        self.rotate(program, scratch)?;
        if !program.sorted {
            self.merge_from(self.persisted, program, scratch)?;
        }
        self.measure();
        Ok(())
    }

    /// Makes one part of the last ones, from a place on, if they are many. What is on disk stays.
    pub(super) fn merge_from(
        &mut self,
        from: usize,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let on_disk = self.parts.iter().rposition(|part| part.disk.is_some());
        let from = from.max(on_disk.map_or(0, |at| at + 1));
        if self.parts.len() <= from + PARTS_MAX {
            return Ok(());
        }
        let last = self.parts.split_off(from);
        let one = if program.sorted {
            concat_parts(&last)?
        } else {
            merge_parts(program, &last, scratch)?.into_part(program, scratch)?
        };
        self.parts.push(Arc::new(one));
        Ok(())
    }

    /// Writes what is in memory into a file, in cuts once the pane is large.
    pub(super) fn spill(
        &mut self,
        file: &mut Spill,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.rotate(program, scratch)?;
        let mut rows = 0;
        for part in &mut self.parts {
            rows += part.rows;
            if part.disk.is_none() {
                *part = Arc::new(file.write(program, part, rows)?);
            }
        }
        self.measure();
        Ok(())
    }

    /// Whether there is something to put on disk.
    pub(super) fn is_in_memory(&self) -> bool {
        self.table.is_some() || self.parts.iter().any(|part| part.disk.is_none())
    }

    /// Whether it is so large that it was cut when it was put on disk.
    pub(super) fn is_cut(&self) -> bool {
        let cut = |part: &Arc<Part>| part.disk.as_ref().is_some_and(|disk| disk.is_cut());
        self.parts.iter().any(cut)
    }

    /// Gives the results of a pane that is a window by itself.
    pub(super) fn into_results(
        mut self,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<Groups> {
        if self.parts.is_empty()
            && let Some(table) = self.table.take()
        {
            return table.into_results(scratch);
        }
        self.rotate(program, scratch)?;
        merge_parts(program, &self.parts, scratch)?.into_results(scratch)
    }

    /// Rows and groups of the open table: how much it has saved.
    pub(super) fn saving(&self) -> (u64, usize) {
        (self.table.as_ref().map_or(0, Table::rows), self.groups())
    }

    /// Gives the partial states.
    pub(super) fn into_parts(
        mut self,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<Vec<Arc<Part>>> {
        self.rotate(program, scratch)?;
        Ok(self.parts)
    }
}
