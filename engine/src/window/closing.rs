//! The end of windows: their results, in order, and not much more of them at once than a batch where
//! the windows are larger than memory.

use std::sync::Arc;

use super::aggregate::Assign;
use super::blocks::Work;
use super::operator::WindowAggregate;
use super::pane::Pane;
use super::part::Part;
use super::program::Program;
use super::results;
use super::spec::Span;
use super::spill::{CUTS, cuts_of, rows_of_cut};
use super::split::PaneId;
use super::table::{Groups, Scratch, Table, merge_parts};
use crate::error::Result;
use crate::operator::Output;

/// A window that is being given, cut by cut.
#[derive(Debug)]
pub(super) struct Open {
    window: Span,
    parts: Vec<Arc<Part>>,
    /// The cut of each row of the parts that were not cut.
    cuts: Vec<Option<Vec<u8>>>,
    next: usize,
}

impl Open {
    fn new(program: &Program, window: Span, parts: Vec<Arc<Part>>) -> Result<Self> {
        let mut whole = Vec::with_capacity(parts.len());
        let mut cuts = Vec::with_capacity(parts.len());
        for part in parts {
            if part.disk.as_ref().is_some_and(|disk| disk.is_cut()) {
                whole.push(part);
                cuts.push(None);
                continue;
            }
            // Small, or in memory anyway.
            for piece in part.pieces() {
                let (columns, rows) = piece?;
                cuts.push(Some(cuts_of(program, &columns, rows)?));
                whole.push(Arc::new(Part::new(columns, rows)));
            }
        }
        Ok(Self {
            window,
            parts: whole,
            cuts,
            next: 0,
        })
    }

    /// Bytes of the parts in memory.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The results of the next cut.
    fn step(&mut self, program: &Program, scratch: &mut Scratch) -> Result<Option<Groups>> {
        if self.next >= CUTS {
            return Ok(None);
        }
        let cut = self.next;
        self.next += 1;
        let mut own = Vec::new();
        for (part, cuts) in self.parts.iter().zip(&self.cuts) {
            match (cuts, &part.disk) {
                (Some(cuts), _) => {
                    let (columns, rows) = rows_of_cut(&part.columns, cuts, cut)?;
                    own.push(Arc::new(Part::new(columns, rows)));
                }
                (None, Some(disk)) => {
                    for piece in disk.read(Some(cut)) {
                        let (columns, rows) = piece?;
                        own.push(Arc::new(Part::new(columns, rows)));
                    }
                }
                (None, None) => {}
            }
        }
        own.retain(|part| part.rows > 0);
        if own.is_empty() {
            return self.step(program, scratch);
        }
        Ok(Some(
            merge_parts(program, &own, scratch)?.into_results(scratch)?,
        ))
    }
}

impl WindowAggregate {
    /// Gives the results of the windows up to a watermark; says whether all were given. Where
    /// nothing is on disk they always are.
    pub(super) fn close(&mut self, watermark: i64, out: &mut Output) -> Result<bool> {
        let limit = self.batch_rows;
        let mut rows = 0;
        loop {
            while let Some(open) = &mut self.open {
                let Some(groups) = open.step(&self.program, &mut self.scratch)? else {
                    self.open = None;
                    break;
                };
                rows += groups.rows;
                let batch = results::results(&self.program, open.window, &groups)?;
                self.collector.push(batch, out)?;
                if rows >= limit {
                    return Ok(false);
                }
            }
            let given = if self.blocks.is_some() {
                self.close_window(watermark, out)?
            } else {
                let next = self.panes.pop_if(|id| id.end <= watermark);
                next.map(|(id, pane)| self.close_pane(id, pane, out))
                    .transpose()?
            };
            let Some(given) = given else {
                return Ok(true);
            };
            rows += given;
            if rows >= limit && self.panes.on_disk() {
                return Ok(false);
            }
        }
    }

    /// Closes a pane that is a window by itself, or hands its partial states on. Gives the rows.
    pub(super) fn close_pane(&mut self, id: PaneId, pane: Pane, out: &mut Output) -> Result<usize> {
        let (program, scratch) = (&self.program, &mut self.scratch);
        let Some(saving) = &mut self.saving else {
            let window = Span {
                start: id.start,
                end: id.end,
            };
            if pane.is_cut() {
                let parts = pane.into_parts(program, scratch)?;
                self.open = Some(Open::new(program, window, parts)?);
                return Ok(0);
            }
            let groups = pane.into_results(program, scratch)?;
            let batch = results::results(program, window, &groups)?;
            self.collector.push(batch, out)?;
            return Ok(groups.rows);
        };
        let (rows, groups) = pane.saving();
        saving.finished(rows, groups);
        for part in pane.into_parts(program, scratch)? {
            self.collector
                .push(results::states(program, id, &part)?, out)?;
        }
        Ok(0)
    }

    /// Gives the next window that a watermark closes, and drops what no later one needs. Gives
    /// the rows; `None` when there is none.
    fn close_window(&mut self, watermark: i64, out: &mut Output) -> Result<Option<usize>> {
        let (Some(blocks), Assign::Time { spec, .. }) = (&mut self.blocks, self.program.assign)
        else {
            return Ok(None);
        };
        let panes = &self.panes;
        let next = spec.next_window(self.watermark, watermark, |from| panes.first_from(from));
        let Some(window) = next else {
            while self
                .panes
                .pop_if(|id| spec.last_end(id.start) <= watermark)
                .is_some()
            {}
            return Ok(None);
        };
        let mut work = Work {
            panes: &mut self.panes,
            program: &self.program,
            scratch: &mut self.scratch,
        };
        let parts = blocks.parts(window, &mut work)?;
        let cut = |part: &Arc<Part>| part.disk.as_ref().is_some_and(|disk| disk.is_cut());
        let mut rows = 0;
        if parts.iter().any(cut) {
            self.open = Some(Open::new(&self.program, window, parts)?);
        } else {
            let merged: Table = merge_parts(&self.program, &parts, &mut self.scratch)?;
            let groups = merged.into_results(&mut self.scratch)?;
            rows = groups.rows;
            self.collector
                .push(results::results(&self.program, window, &groups)?, out)?;
        }
        self.watermark = window.end;
        while self
            .panes
            .pop_if(|id| spec.last_end(id.start) <= window.end)
            .is_some()
        {}
        blocks.evict(window.end);
        Ok(Some(rows))
    }
}
