//! All panes of an operator, in order of their ends, with their sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion_execution::disk_manager::DiskManager;

use super::pane::Pane;
use super::part::Part;
use super::program::Program;
use super::spill::Spill;
use super::split::PaneId;
use super::table::Scratch;
use crate::error::Result;
use crate::operator::Extent;

/// All panes of an operator with their sizes.
#[derive(Debug, Default)]
pub(super) struct Panes {
    panes: BTreeMap<PaneId, Pane>,
    bytes: usize,
    groups: usize,
    rounds: u64,
    spilled: bool,
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

    /// Whether any pane has parts on disk.
    pub(super) fn on_disk(&self) -> bool {
        self.spilled
    }

    /// Puts panes on disk, those first that have not got rows for longest, until what is left in
    /// memory is no more than some bytes.
    pub(super) fn spill(
        &mut self,
        keep: usize,
        disk: &Arc<DiskManager>,
        program: &Program,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let in_memory = self.panes.iter().filter(|(_, pane)| pane.is_in_memory());
        let mut by_use: Vec<(u64, PaneId)> = in_memory.map(|(id, pane)| (pane.used, *id)).collect();
        if by_use.is_empty() {
            return Ok(());
        }
        by_use.sort_unstable();
        let mut file = Spill::create(disk, program)?;
        for (_, id) in by_use {
            if self.bytes <= keep {
                break;
            }
            self.change(id, |pane| pane.spill(&mut file, program, scratch))?;
        }
        // Key tables that were emptied keep their room.
        scratch.forget();
        self.spilled = true;
        file.finish()
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
        self.rounds += 1;
        let round = self.rounds;
        self.change(id, |pane| {
            pane.used = round;
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
            pane.given_back = pane.parts.len();
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
        self.spilled |= from.spilled;
        while let Some((id, pane)) = from.pop_if(|_| true) {
            self.change(id, |own| {
                own.parts.extend(pane.parts);
                own.persisted = own.parts.len();
                own.given_back = own.parts.len();
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

    /// Bytes of memory of what the next snapshot holds, about.
    pub(super) fn unsaved_bytes(&self, extent: Extent) -> usize {
        if extent == Extent::All {
            return self.bytes;
        }
        self.panes.values().map(Pane::unsaved_bytes).sum()
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
                // What is merged is in an earlier snapshot, whose files are written: the new parts
                // are shared with this one, and are not in memory twice.
                pane.compact(program, scratch)?;
                pane.rotate(program, scratch)?;
                let known = if extent == Extent::All {
                    0
                } else {
                    pane.persisted
                };
                let new = pane.parts.iter().skip(known);
                parts.extend(new.map(|part| (id, Arc::clone(part))));
                pane.persisted = pane.parts.len();
                pane.measure();
                Ok(())
            })?;
        }
        Ok(parts)
    }
}
