//! The running window aggregation of one subtask.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::aggregate::{Assign, Phase};
use super::blocks::{Blocks, Work};
use super::columns::Evaluator;
use super::local::Saving;
use super::pane::{Pane, Panes};
use super::program::Program;
use super::results::{self, Collector};
use super::spec::Span;
use super::split::{PaneId, Share, Split, split};
use super::state;
use super::table::{Scratch, merge_parts};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::limits;
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// Bytes by which the state may differ from what is reserved: asking the pool for each batch would
/// be a lock that all subtasks share.
const ACCOUNT_BYTES: usize = 64 << 10;

/// Makes the operator of one subtask.
pub(super) fn create(program: &Arc<Program>, context: &TaskContext) -> Result<Box<dyn Operator>> {
    let name = format!("window aggregation {} #{}", context.node, context.subtask);
    let local = program.phase == Phase::Local;
    Ok(Box::new(WindowAggregate {
        panes: Panes::default(),
        blocks: program.merging().map(Blocks::new),
        saving: local.then(|| Saving::new(program)).transpose()?,
        scratch: Scratch::default(),
        evaluator: Evaluator::default(),
        collector: Collector::new(program.schema(), context.job.batch_rows),
        watermark: i64::MIN,
        flushed: false,
        memory: MemoryConsumer::new(name).register(&context.job.memory),
        metrics: Arc::clone(&context.metrics),
        program: Arc::clone(program),
    }))
}

/// Panes, and what closes them.
#[derive(Debug)]
pub(super) struct WindowAggregate {
    pub(super) program: Arc<Program>,
    pub(super) panes: Panes,
    blocks: Option<Blocks>,
    saving: Option<Saving>,
    pub(super) scratch: Scratch,
    evaluator: Evaluator,
    collector: Collector,
    pub(super) watermark: i64,
    /// Panes were given away before their end since the last snapshot.
    pub(super) flushed: bool,
    memory: MemoryReservation,
    metrics: Arc<SubtaskMetrics>,
}

impl Operator for WindowAggregate {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let split = split(&batch, self.program.assign)?;
        let live = self.live(&split);
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
        let columns = self
            .evaluator
            .columns(&self.program, &batch, split.order.as_ref())?;
        let whole = split.order.is_none();
        for share in live {
            let (program, scratch) = (&self.program, &mut self.scratch);
            if let Some(blocks) = self
                .blocks
                .as_mut()
                .filter(|_| share.pane.end <= self.watermark)
            {
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
        self.settle(out)
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        if watermark.0 <= self.watermark {
            return Ok(());
        }
        if self.blocks.is_some() {
            self.close_windows(watermark.0, out)?;
        } else {
            while let Some((id, pane)) = self.panes.pop_if(|id| id.end <= watermark.0) {
                self.close_pane(id, pane, out)?;
            }
        }
        self.watermark = watermark.0;
        self.collector.flush(out)?;
        self.settle(out)
    }

    fn snapshot(&mut self, _extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        Ok(Box::new(state::snapshot(self)?.into_iter().map(Ok)))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        _groups: &KeyGroups,
    ) -> Result<()> {
        state::restore(self, state.collect::<Result<_>>()?)?;
        self.account()
            .map_err(|error| memory_error(error, self.bytes()))
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.watermark(EventTime::MAX, out)
    }
}

impl WindowAggregate {
    /// The shares that are not late. Late rows and rows without a time are counted and left out.
    fn live(&self, split: &Split) -> Vec<Share> {
        let live: Vec<Share> = split
            .shares
            .iter()
            .filter(|s| !self.is_over(s.pane))
            .copied()
            .collect();
        let late = split.shares.iter().map(|s| s.rows).sum::<usize>()
            - live.iter().map(|s| s.rows).sum::<usize>()
            + split.dropped;
        if late > 0 {
            self.metrics.late.fetch_add(late as u64, Relaxed);
        }
        live
    }

    /// Whether all windows of a pane are closed.
    pub(super) fn is_over(&self, pane: PaneId) -> bool {
        match self.program.assign {
            Assign::Time { spec, .. } => spec.last_end(pane.start) <= self.watermark,
            Assign::Columns { .. } => pane.end <= self.watermark,
        }
    }

    /// Closes a pane that is a window by itself, or hands its partial states on.
    fn close_pane(&mut self, id: PaneId, pane: Pane, out: &mut Output) -> Result<()> {
        let (program, scratch) = (&self.program, &mut self.scratch);
        let Some(saving) = &mut self.saving else {
            let groups = pane.into_results(program, scratch)?;
            let window = Span {
                start: id.start,
                end: id.end,
            };
            return self
                .collector
                .push(results::results(program, window, &groups)?, out);
        };
        let (rows, groups) = pane.saving();
        saving.finished(rows, groups);
        for part in pane.into_parts(program, scratch)? {
            self.collector
                .push(results::states(program, id, &part)?, out)?;
        }
        Ok(())
    }

    /// Emits the windows that a watermark closes, in order, and drops what no later one needs.
    fn close_windows(&mut self, watermark: i64, out: &mut Output) -> Result<()> {
        let Some(blocks) = &mut self.blocks else {
            return Ok(());
        };
        let Assign::Time { spec, .. } = self.program.assign else {
            return Ok(());
        };
        let mut done = self.watermark;
        while let Some(window) =
            spec.next_window(done, watermark, |from| self.panes.first_from(from))
        {
            let mut work = Work {
                panes: &mut self.panes,
                program: &self.program,
                scratch: &mut self.scratch,
            };
            let parts = blocks.parts(window, &mut work)?;
            let groups = merge_parts(&self.program, &parts, &mut self.scratch)?
                .into_results(&mut self.scratch)?;
            self.collector
                .push(results::results(&self.program, window, &groups)?, out)?;
            done = window.end;
            while self
                .panes
                .pop_if(|id| spec.last_end(id.start) <= done)
                .is_some()
            {}
            blocks.evict(done);
        }
        while self
            .panes
            .pop_if(|id| spec.last_end(id.start) <= watermark)
            .is_some()
        {}
        Ok(())
    }

    /// Accounts the state; holds its bounds, in the local phase by handing everything on.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        let many_panes = self.panes.len() > limits::PANES_MAX;
        if self.saving.is_some() {
            let many_groups = self.panes.groups() > limits::PRE_AGGREGATE_GROUPS_MAX;
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
        self.account()
            .map_err(|error| memory_error(error, self.bytes()))
    }

    /// Gives all partial states on, before their panes are over.
    fn hand_on(&mut self, out: &mut Output) -> Result<()> {
        self.flushed = true;
        while let Some((id, pane)) = self.panes.pop_if(|_| true) {
            self.close_pane(id, pane, out)?;
        }
        self.collector.flush(out)
    }

    fn bytes(&self) -> usize {
        self.panes.bytes() + self.blocks.as_ref().map_or(0, Blocks::bytes)
    }

    fn account(&self) -> Result<(), datafusion_common::DataFusionError> {
        let bytes = self.bytes();
        self.metrics.state_bytes.store(bytes as u64, Relaxed);
        if bytes == 0 || bytes.abs_diff(self.memory.size()) >= ACCOUNT_BYTES {
            self.memory.try_resize(bytes)?;
        }
        Ok(())
    }
}

fn memory_error(error: datafusion_common::DataFusionError, bytes: usize) -> Error {
    Error::new(
        Kind::Limit,
        codes::MEMORY,
        "the open windows do not fit in memory",
    )
    .detail(format!("they take {} MiB in one subtask", bytes >> 20))
    .hint(
        "give the job more memory with --memory, or use shorter windows, fewer keys or a \
             watermark with less delay: open windows are not spilled to disk yet",
    )
    .caused_by(error)
}
