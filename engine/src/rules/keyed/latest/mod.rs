//! `UNIQUE (..) KEEP LAST`: rows wait until no other one can follow them, and break the rule if one has.
//!
//! A row breaks the rule if another of its key follows it, by the event time (rows of one time as they
//! came) or by arrival, and not later than so long after it. So it waits until the watermark has passed
//! that time, or for the end where there is none; then one row of each key waits. Nothing is remembered but
//! the rows that wait, among which is each that may follow another: a row goes with those before it, or
//! after them. A row that waits holds the watermark back.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, not};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::keyed::ask::UniqueLast;
use crate::rules::keyed::fingerprint::{self, Low};
use crate::rules::keyed::operator::micros_of;
use crate::rules::keyed::stage::Stage;
use crate::rules::keyed::state::Part;
use crate::rules::keyed::waiting::{self, Turn, Waiting};
use crate::rules::verdict::truth;
use crate::updating::Account;
use crate::updating::codec::evaluate;
use crate::updating::state::unreadable;

/// The running rule of one subtask, or of a part of its keys.
#[derive(Debug)]
pub(super) struct KeepingLast {
    stage: Arc<Stage>,
    last: UniqueLast,
    waiting: Waiting,
    watermark: i64,
    task: TaskContext,
    account: Account,
}

/// Rows that may follow one another, by key: their times in order, those of one time as they came.
type Times = HashMap<u128, Vec<(i64, usize)>, BuildHasherDefault<Low>>;

impl KeepingLast {
    pub(super) fn new(stage: Arc<Stage>, context: &TaskContext) -> Result<Self> {
        let last = stage.keeps_last().cloned();
        Ok(Self {
            last: last.ok_or_else(|| Error::internal("a rule that keeps no last row"))?,
            stage,
            waiting: Waiting::default(),
            watermark: i64::MIN,
            task: context.clone(),
            account: Account::new("keys of rules", context),
        })
    }

    /// The event time of each row; without one all have the same.
    fn times(&self, batch: &RecordBatch) -> Result<Int64Array> {
        match &self.last.time {
            Some(time) => micros_of(time, batch),
            None => Ok(Int64Array::from_value(0, batch.num_rows())),
        }
    }

    /// Until when a row waits: `due` says the time of the row too, which is so long before.
    fn due(&self, time: i64) -> i64 {
        time.saturating_add(self.last.micros.unwrap_or(0))
    }

    /// The moment before which waits are over; without a bound none is before the end.
    fn passed(&self) -> i64 {
        match self.last.micros {
            Some(_) => self.watermark,
            None => i64::MIN,
        }
    }

    fn turn(&self, key: u128, due: i64) -> Turn {
        let time = due.saturating_sub(self.last.micros.unwrap_or(0));
        // Rows that wait for the end hold nothing back that could go on before.
        let hold = match self.last.time.is_some() && time >= self.watermark {
            true => time,
            false => i64::MAX,
        };
        Turn { key, due, hold }
    }

    /// Judges the rows whose wait was over before a moment; all, at the end. Where any row that follows
    /// counts, those that have one are judged too: one of each key is left.
    fn release(&mut self, now: i64, out: &mut Output) -> Result<()> {
        let is_over = |turn: &Turn| now == i64::MAX || turn.due < now;
        let turns: Vec<Turn> = self.waiting.turns().copied().collect();
        let mut times = Times::default();
        for turn in turns
            .iter()
            .filter(|t| self.last.micros.is_none() || is_over(t))
        {
            times.entry(turn.key).or_default();
        }
        for (number, turn) in turns.iter().enumerate() {
            if let Some(times) = times.get_mut(&turn.key) {
                times.push((turn.due, number));
            }
        }
        times.values_mut().for_each(|times| times.sort_unstable());
        let broken = |(number, turn): (usize, &Turn)| {
            let followers = times.get(&turn.key)?;
            let after = followers.partition_point(|other| *other <= (turn.due, number));
            let (next, _) = followers.get(after)?;
            let apart = next.abs_diff(turn.due);
            let is_near = |micros: i64| apart <= micros.unsigned_abs();
            Some(self.last.micros.is_none_or(is_near))
        };
        let broken = turns.iter().enumerate().map(broken);
        let broken: Vec<bool> = broken.map(|broken| broken.unwrap_or(false)).collect();
        let mut number = 0;
        let mut verdicts = Vec::new();
        let taken = self.waiting.take(|turn| {
            let broken = broken.get(number).copied().unwrap_or(false);
            number += 1;
            let goes = is_over(turn) || self.last.micros.is_none() && broken;
            if goes {
                verdicts.push(broken);
            }
            goes
        })?;
        let (verdicts, mut from) = (BooleanBuffer::from(verdicts), 0);
        for rows in taken {
            let count = rows.num_rows();
            let (all, broken) = (BooleanBuffer::new_set(count), verdicts.slice(from, count));
            from += count;
            let task = &self.task;
            out.send(self.stage.found(rows, &all, all.clone(), broken, task)?);
        }
        self.settle()
    }

    /// Whether it is time to look at the rows that wait: some wait no more, or there are many for few keys.
    fn is_time(&self) -> bool {
        if self.last.micros.is_some() {
            return self.waiting.is_due(self.watermark);
        }
        let (rows, keys) = self.waiting.counts();
        rows > 2 * keys + self.task.job.batch_rows
    }

    fn settle(&self) -> Result<()> {
        self.account.set(self.waiting.bytes())
    }
}

impl Operator for KeepingLast {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let key = evaluate(self.stage.key(), &batch)?;
        let numbers = fingerprint::keys(&key, batch.num_rows())?;
        let asked = if self.stage.nulls_equal() {
            &[]
        } else {
            key.as_slice()
        };
        let (about, known) = self.stage.asked(&batch, asked)?;
        let times = self.times(&batch)?;
        let known = match times.nulls() {
            Some(nulls) => &known & nulls.inner(),
            None => known,
        };
        let waits = BooleanArray::new(known.clone(), None);
        let rows = known.set_indices().filter_map(|row| {
            let due = self.due(times.value(row));
            Some(self.turn(*numbers.get(row)?, due))
        });
        let (turns, max) = (rows.collect(), self.task.job.batch_rows.max(1));
        self.waiting
            .push(filter_record_batch(&batch, &waits)?, turns, max)?;
        if waits.true_count() < batch.num_rows() {
            let goes = not(&waits)?;
            let about = filter(&BooleanArray::new(about, None), &goes)?;
            let about = truth(&about)?.values().clone();
            let none = BooleanBuffer::new_unset(about.len());
            let rows = filter_record_batch(&batch, &goes)?;
            let task = &self.task;
            out.send(self.stage.found(rows, &about, none.clone(), none, task)?);
        }
        // A row that is too late to wait has had its turn.
        match self.is_time() {
            true => self.release(self.passed(), out),
            false => self.settle(),
        }
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        match self.is_time() {
            true => self.release(self.passed(), out),
            false => Ok(()),
        }
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        EventTime(watermark.0.min(self.waiting.hold()))
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let rows = self.waiting.save(self.stage.schema(), extent)?;
        Ok(Box::new(rows.into_iter()))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        for batch in state {
            let batch = batch?;
            match Part::of(&batch)? {
                Part::NoneWait => batches.clear(),
                Part::Waiting => batches.push(batch),
                other => return Err(unreadable(format!("it has a part {other:?}"))),
            }
        }
        for batch in batches {
            let (rows, waits) = waiting::restore(&batch, &self.stage, groups)?;
            let turns = waits.into_iter().map(|(key, due)| self.turn(key, due));
            let (turns, max) = (turns.collect(), self.task.job.batch_rows.max(1));
            self.waiting.push(rows, turns, max)?;
        }
        self.waiting.restored();
        self.settle()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.release(i64::MAX, out)
    }
}
