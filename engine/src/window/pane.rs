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
    /// How many of the parts, from the first, were given back at the start: pieces of what once
    /// was together, which have few groups in common.
    pub(super) given_back: usize,
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

    /// Bytes of what no snapshot has, as last measured.
    pub(super) fn unsaved_bytes(&self) -> usize {
        let saved = self.parts.iter().take(self.persisted);
        let saved: usize = saved.map(|part| part.bytes).sum();
        self.bytes.saturating_sub(saved)
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
        let from = self.persisted.max(self.first_in_memory());
        if !program.sorted && self.parts.len() > from + PARTS_MAX {
            self.merge(from, self.parts.len(), program, scratch)?;
        }
        self.measure();
        Ok(())
    }

    /// Makes one part of the last ones that a snapshot has, if they are many and memory suffices.
    pub(super) fn compact(&mut self, program: &Program, scratch: &mut Scratch) -> Result<()> {
        let upto = self.persisted.min(self.parts.len());
        if upto <= self.first_in_memory().max(self.given_back) + PARTS_MAX {
            return Ok(());
        }
        let known = self.parts.get(..upto).unwrap_or_default();
        let sizes: Vec<usize> = known.iter().map(|part| part.rows).collect();
        let from = first_to_merge(&sizes, self.given_back);
        let Some(room) = scratch.room(known.get(from..).unwrap_or_default()) else {
            return Ok(());
        };
        let merged = self.merge(from, upto, program, scratch);
        drop(room);
        merged
    }

    /// Makes one part of those of a range that are in memory: what is on disk stays.
    fn merge(
        &mut self,
        from: usize,
        upto: usize,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let from = from.max(self.first_in_memory());
        if from + 1 >= upto {
            return Ok(());
        }
        let later = self.parts.split_off(upto);
        let last = self.parts.split_off(from);
        let one = if program.sorted {
            concat_parts(&last)?
        } else {
            merge_parts(program, &last, scratch)?.into_part(program, scratch)?
        };
        let merged = last.len() - 1;
        self.parts.push(Arc::new(one));
        self.parts.extend(later);
        if self.persisted >= upto {
            self.persisted -= merged;
        }
        self.given_back = self.given_back.min(from);
        Ok(())
    }

    /// The place after the last part that is on disk.
    fn first_in_memory(&self) -> usize {
        let on_disk = self.parts.iter().rposition(|part| part.disk.is_some());
        on_disk.map_or(0, |at| at + 1)
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

/// The first of the parts of these sizes that is to be merged with all later ones. Each is as long
/// as the later ones are half as large together, so that a row is merged a few times and not at
/// each snapshot; those that were given back count as one.
fn first_to_merge(sizes: &[usize], given_back: usize) -> usize {
    let given_back = given_back.min(sizes.len());
    let (given, later) = sizes.split_at(given_back);
    let (mut first, mut rows) = (sizes.len(), 0);
    for size in later.iter().rev() {
        if rows > 0 && *size > 2 * rows {
            return first;
        }
        rows += size;
        first -= 1;
    }
    if given.iter().sum::<usize>() <= 2 * rows {
        0
    } else {
        first
    }
}

#[cfg(test)]
mod tests {
    use super::first_to_merge;

    #[test]
    fn a_large_part_waits_for_as_much() {
        for (sizes, given_back, expected) in [
            (&[5, 5, 5][..], 0, 0),
            (&[100, 5, 5, 5], 0, 1),
            (&[100, 20, 5, 5, 5], 0, 1),
            (&[100, 31, 5, 5, 5], 0, 2),
            (&[20, 5, 5], 0, 0),
            // Given back in pieces: together they are large.
            (&[10, 10, 10, 10, 5, 5], 4, 4),
            (&[10, 10, 10, 10, 10, 10], 4, 0),
            (&[10, 10], 2, 2),
            (&[], 0, 0),
        ] {
            assert_eq!(first_to_merge(sizes, given_back), expected, "{sizes:?}");
        }
    }
}
