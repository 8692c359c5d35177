//! Sums of neighbouring slices, so that overlapping windows do not merge the same slices again.
//!
//! A block of level n holds 2^n slices and starts at a multiple of 2^n; a window is the sum of at
//! most two blocks per level. A block is merged when a window first needs it, from blocks of the
//! level below. Where merging saves nothing, since slices share few keys, the block is noted as
//! split and its halves are used, so that many keys do not cost memory once per level.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::panes::Panes;
use super::part::Part;
use super::program::Program;
use super::spec::{Span, WindowSpec};
use super::table::{Scratch, merge_parts};
use crate::error::Result;

/// Merged blocks of the slices of HOP and CUMULATE windows.
#[derive(Debug)]
pub(super) struct Blocks {
    spec: WindowSpec,
    levels: u32,
    /// By the number of the first slice, then by level.
    blocks: BTreeMap<(i64, u32), Block>,
    bytes: usize,
}

#[derive(Debug)]
enum Block {
    Merged(Arc<Part>),
    /// Merging saves too little.
    Split,
}

/// What a merge works with.
pub(super) struct Work<'a> {
    pub(super) panes: &'a mut Panes,
    pub(super) program: &'a Program,
    pub(super) scratch: &'a mut Scratch,
}

impl Blocks {
    pub(super) fn new(spec: WindowSpec) -> Self {
        // A block of more than half a window would be used too few times to pay.
        let levels = (spec.slices_per_window() / 2).checked_ilog2().unwrap_or(0);
        Self {
            spec,
            levels,
            blocks: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Bytes of merged blocks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives parts whose sum is a window.
    pub(super) fn parts(&mut self, window: Span, work: &mut Work<'_>) -> Result<Vec<Arc<Part>>> {
        // What is on disk must not come back into memory as a block.
        if self.levels == 0 || work.program.sorted || work.panes.on_disk() {
            return work
                .panes
                .parts_within(window.start, window.end, work.program, work.scratch);
        }
        let mut parts = Vec::new();
        let mut first = self.spec.slice_number(window.start);
        let end = self.spec.slice_number(window.end);
        while first < end {
            let fits = (end - first).unsigned_abs().checked_ilog2().unwrap_or(0);
            let level = first.trailing_zeros().min(fits).min(self.levels);
            self.gather(first, level, work, &mut parts)?;
            first += 1 << level;
        }
        Ok(parts)
    }

    fn gather(
        &mut self,
        first: i64,
        level: u32,
        work: &mut Work<'_>,
        out: &mut Vec<Arc<Part>>,
    ) -> Result<()> {
        let start = self.spec.slice_start(first);
        let end = self.spec.slice_start(first + (1 << level));
        if level == 0 {
            out.extend(
                work.panes
                    .parts_within(start, end, work.program, work.scratch)?,
            );
            return Ok(());
        }
        if !work.panes.any_within(start, end) {
            return Ok(());
        }
        let known = self.blocks.get(&(first, level));
        if let Some(Block::Merged(part)) = known {
            out.push(Arc::clone(part));
            return Ok(());
        }
        let known = known.is_some();
        let mut halves = Vec::new();
        let middle = first + (1 << (level - 1));
        self.gather(first, level - 1, work, &mut halves)?;
        self.gather(middle, level - 1, work, &mut halves)?;
        let split = |at| matches!(self.blocks.get(&(at, level - 1)), Some(Block::Split));
        if known || halves.len() < 2 {
            out.append(&mut halves);
        } else if split(first) || split(middle) {
            self.blocks.insert((first, level), Block::Split);
            out.append(&mut halves);
        } else {
            let rows: usize = halves.iter().map(|p| p.rows).sum();
            let merged = merge_parts(work.program, &halves, work.scratch)?;
            let saves = merged.groups() <= rows - rows / 4;
            let merged = Arc::new(merged.into_part(work.program, work.scratch)?);
            if saves {
                self.bytes += merged.bytes;
                out.push(Arc::clone(&merged));
                self.blocks.insert((first, level), Block::Merged(merged));
            } else {
                self.blocks.insert((first, level), Block::Split);
                out.append(&mut halves);
            }
        }
        Ok(())
    }

    /// Drops all blocks: they can be merged again.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
    }

    /// A slice has got another row: blocks with it are merged again when they are needed.
    pub(super) fn changed(&mut self, slice_start: i64) {
        let number = self.spec.slice_number(slice_start);
        for level in 1..=self.levels {
            let first = (number >> level) << level;
            if let Some(Block::Merged(part)) = self.blocks.remove(&(first, level)) {
                self.bytes = self.bytes.saturating_sub(part.bytes);
            }
        }
    }

    /// Drops the blocks that no window needs which ends after a watermark.
    pub(super) fn evict(&mut self, watermark: i64) {
        while let Some(entry) = self.blocks.first_entry() {
            if self.spec.last_end(self.spec.slice_start(entry.key().0)) > watermark {
                break;
            }
            if let Block::Merged(part) = entry.remove() {
                self.bytes = self.bytes.saturating_sub(part.bytes);
            }
        }
    }
}
