//! The running window aggregation of one subtask.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::aggregate::Phase;
use super::blocks::Blocks;
use super::closing::Open;
use super::columns::Evaluator;
use super::emit::Emit;
use super::late;
use super::lent::Lent;
use super::local::Saving;
use super::memory::memory_error;
use super::panes::Panes;
use super::program::Program;
use super::results::Collector;
use super::split::{Share, Split, split};
use super::state::{self, Past, is_over};
use super::table::Scratch;
use super::updates::Updates;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::LateRows;
use crate::limits;
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Result<Box<dyn Operator>> {
    let name = format!("window aggregation {} #{}", context.node, context.subtask);
    let local = program.phase == Phase::Local;
    let memory = MemoryConsumer::new(name)
        .with_can_spill(!local)
        .register(&context.job.memory);
    Ok(Box::new(WindowAggregate {
        panes: Panes::default(),
        blocks: program.merging().map(Blocks::new),
        saving: local.then(|| Saving::new(program)).transpose()?,
        scratch: Scratch::of(memory.new_empty()),
        evaluator: Evaluator::default(),
        collector: Collector::new(program.schema(), context.job.batch_rows),
        updates: (!local && program.firing.is_updating()).then(Updates::default),
        watermark: i64::MIN,
        late: LateRows::new(context, &program.sources),
        closing: None,
        open: None,
        batch_rows: context.job.batch_rows.max(1),
        disk: Arc::clone(&context.job.datafusion.runtime_env().disk_manager),
        past: Vec::new(),
        lent: Lent::default(),
        memory,
        metrics: Arc::clone(&context.metrics),
        program: Arc::clone(program),
    }))
}

/// Panes, and what closes them.
#[derive(Debug)]
pub(super) struct WindowAggregate {
    pub(super) program: Arc<Program>,
    pub(super) panes: Panes,
    pub(super) blocks: Option<Blocks>,
    pub(super) saving: Option<Saving>,
    pub(super) updates: Option<Updates>,
    pub(super) scratch: Scratch,
    evaluator: Evaluator,
    pub(super) collector: Collector,
    pub(super) watermark: i64,
    late: LateRows,
    /// A watermark whose windows are not all given yet, and the one of them that is being given.
    closing: Option<i64>,
    pub(super) open: Option<Open>,
    pub(super) batch_rows: usize,
    pub(super) disk: Arc<DiskManager>,
    /// What earlier subtasks left, until there is somewhere to send results to.
    pub(super) past: Vec<Past>,
    /// What snapshots hold that are not written yet.
    pub(super) lent: Lent,
    pub(super) memory: MemoryReservation,
    pub(super) metrics: Arc<SubtaskMetrics>,
}

impl Operator for WindowAggregate {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        let split = split(&batch, self.program.assign)?;
        let live = self.live(&batch, &split)?;
        if live.is_empty() {
            return Ok(());
        }
        if let Some(saving) = self.saving.as_mut().filter(|s| s.passes()) {
            let passed = saving.pass(&self.program, &mut self.evaluator, &batch, &split, &live)?;
            if let Some(states) = passed {
                self.collector.push(states, out)?;
                return self.collector.flush(out);
            }
        }
        self.add(&batch, &split, &live)?;
        if self.program.firing.is_updating() {
            if self.saving.is_some() {
                self.hand_on_due(out)?;
            } else {
                live.iter().for_each(|share| self.touch(share.pane));
                self.fire_due(out)?;
            }
        }
        self.settle(out)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        if watermark.0 <= self.watermark {
            return Ok(());
        }
        self.advance(watermark.0, out)?;
        self.settle(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        match self.closing {
            Some(watermark) => {
                self.advance(watermark, out)?;
                self.settle(out)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.catch_up(out)?;
        if self.saving.is_none() {
            return self.fire_at(now_micros, out);
        }
        match self.program.firing.emit {
            Emit::Every(_) => self.hand_on(out),
            Emit::OnClose | Emit::OnUpdate => Ok(()),
        }
    }

    fn snapshot(&mut self, extent: Extent, out: &mut Output) -> Result<StateBatches> {
        self.catch_up(out)?;
        if self.saving.is_some() {
            // Nothing is kept over a barrier, so that nothing has to be found again by key.
            self.hand_on(out)?;
            self.settle(out)?;
            return Ok(Box::new(std::iter::empty()));
        }
        self.prepare(extent)?;
        state::snapshot(self, extent)
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let mut past = Past::default();
        for batch in state {
            state::restore(&self.program, &mut past, &batch?, groups)?;
            // It is accounted, and spilled, with the others.
            self.past.push(past);
            let done = self.account_or_spill();
            past = self.past.pop().unwrap_or_default();
            done?;
        }
        self.past.push(past);
        Ok(())
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.watermark(EventTime::MAX, out)
    }
}

impl WindowAggregate {
    /// Takes over what earlier subtasks left. Their watermarks may differ, where sources were idle:
    /// each one's windows are closed up to the highest first, so that no window of any key gives
    /// its results twice or never.
    fn catch_up(&mut self, out: &mut Output) -> Result<()> {
        if self.past.is_empty() {
            return Ok(());
        }
        let past = std::mem::take(&mut self.past);
        let highest = past
            .iter()
            .map(|p| p.watermark)
            .fold(self.watermark, i64::max);
        for Past {
            panes,
            given,
            watermark,
        } in past
        {
            let own = std::mem::replace(&mut self.panes, panes);
            let kept = self.updates.as_mut().map(|u| std::mem::take(&mut u.given));
            self.take_given(given)?;
            self.watermark = watermark;
            if watermark < highest {
                self.advance(highest, out)?;
                while self.resume(out)? {}
                self.blocks = self.program.merging().map(Blocks::new);
            }
            self.panes.absorb(own)?;
            if let Some(kept) = kept {
                self.take_given(kept)?;
            }
        }
        self.watermark = highest;
        for pane in self.panes.ids() {
            self.touch(pane);
        }
        self.settle(out)
    }

    /// Adds rows to their panes.
    fn add(&mut self, batch: &RecordBatch, split: &Split, live: &[Share]) -> Result<()> {
        let columns = self
            .evaluator
            .columns(&self.program, batch, split.order.as_ref())?;
        let whole = split.order.is_none();
        for share in live {
            let (program, scratch) = (&self.program, &mut self.scratch);
            // Windows that gave results, or will, may have read the pane already.
            let read = share.pane.end <= self.watermark || self.updates.is_some();
            if let Some(blocks) = self.blocks.as_mut().filter(|_| read) {
                blocks.changed(share.pane.start);
            }
            if whole && share.rows == batch.num_rows() {
                self.panes
                    .add(share.pane, program, &columns, share.rows, scratch)?;
                continue;
            }
            let columns: Vec<_> = columns
                .iter()
                .map(|c| c.slice(share.offset, share.rows))
                .collect();
            self.panes
                .add(share.pane, program, &columns, share.rows, scratch)?;
        }
        Ok(())
    }

    /// Goes on to a watermark: gives the results of what it closes.
    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<()> {
        let done = if self.updates.is_some() {
            self.advance_updating(watermark, out)?;
            true
        } else {
            self.close(watermark, out)?
        };
        self.closing = (!done).then_some(watermark);
        if done {
            self.watermark = watermark;
        }
        self.collector.flush(out)
    }

    /// The shares that are not late. Late rows and rows without a time are kept as dead letters.
    fn live(&self, batch: &RecordBatch, split: &Split) -> Result<Vec<Share>> {
        let over = |share: &&Share| is_over(&self.program, share.pane, self.watermark);
        if split.dropped == 0 && !split.shares.iter().any(|share| over(&share)) {
            return Ok(split.shares.clone());
        }
        let shares = split.shares.iter();
        let live: Vec<Share> = shares.filter(|share| !over(share)).copied().collect();
        late::keep(
            &self.late,
            &self.program,
            batch,
            split,
            &live,
            self.watermark,
        )?;
        Ok(live)
    }

    /// Accounts the state; holds its bounds, in the local phase by handing everything on.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        let many_panes = self.panes.len() > limits::PANES_MAX;
        if self.saving.is_some() {
            let many_groups = self.panes.groups() > limits::PRE_AGGREGATE_GROUPS_MAX
                || self.panes.bytes() > limits::PRE_AGGREGATE_BYTES_MAX;
            if many_panes || many_groups || self.account().is_err() {
                self.hand_on(out)?;
                self.account()
                    .map_err(|error| memory_error(error, self.bytes()))?;
            }
            return Ok(());
        }
        if many_panes {
            return Err(Error::new(
                Kind::Limit,
                codes::LIMIT,
                format!(
                    "a window aggregation has {} open windows or slices",
                    self.panes.len()
                ),
            )
            .detail(format!(
                "at most {} are kept per subtask",
                limits::PANES_MAX
            ))
            .hint("choose longer windows, or a watermark with less delay"));
        }
        self.account_or_spill()
    }

    /// Gives all partial states on, before their panes are over.
    fn hand_on(&mut self, out: &mut Output) -> Result<()> {
        while let Some((id, pane)) = self.panes.pop_if(|_| true) {
            self.close_pane(id, pane, out)?;
        }
        self.collector.flush(out)
    }

    /// Gives on what results wait for: all, or what has come for windows that are closed.
    fn hand_on_due(&mut self, out: &mut Output) -> Result<()> {
        let upto = match self.program.firing.emit {
            Emit::OnUpdate => i64::MAX,
            Emit::OnClose | Emit::Every(_) => self.watermark,
        };
        while let Some((id, pane)) = self.panes.pop_if(|id| id.end <= upto) {
            self.close_pane(id, pane, out)?;
        }
        self.collector.flush(out)
    }
}
