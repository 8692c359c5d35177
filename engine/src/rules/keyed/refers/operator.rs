//! The rule as an operator: two inputs, the rows and the keys that they refer to.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, not};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::known::Known;
use crate::changelog::{adds, split};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::keyed::fingerprint::{self, Low};
use crate::rules::keyed::memory::Memory as _;
use crate::rules::keyed::operator::micros_of;
use crate::rules::keyed::rows::without_nulls;
use crate::rules::keyed::stage::Stage;
use crate::rules::keyed::state::{Part, of_rule, restore};
use crate::rules::keyed::waiting::{self, Turn, Waiting};
use crate::updating::Account;
use crate::updating::codec::evaluate;

/// The running rule of one subtask, or of a part of its keys.
#[derive(Debug)]
pub(super) struct Referring {
    stage: Arc<Stage>,
    by_event_time: bool,
    known: Known,
    waiting: Waiting,
    grace: i64,
    /// The event time of a row, if it has one.
    time: Option<Arc<dyn PhysicalExpr>>,
    watermark: i64,
    now: i64,
    task: TaskContext,
    account: Account,
}

impl Referring {
    pub(super) fn new(
        stage: Arc<Stage>,
        (by_event_time, one_per_key): (bool, bool),
        context: &TaskContext,
    ) -> Result<Self> {
        let refers = stage.refers();
        let refers = refers.ok_or_else(|| Error::internal("a rule that refers to nothing"))?;
        Ok(Self {
            by_event_time,
            known: Known::new(one_per_key),
            waiting: Waiting::default(),
            grace: refers.grace,
            time: refers.time.clone(),
            watermark: i64::MIN,
            now: i64::MIN,
            task: context.clone(),
            account: Account::new("keys of rules", context),
            stage,
        })
    }

    /// The time of each row, if rows have one.
    fn times(&self, batch: &RecordBatch) -> Result<Option<Int64Array>> {
        let time = self.time.as_ref();
        time.map(|time| micros_of(time, batch)).transpose()
    }

    /// What the watermark must not pass while a row of a time waits: nothing, if it is late already.
    fn hold(&self, time: Option<i64>) -> i64 {
        time.filter(|time| *time >= self.watermark)
            .unwrap_or(i64::MAX)
    }

    /// Until when each row of a batch waits. A row without a time doesn't, where the grace goes by it.
    fn turns(&self, keys: &[u128], times: Option<&Int64Array>) -> Vec<Turn> {
        let clock = || self.task.job.env.clock().now_micros();
        let now = if self.now > i64::MIN {
            self.now
        } else {
            clock()
        };
        let time = |row: usize| times.filter(|t| t.is_valid(row)).map(|t| t.value(row));
        let turn = |(row, key): (usize, &u128)| {
            let due = match self.by_event_time {
                true => time(row).map_or(i64::MIN, |time| time.saturating_add(self.grace)),
                false => now.saturating_add(self.grace),
            };
            Turn {
                key: *key,
                due,
                hold: self.hold(time(row)),
            }
        };
        keys.iter().enumerate().map(turn).collect()
    }

    /// Whether a wait until this moment is over, or none at all.
    fn is_over(&self, due: i64) -> bool {
        match self.by_event_time {
            true => due < self.watermark,
            false => self.grace == 0,
        }
    }

    /// Rows: those with an answer are judged, the others wait.
    fn rows(&mut self, batch: &RecordBatch, out: &mut Output) -> Result<()> {
        let columns = evaluate(self.stage.key(), batch)?;
        let keys = fingerprint::keys(&columns, batch.num_rows())?;
        let turns = self.turns(&keys, self.times(batch)?.as_ref());
        let (about, known) = self.stage.asked(batch, &columns)?;
        let lacks: BooleanBuffer = keys
            .iter()
            .zip(&known)
            .map(|(key, known)| known && !self.known.holds(*key))
            .collect();
        let waits: BooleanBuffer = lacks
            .iter()
            .zip(&turns)
            .map(|(lacks, turn)| lacks && !self.is_over(turn.due))
            .collect();
        if waits.count_set_bits() == 0 {
            return self.judge(batch.clone(), &about, known, lacks, out);
        }
        let of_waiting = turns.iter().zip(&waits);
        let turns: Vec<Turn> = of_waiting.filter_map(|(t, w)| w.then_some(*t)).collect();
        let waits = BooleanArray::new(waits, None);
        let max = self.task.job.batch_rows.max(1);
        self.waiting
            .push(filter_record_batch(batch, &waits)?, turns, max)?;
        let goes = not(&waits)?;
        let pick = |bits: BooleanBuffer| -> Result<BooleanBuffer> {
            let bits = BooleanArray::new(bits, None);
            let picked = arrow::compute::filter(&bits, &goes)?;
            Ok(picked.as_boolean().values().clone())
        };
        let rows = filter_record_batch(batch, &goes)?;
        self.judge(rows, &pick(about)?, pick(known)?, pick(lacks)?, out)
    }

    fn judge(
        &self,
        rows: RecordBatch,
        about: &BooleanBuffer,
        known: BooleanBuffer,
        broken: BooleanBuffer,
        out: &mut Output,
    ) -> Result<()> {
        if rows.num_rows() > 0 {
            out.send(self.stage.found(rows, about, known, broken, &self.task)?);
        }
        Ok(())
    }

    /// Rows that wait no more, all of which break the rule or none.
    fn decide(&self, rows: Vec<RecordBatch>, broken: bool, out: &mut Output) -> Result<()> {
        for rows in rows {
            let all = BooleanBuffer::new_set(rows.num_rows());
            let none = BooleanBuffer::new_unset(rows.num_rows());
            let broken = if broken { all.clone() } else { none };
            self.judge(rows, &all, all.clone(), broken, out)?;
        }
        Ok(())
    }

    /// Keys that come and go, and the rows that have waited for them.
    fn keys(&mut self, batch: &RecordBatch, out: &mut Output) -> Result<()> {
        let (columns, kinds) = split(batch);
        let rows = batch.num_rows();
        let keys = fingerprint::keys(columns, rows)?;
        let is_known = without_nulls(BooleanBuffer::new_set(rows), columns);
        let mut found: HashSet<u128, BuildHasherDefault<Low>> = HashSet::default();
        let added = adds(kinds, rows)?;
        for row in is_known.set_indices() {
            let (Some(key), Some(adds)) = (keys.get(row), added.get(row)) else {
                continue;
            };
            let is_new = match kinds {
                None => self.known.add(*key),
                Some(_) => self.known.change(*key, *adds),
            };
            if is_new && self.waiting.has(*key) {
                found.insert(*key);
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let rows = self.waiting.take(|turn| found.contains(&turn.key))?;
        self.decide(rows, false, out)
    }

    /// Gives up the rows whose grace was over before a moment.
    fn give_up(&mut self, now: i64, out: &mut Output) -> Result<()> {
        if self.waiting.is_due(now) {
            let rows = self.waiting.take(|turn| turn.due < now)?;
            self.decide(rows, true, out)?;
        }
        self.settle()
    }

    fn settle(&self) -> Result<()> {
        self.account.set(self.known.bytes() + self.waiting.bytes())
    }
}

impl Operator for Referring {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        match input {
            0 => self.rows(&batch, out)?,
            _ => self.keys(&batch, out)?,
        }
        self.settle()
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        match self.by_event_time {
            true => self.give_up(self.watermark, out),
            false => Ok(()),
        }
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        EventTime(watermark.0.min(self.waiting.hold()))
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.now = self.now.max(now_micros);
        match self.by_event_time {
            true => Ok(()),
            false => self.give_up(self.now, out),
        }
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let all = extent == Extent::All;
        let max = self.task.job.batch_rows.max(1);
        let state = of_rule(0, self.known.save(all), max);
        let rows = self.waiting.save(self.stage.schema(), extent)?;
        Ok(Box::new(state.chain(rows)))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let mut waiting: Vec<RecordBatch> = Vec::new();
        for batch in state {
            let batch = batch?;
            match Part::of(&batch)? {
                Part::NoneWait => waiting.clear(),
                Part::Waiting => waiting.push(batch),
                Part::Gone(_) => restore(&mut self.known, &batch, false, groups)?,
                Part::Kept(_) => restore(&mut self.known, &batch, true, groups)?,
            }
            self.settle()?;
        }
        for batch in waiting {
            self.wait_again(&batch, groups)?;
        }
        self.waiting.restored();
        self.settle()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        let rows = self.waiting.take(|_| true)?;
        self.decide(rows, true, out)?;
        self.settle()
    }
}

impl Referring {
    /// Takes rows that wait back from a checkpoint.
    fn wait_again(&mut self, batch: &RecordBatch, groups: &KeyGroups) -> Result<()> {
        let (rows, waits) = waiting::restore(batch, &self.stage, groups)?;
        let keys: Vec<u128> = waits.iter().map(|(key, _)| *key).collect();
        let mut turns = self.turns(&keys, self.times(&rows)?.as_ref());
        for (turn, (_, due)) in turns.iter_mut().zip(waits) {
            turn.due = due;
        }
        let max = self.task.job.batch_rows.max(1);
        self.waiting.push(rows, turns, max)
    }
}
