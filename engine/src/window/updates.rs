//! Results that change after they were given: early ones, and those of windows that are kept for
//! late rows. When a window is to give its results again, they are computed anew from its panes,
//! and what has changed since comes out as a changelog.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::aggregate::Assign;
use super::blocks::Work;
use super::emit::{Emit, Firing};
use super::given::Given;
use super::length::Length;
use super::operator::WindowAggregate;
use super::spec::{Span, WindowKind};
use super::split::PaneId;
use super::table::merge_parts;
use crate::error::{Error, Kind, Result, codes};
use crate::operator::Output;

/// What an operator with updated results keeps besides its panes.
#[derive(Debug, Default)]
pub(super) struct Updates {
    pub(super) given: Given,
    /// Windows with rows that their results don't have yet; only those that are to give them
    /// before the watermark closes them, or were closed.
    dirty: BTreeSet<PaneId>,
    /// The time of day at which results are given next.
    next: i64,
}

impl WindowAggregate {
    /// A pane has got rows: notes the windows that have to give their results again.
    pub(super) fn touch(&mut self, pane: PaneId) {
        let (firing, watermark) = (self.program.firing, self.watermark);
        let Some(updates) = &mut self.updates else {
            return;
        };
        let due = |window: &PaneId| {
            let closed = window.end <= watermark;
            firing.gone(window.end) > watermark && (closed || firing.emit != Emit::OnClose)
        };
        match self.program.assign {
            Assign::Time { spec, .. } if !matches!(spec.kind(), WindowKind::Tumble { .. }) => {
                let windows = spec.windows(pane.start).map(|w| PaneId {
                    end: w.end,
                    start: w.start,
                });
                updates.dirty.extend(windows.filter(due));
            }
            _ => updates.dirty.extend(Some(pane).filter(due)),
        }
    }

    /// Gives the results that do not wait for the time of day.
    pub(super) fn fire_due(&mut self, out: &mut Output) -> Result<()> {
        let upto = match self.program.firing.emit {
            Emit::OnUpdate => i64::MAX,
            Emit::OnClose | Emit::Every(_) => self.watermark,
        };
        self.fire_dirty(upto, out)
    }

    /// Gives the results of windows that have changed and end no later than `upto`.
    fn fire_dirty(&mut self, upto: i64, out: &mut Output) -> Result<()> {
        let Some(updates) = &mut self.updates else {
            return Ok(());
        };
        while let Some(window) = updates.dirty.first().copied().filter(|w| w.end <= upto) {
            updates.dirty.remove(&window);
            fire(
                updates,
                window,
                &mut self.blocks,
                &mut Work {
                    panes: &mut self.panes,
                    program: &self.program,
                    scratch: &mut self.scratch,
                },
                &mut |batch| self.collector.push(batch, out),
            )?;
        }
        self.collector.flush(out)
    }

    /// Gives the results of the windows that a watermark closes, and forgets those that take no
    /// more rows.
    pub(super) fn advance_updating(&mut self, watermark: i64, out: &mut Output) -> Result<()> {
        let Some(updates) = &mut self.updates else {
            return Ok(());
        };
        if self.program.firing.emit == Emit::OnClose {
            match self.program.merging() {
                None => {
                    let closed = self.panes.ids_ending(self.watermark, watermark);
                    updates.dirty.extend(closed);
                }
                Some(spec) => {
                    let mut done = self.watermark;
                    let panes = &self.panes;
                    while let Some(window) =
                        spec.next_window(done, watermark, |from| panes.first_from(from))
                    {
                        let (start, end) = (window.start, window.end);
                        updates.dirty.insert(PaneId { end, start });
                        done = end;
                    }
                }
            }
        }
        self.fire_dirty(watermark, out)?;
        let firing = self.program.firing;
        if let Some(updates) = &mut self.updates {
            updates.given.expire(firing, watermark);
        }
        let program = Arc::clone(&self.program);
        // Panes come in order of their ends, which is not that of their last windows' ends.
        while self
            .panes
            .pop_if(|id| super::state::is_over(&program, id, watermark))
            .is_some()
        {}
        if let Some(blocks) = &mut self.blocks {
            blocks.evict(watermark.saturating_sub(firing.allowed_lateness));
        }
        Ok(())
    }

    /// Gives early results when it is their time.
    pub(super) fn fire_at(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        let Emit::Every(every) = self.program.firing.emit else {
            return Ok(());
        };
        if let Some(updates) = self.updates.as_mut().filter(|u| u.next <= now_micros) {
            updates.next = now_micros.saturating_add(every.max(1));
            self.fire_dirty(i64::MAX, out)?;
        }
        Ok(())
    }

    /// Takes over what an earlier subtask gave, which may not be all that its panes would give.
    pub(super) fn take_given(&mut self, given: Given) -> Result<()> {
        let program = Arc::clone(&self.program);
        if let Some(updates) = &mut self.updates {
            updates.given.absorb(&program, given)?;
        }
        Ok(())
    }
}

/// Refuses results that cannot be compared with earlier ones, where they are updated.
pub(super) fn check(firing: Firing, columns: &[FieldRef]) -> Result<()> {
    if let Emit::Every(every) = firing.emit
        && every <= 0
    {
        return Err(Error::new(
            Kind::Invalid,
            codes::WINDOW,
            "EMIT EVERY needs a positive interval",
        )
        .detail(format!("it is {}", Length(every)))
        .hint("write an interval such as INTERVAL '10 seconds'"));
    }
    if !firing.is_updating() {
        return Ok(());
    }
    let unlike = |field: &&FieldRef| {
        !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())])
    };
    match columns.iter().find(unlike) {
        None => Ok(()),
        Some(field) => Err(Error::new(
            Kind::Invalid,
            codes::WINDOW,
            format!("results with \"{}\" cannot be updated", field.name()),
        )
        .detail(format!(
            "values of type {} cannot be compared",
            field.data_type()
        ))
        .hint("use EMIT ON WINDOW CLOSE without allowed_lateness")),
    }
}

fn fire(
    updates: &mut Updates,
    window: PaneId,
    blocks: &mut Option<super::blocks::Blocks>,
    work: &mut Work<'_>,
    push: &mut impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let (start, end) = (window.start, window.end);
    let parts = match blocks {
        Some(blocks) => blocks.parts(Span { start, end }, work)?,
        None => work.panes.parts_of(window, work.program, work.scratch)?,
    };
    if parts.is_empty() {
        return Ok(());
    }
    let groups = merge_parts(work.program, &parts, work.scratch)?.into_results(work.scratch)?;
    match updates.given.update(work.program, window, groups)? {
        Some(batch) => push(batch),
        None => Ok(()),
    }
}
