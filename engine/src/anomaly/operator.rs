//! The models and the waiting rows of one subtask.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};

use super::Shared;
use super::feedback::Said;
use super::judge::judge;
use super::models::Models;
use super::program::Program;
use super::state;
use super::waiting::{Released, Waiting};
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::{LateRows, Why};
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::updating::{Account, SWEEPS_PER_TTL};

/// Judges rows when the watermark has passed them.
#[derive(Debug)]
pub(super) struct Anomalies {
    pub(super) program: Arc<Program>,
    pub(super) models: Models,
    pub(super) waiting: Waiting,
    /// Rows up to this time have been judged: what comes now is late.
    pub(super) edge: i64,
    behind: i64,
    watermark: i64,
    ttl: Option<i64>,
    sweep_at: i64,
    pub(super) batch_rows: usize,
    late: LateRows,
    account: Account,
    /// What was said of anomalies so far.
    said: Vec<Said>,
}

impl Anomalies {
    pub(super) fn new(shared: &Shared, context: &TaskContext) -> Self {
        let now = context.job.env.clock().now_micros();
        let ttl = shared.ttl.map(|ttl| ttl.as_micros());
        Self {
            models: Models::new(Arc::clone(&shared.program), now),
            program: Arc::clone(&shared.program),
            waiting: Waiting::default(),
            edge: i64::MIN,
            behind: shared.behind,
            watermark: i64::MIN,
            ttl: ttl.map(|ttl| i64::try_from(ttl).unwrap_or(i64::MAX)),
            sweep_at: i64::MIN,
            batch_rows: context.job.batch_rows.max(1),
            late: LateRows::new(context, &shared.sources),
            account: Account::new("anomaly models", context),
            said: Vec::new(),
        }
    }

    /// Judges the rows up to and with a time: all of them, since no snapshot may find rows that are due.
    fn judge_until(&mut self, until: i64, out: &mut Output) -> Result<()> {
        while let Some(released) = self.waiting.take(until, self.batch_rows)? {
            let Released { rows, times } = self.in_order(released)?;
            if let Some(last) = times.values().last() {
                self.edge = self.edge.max(*last);
            }
            let models = (&mut self.models, self.said.as_slice());
            let judged = judge(&self.program, &rows, &times, models)?;
            for offset in (0..judged.num_rows()).step_by(self.batch_rows) {
                out.send(judged.slice(offset, self.batch_rows.min(judged.num_rows() - offset)));
            }
        }
        self.models.settle();
        self.settle()
    }

    /// Lets the models take what was said of their anomalies since the last look.
    fn follow(&mut self) -> Result<()> {
        let new = self.program.said_after(self.said.len())?;
        if !new.is_empty() {
            self.models.follow(&new);
            self.models.settle();
            self.said.extend(new);
        }
        Ok(())
    }

    /// Puts rows of one time into the order that is asked for.
    fn in_order(&self, released: Released) -> Result<Released> {
        let Some(ties) = self.program.ties(&released.rows)? else {
            return Ok(released);
        };
        let times = released.times.values();
        // Batches have less than 2^32 rows.
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        // Stable: what is equal stays in the order of arrival.
        order.sort_by_key(|row| (times.get(*row as usize), ties.row(*row as usize)));
        Ok(Released {
            rows: take_record_batch(&released.rows, &UInt32Array::from(order))?,
            // Only rows of one time change places.
            times: released.times,
        })
    }

    pub(super) fn settle(&self) -> Result<()> {
        self.account.set(self.models.bytes() + self.waiting.bytes())
    }
}

impl Operator for Anomalies {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let times = self.program.times(&batch)?;
        let waits: Vec<bool> = times
            .iter()
            .map(|t| t.is_some_and(|t| t > self.edge))
            .collect();
        if waits.iter().all(|waits| *waits) {
            self.waiting.add(batch, times.values(), self.batch_rows)?;
            return self.settle();
        }
        if times.null_count() > 0 {
            let untimed: BooleanArray = times.iter().map(|time| Some(time.is_none())).collect();
            let rows = filter_record_batch(&batch, &untimed)?;
            let none = arrow::array::Int64Array::new_null(rows.num_rows());
            out.send(judge(&self.program, &rows, &none, (&mut self.models, &[]))?);
        }
        let live: Vec<bool> = times
            .iter()
            .map(|time| time.is_none_or(|time| time > self.edge))
            .collect();
        self.late
            .keep(&batch, &live, EventTime(self.watermark), |row| {
                Why::Behind {
                    time: EventTime(times.value(row)),
                }
            })?;
        let live = times.values().iter().zip(&waits);
        let live: Vec<i64> = live.filter(|(_, waits)| **waits).map(|(t, _)| *t).collect();
        let rows = filter_record_batch(&batch, &waits.into())?;
        self.waiting.add(rows, &live, self.batch_rows)?;
        self.settle()
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        self.follow()?;
        if watermark == EventTime::MAX {
            // Not the end of all times: the input may go on in a later run.
            return self.judge_until(i64::MAX, out);
        }
        self.edge = self.edge.max(watermark.0.saturating_sub(self.behind));
        self.judge_until(self.edge, out)
    }

    fn tick(&mut self, now_micros: i64, _out: &mut Output) -> Result<()> {
        self.models.set_now(now_micros);
        self.follow()?;
        let Some(ttl) = self.ttl.filter(|_| now_micros >= self.sweep_at) else {
            return Ok(());
        };
        self.sweep_at = now_micros.saturating_add(ttl / SWEEPS_PER_TTL);
        self.models.expire(now_micros.saturating_sub(ttl));
        self.settle()
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        state::snapshot(self, extent)
    }

    fn restore(
        &mut self,
        saved: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        state::restore(self, saved, groups)
    }

    /// The watermark of the end has let all rows go.
    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
