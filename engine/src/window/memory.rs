//! The account of a window aggregation, and what goes to disk when memory is short.

use datafusion_common::DataFusionError;

use super::blocks::Blocks;
use super::closing::Open;
use super::operator::WindowAggregate;
use super::state::Past;
use crate::account;
use crate::error::{Error, Kind, Result, codes};
use crate::operator::Extent;

impl WindowAggregate {
    /// Accounts the state; puts panes on disk when there is no room for them.
    pub(super) fn account_or_spill(&mut self) -> Result<()> {
        if self.account().is_ok() {
            return Ok(());
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.clear();
        }
        let all =
            std::iter::once(&mut self.panes).chain(self.past.iter_mut().map(|p| &mut p.panes));
        for panes in all {
            // Half of it: what is used most stays, and the next spill is not the next batch's.
            let keep = panes.bytes() / 2;
            panes.spill(keep, &self.disk, &self.program, &mut self.scratch)?;
        }
        if self.account().is_ok() {
            return Ok(());
        }
        self.panes
            .spill(0, &self.disk, &self.program, &mut self.scratch)?;
        // What is on its way out of memory ends no job.
        let leaving = self.lent.bytes() + self.open.as_ref().map_or(0, Open::bytes);
        self.account_for(self.bytes().saturating_sub(leaving))
            .map_err(|error| memory_error(error, self.bytes()))
    }

    /// Puts panes on disk that a snapshot would hold, if there is not memory for them twice: rows
    /// that come next push them out while they are written.
    pub(super) fn prepare(&mut self, extent: Extent) -> Result<()> {
        let loan = self.lent.lend(self.panes.unsaved_bytes(extent));
        let fits = self.account().is_ok();
        drop(loan);
        if !fits {
            self.panes
                .spill(0, &self.disk, &self.program, &mut self.scratch)?;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let of_past = |past: &Past| past.panes.bytes() + past.given.bytes();
        self.panes.bytes()
            + self.blocks.as_ref().map_or(0, Blocks::bytes)
            + self.updates.as_ref().map_or(0, |u| u.given.bytes())
            + self.open.as_ref().map_or(0, Open::bytes)
            + self.lent.bytes()
            + self.past.iter().map(of_past).sum::<usize>()
    }

    pub(super) fn account(&self) -> std::result::Result<(), DataFusionError> {
        self.account_for(self.bytes())
    }

    fn account_for(&self, bytes: usize) -> std::result::Result<(), DataFusionError> {
        account::settle(&self.memory, &self.metrics, bytes)
    }
}

pub(super) fn memory_error(error: DataFusionError, bytes: usize) -> Error {
    Error::new(
        Kind::Limit,
        codes::MEMORY,
        "the open windows do not fit in memory",
    )
    .detail(format!("they take {} MiB in one subtask", bytes >> 20))
    .hint(
        "give the job more memory with --memory, or use shorter windows, fewer keys or a \
             watermark with less delay",
    )
    .caused_by(error)
}
