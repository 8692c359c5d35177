//! A pane: what is known of one slice or window. All panes of an operator, in order of their ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::aggregate::Phase;
use super::program::Program;
use super::split::PaneId;
use super::table::{Groups, Part, Scratch, Table, concat_parts, merge_parts};
use crate::error::Result;
use crate::operator::Extent;

/// Rows after which a pane is measured again though its groups do not grow: lists may.
const MEASURE_ROWS: usize = 1 << 16;
/// Parts of a pane that are kept apart; more are merged at the next snapshot.
const PARTS_MAX: usize = 8;

/// An open table, and parts that a snapshot or a merge has rotated out of it.
#[derive(Debug, Default)]
pub(super) struct Pane {
    table: Option<Table>,
    parts: Vec<Arc<Part>>,
    /// How many of the parts, from the first, are in a snapshot already.
    persisted: usize,
    bytes: usize,
    measured_groups: usize,
    rows_since_measured: usize,
}

impl Pane {
    fn add(
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

    fn groups(&self) -> usize {
        self.table.as_ref().map_or(0, Table::groups)
    }

    /// Measures when it must have changed by a good part.
    fn measure_if_grown(&mut self) {
        let groups = self.groups();
        if self.bytes == 0
            || groups > self.measured_groups + self.measured_groups / 4
            || self.rows_since_measured >= MEASURE_ROWS
        {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.measured_groups = self.groups();
        self.rows_since_measured = 0;
        self.bytes = self.table.as_ref().map_or(0, Table::bytes)
            + self.parts.iter().map(|p| p.bytes).sum::<usize>()
            + size_of::<Self>();
    }

    /// Turns the open table into a part: `state` consumes it.
    fn rotate(&mut self, program: &Program, scratch: &mut Scratch) -> Result<()> {
        if let Some(table) = self.table.take() {
            self.parts
                .push(Arc::new(table.into_part(program, scratch)?));
        }
        Ok(())
    }

    /// Rotates in order to be read while the pane goes on: what no snapshot has yet is kept
    /// together, however often that happens.
    fn close_table(&mut self, program: &Program, scratch: &mut Scratch) -> Result<()> {
        if self.table.is_none() {
            return Ok(());
        }
        self.rotate(program, scratch)?;
        if self.parts.len() > self.persisted + PARTS_MAX && !program.sorted {
            let new = self.parts.split_off(self.persisted);
            let one = merge_parts(program, &new, scratch)?.into_part(program, scratch)?;
            self.parts.push(Arc::new(one));
        }
        self.measure();
        Ok(())
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

/// All panes of an operator with their sizes.
#[derive(Debug, Default)]
pub(super) struct Panes {
    panes: BTreeMap<PaneId, Pane>,
    bytes: usize,
    groups: usize,
}

impl Panes {
    /// Panes that are open.
    pub(super) fn len(&self) -> usize {
        self.panes.len()
    }

    /// Bytes of memory of all panes, as last measured.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups of all open tables.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Adds rows to a pane; makes it when it is new.
    pub(super) fn add(
        &mut self,
        id: PaneId,
        program: &Program,
        columns: &[ArrayRef],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        self.change(id, |pane| {
            pane.add(program, columns, rows, scratch)?;
            pane.measure_if_grown();
            Ok(())
        })
    }

    /// Adds a part that a snapshot holds.
    pub(super) fn restore(&mut self, id: PaneId, part: Part) -> Result<()> {
        self.change(id, |pane| {
            pane.parts.push(Arc::new(part));
            pane.persisted = pane.parts.len();
            pane.measure();
            Ok(())
        })
    }

    /// Changes a pane and keeps the sums.
    fn change(&mut self, id: PaneId, change: impl FnOnce(&mut Pane) -> Result<()>) -> Result<()> {
        let pane = self.panes.entry(id).or_default();
        let (bytes, groups) = (pane.bytes, pane.groups());
        let done = change(pane);
        self.bytes = (self.bytes + pane.bytes).saturating_sub(bytes);
        self.groups = (self.groups + pane.groups()).saturating_sub(groups);
        done
    }

    /// The panes within a stretch of time, in order.
    fn ids_within(&self, start: i64, end: i64) -> impl Iterator<Item = PaneId> {
        let from = PaneId {
            end: start.saturating_add(1),
            start: i64::MIN,
        };
        let to = PaneId {
            end: end.max(start.saturating_add(1)),
            start: i64::MAX,
        };
        self.panes
            .range(from..=to)
            .map(|(id, _)| *id)
            .filter(move |id| id.end <= end)
    }

    /// Whether any pane is within a stretch of time.
    pub(super) fn any_within(&self, start: i64, end: i64) -> bool {
        self.ids_within(start, end).next().is_some()
    }

    /// The start of the first slice that starts at a time or later.
    pub(super) fn first_from(&self, time: i64) -> Option<i64> {
        let from = PaneId {
            end: time.saturating_add(1),
            start: i64::MIN,
        };
        self.panes.range(from..).next().map(|(id, _)| id.start)
    }

    /// Gives the parts of the panes within a stretch of time; open tables are rotated.
    pub(super) fn parts_within(
        &mut self,
        start: i64,
        end: i64,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<Vec<Arc<Part>>> {
        let ids: Vec<PaneId> = self.ids_within(start, end).collect();
        let mut parts = Vec::with_capacity(ids.len());
        for id in ids {
            self.change(id, |pane| {
                pane.close_table(program, scratch)?;
                parts.extend(pane.parts.iter().map(Arc::clone));
                Ok(())
            })?;
        }
        Ok(parts)
    }

    /// Takes the first pane out if it meets a condition.
    pub(super) fn pop_if(&mut self, done: impl FnOnce(PaneId) -> bool) -> Option<(PaneId, Pane)> {
        let entry = self
            .panes
            .first_entry()
            .filter(|entry| done(*entry.key()))?;
        let (id, pane) = entry.remove_entry();
        self.bytes = self.bytes.saturating_sub(pane.bytes);
        self.groups = self.groups.saturating_sub(pane.groups());
        Some((id, pane))
    }

    /// Takes panes over from an earlier subtask.
    pub(super) fn absorb(&mut self, mut from: Self) -> Result<()> {
        while let Some((id, pane)) = from.pop_if(|_| true) {
            self.change(id, |own| {
                own.parts.extend(pane.parts);
                own.persisted = own.parts.len();
                own.measure();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The names of all panes, in order.
    pub(super) fn ids(&self) -> Vec<PaneId> {
        self.panes.keys().copied().collect()
    }

    /// The panes that end after a time, up to and with another.
    pub(super) fn ids_ending(&self, after: i64, upto: i64) -> Vec<PaneId> {
        let end = |end, start| PaneId { end, start };
        if after >= upto {
            return Vec::new();
        }
        let range = self.panes.range(end(after, i64::MAX)..=end(upto, i64::MAX));
        range
            .map(|(id, _)| *id)
            .filter(|id| id.end > after)
            .collect()
    }

    /// Gives the parts of one pane; its open table is rotated.
    pub(super) fn parts_of(
        &mut self,
        id: PaneId,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<Vec<Arc<Part>>> {
        if !self.panes.contains_key(&id) {
            return Ok(Vec::new());
        }
        let mut parts = Vec::new();
        self.change(id, |pane| {
            pane.close_table(program, scratch)?;
            parts.extend(pane.parts.iter().map(Arc::clone));
            Ok(())
        })?;
        Ok(parts)
    }

    /// Puts panes back that were taken out.
    pub(super) fn put_back(&mut self, panes: Vec<(PaneId, Pane)>) {
        for (id, pane) in panes {
            self.bytes += pane.bytes;
            self.groups += pane.groups();
            self.panes.insert(id, pane);
        }
    }

    /// Gives the parts that no snapshot has yet, or all, and marks them. The panes go on.
    pub(super) fn persist(
        &mut self,
        extent: Extent,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<Vec<(PaneId, Arc<Part>)>> {
        let mut parts = Vec::new();
        for id in self.ids() {
            self.change(id, |pane| {
                pane.rotate(program, scratch)?;
                let known = if extent == Extent::All {
                    0
                } else {
                    pane.persisted
                };
                let new = pane.parts.iter().skip(known);
                parts.extend(new.map(|part| (id, Arc::clone(part))));
                if pane.parts.len() > PARTS_MAX {
                    let one = if program.sorted {
                        concat_parts(&pane.parts)?
                    } else {
                        merge_parts(program, &pane.parts, scratch)?.into_part(program, scratch)?
                    };
                    pane.parts = vec![Arc::new(one)];
                }
                pane.persisted = pane.parts.len();
                pane.measure();
                Ok(())
            })?;
        }
        Ok(parts)
    }
}
