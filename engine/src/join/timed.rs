//! The running join of two streams that time bounds: by window or by interval.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::account::{Account, memory_error};
use super::pairs::{Pairs, Search};
use super::program::{Keyed, NO_TIME, Program};
use super::replay::{self, Restored};
use super::results::{self, Collector};
use super::shape::Shape;
use super::spec::{JoinKind, Side};
use super::state;
use super::table::Table;
use super::timing::Timing;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::{LateRows, Why};
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// The rows of both sides by bucket.
pub(super) type Buckets = [BTreeMap<i64, Table>; 2];

/// The running join of one subtask.
#[derive(Debug)]
pub(super) struct TimedJoin {
    shape: Arc<Shape>,
    buckets: Buckets,
    bytes: usize,
    watermark: i64,
    /// Row numbers are not those of the last snapshot: the next one gives all.
    renumbered: bool,
    restored: bool,
    collector: Collector,
    account: Account,
    late: [LateRows; 2],
}

impl Operator for TimedJoin {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let side = Side::of_input(input);
        let keyed = self.shape.program.keyed(side, &batch)?;
        for (bucket, rows) in self.admit(side, keyed, out)? {
            self.join(side, bucket, rows, out)?;
        }
        self.collector.flush(out)?;
        self.settle()
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        if watermark.0 <= self.watermark {
            return Ok(());
        }
        self.watermark = watermark.0;
        for side in Side::BOTH {
            while let Some((_, table)) =
                pop_over(&mut self.buckets, self.shape.timing, side, watermark.0)
            {
                self.bytes = self.bytes.saturating_sub(table.bytes());
                self.close(side, &table, out)?;
            }
        }
        self.collector.flush(out)?;
        self.settle()
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        let (timing, kind) = (self.shape.timing, self.shape.program.kind);
        EventTime(timing.output_watermark(kind, watermark.0))
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let all = extent == Extent::All || std::mem::take(&mut self.renumbered);
        state::snapshot(&self.shape, &mut self.buckets, self.watermark, [all; 2])
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let Restored {
            buckets,
            watermark,
            masked,
        } = replay::restore(&self.shape, state, groups)?;
        let again = std::mem::replace(&mut self.restored, true);
        self.renumbered |= again || masked;
        self.watermark = if again {
            self.watermark.min(watermark)
        } else {
            watermark
        };
        replay::merge(&self.shape, &mut self.buckets, buckets)?;
        self.bytes = self
            .buckets
            .iter()
            .flat_map(BTreeMap::values)
            .map(Table::bytes)
            .sum();
        self.settle()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.watermark(EventTime::MAX, out)
    }
}

/// Takes out the oldest bucket of a side if the watermark has ended it.
pub(super) fn pop_over(
    buckets: &mut Buckets,
    timing: Timing,
    side: Side,
    watermark: i64,
) -> Option<(i64, Table)> {
    let buckets = side.get_mut(buckets);
    let oldest = buckets.first_entry()?;
    timing
        .is_over(side, *oldest.key(), watermark)
        .then(|| oldest.remove_entry())
}

impl TimedJoin {
    pub(super) fn new(shape: &Arc<Shape>, sources: &[Arc<str>; 2], context: &TaskContext) -> Self {
        let schema = Arc::clone(&shape.program.schema);
        Self {
            shape: Arc::clone(shape),
            buckets: Buckets::default(),
            bytes: 0,
            watermark: i64::MIN,
            renumbered: false,
            restored: false,
            collector: Collector::new(schema, context.job.batch_rows),
            account: Account::new(context),
            late: sources
                .each_ref()
                .map(|sources| LateRows::new(context, sources)),
        }
    }

    /// Splits rows by bucket. Late rows are left out; rows that can match nothing come out at once
    /// where such rows do.
    fn admit(&mut self, side: Side, rows: Keyed, out: &mut Output) -> Result<Vec<(i64, Keyed)>> {
        let (timing, watermark) = (self.shape.timing, self.watermark);
        let program = &self.shape.program;
        let matchable = program.matchable(side, &rows.batch);
        let mut by_bucket: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let (mut late, mut alone) = (Vec::new(), Vec::new());
        let mut last: Option<(i64, Vec<u32>)> = None;
        for (row, time) in (0_u32..).zip(&rows.times) {
            let valid = matchable.as_ref().is_none_or(|m| m.is_valid(row as usize));
            if *time != NO_TIME && timing.is_late(*time, watermark) {
                late.push(row);
            } else if *time == NO_TIME || !valid {
                alone.push(row);
            } else {
                let bucket = timing.bucket(*time);
                match &mut last {
                    Some((current, members)) if *current == bucket => members.push(row),
                    _ => {
                        let members = by_bucket.remove(&bucket).unwrap_or_default();
                        let before = last.replace((bucket, members));
                        by_bucket.extend(before);
                        if let Some((_, members)) = &mut last {
                            members.push(row);
                        }
                    }
                }
            }
        }
        by_bucket.extend(last);
        if program.kind.keeps_unmatched(side) {
            for alone in alone.chunks(self.collector.rows_max) {
                let alone = results::alone(program, side, &rows.batch, alone)?;
                self.collector.push(alone, out)?;
            }
        }
        self.late(side, &rows, &late)?;
        let whole = by_bucket.len() == 1 && late.is_empty() && alone.is_empty();
        match by_bucket.first_key_value() {
            Some((bucket, members)) if whole && members.len() == rows.len() => {
                Ok(vec![(*bucket, rows)])
            }
            _ => by_bucket
                .into_iter()
                .map(|(bucket, members)| Ok((bucket, rows.take(&members)?)))
                .collect(),
        }
    }

    /// Counts rows that came too late, and keeps them as dead letters.
    fn late(&self, side: Side, rows: &Keyed, late: &[u32]) -> Result<()> {
        if late.is_empty() {
            return Ok(());
        }
        let columns = self.shape.program.without_keys(side, &rows.batch);
        let schema = Arc::clone(side.get(&self.shape.program.rows));
        let mut live = vec![true; rows.len()];
        for row in late {
            if let Some(live) = live.get_mut(*row as usize) {
                *live = false;
            }
        }
        let why = |row: usize| {
            let time = EventTime(rows.times.get(row).copied().unwrap_or(NO_TIME));
            match self.shape.timing {
                Timing::Window => Why::Over {
                    time: None,
                    end: time,
                },
                _ => Why::Behind { time },
            }
        };
        let batch = RecordBatch::try_new(schema, columns)?;
        let letters = side.get(&self.late);
        letters.keep(&batch, &live, EventTime(self.watermark), why)
    }

    /// Joins new rows of a bucket with the rows of the other side, then keeps them.
    fn join(&mut self, side: Side, bucket: i64, mut rows: Keyed, out: &mut Output) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let (kind, timing) = (shape.program.kind, shape.timing);
        let mut matches = vec![0_u32; rows.len()];
        let partners = timing.partners(side, bucket);
        let once = !kind.gives_pairs();
        let by_time = timing != Timing::Window;
        for (_, table) in side.other().get_mut(&mut self.buckets).range_mut(partners) {
            let before = table.bytes();
            let rows_max = self.collector.rows_max;
            let mut search = Search::new(&shape.program, side, &rows, table, rows_max);
            loop {
                let accept = |row: usize, stored: u32| {
                    let time = rows.times.get(row).copied().unwrap_or(NO_TIME);
                    (!by_time || timing.fits(side, time, table.time(stored)))
                        && !(once && is_matched(side, &matches, table, row, stored))
                };
                let Some(pairs) = search.next(table, accept)? else {
                    break;
                };
                let batch = found(&shape.program, side, &rows, table, &pairs, &mut matches)?;
                if let Some(batch) = batch {
                    self.collector.push(batch, out)?;
                }
            }
            self.bytes = (self.bytes + table.bytes()).saturating_sub(before);
        }
        let over = timing.is_over(side, bucket, self.watermark);
        if over && kind.keeps_unmatched(side) {
            let alone = numbers(&matches, |matches| matches == 0);
            for alone in alone.chunks(self.collector.rows_max) {
                let alone = results::alone(&shape.program, side, &rows.batch, alone)?;
                self.collector.push(alone, out)?;
            }
        }
        if once && side == Side::Left && matches.iter().any(|matches| *matches > 0) {
            rows = rows.take(&numbers(&matches, |matches| matches == 0))?;
            matches = vec![0; rows.len()];
        }
        if over || rows.len() == 0 {
            return Ok(());
        }
        if !kind.counts(side) {
            matches.clear();
        }
        if !by_time {
            rows.times.clear();
        }
        let table = side.get_mut(&mut self.buckets).entry(bucket).or_default();
        let before = table.bytes();
        table.push(rows, &matches)?;
        self.bytes = (self.bytes + table.bytes()).saturating_sub(before);
        Ok(())
    }

    /// Sends the rows of a bucket that found no match.
    fn close(&mut self, side: Side, table: &Table, out: &mut Output) -> Result<()> {
        let program = &self.shape.program;
        if program.kind.keeps_unmatched(side) {
            for rows in table.unmatched().chunks(self.collector.rows_max) {
                let rows = results::stored_alone(program, side, table, rows)?;
                self.collector.push(rows, out)?;
            }
        }
        Ok(())
    }

    /// Accounts the state.
    fn settle(&mut self) -> Result<()> {
        self.account.settle(self.bytes).map_err(|error| {
            let hint = "give the job more memory with --memory, or join over shorter windows or \
                        intervals";
            memory_error(error, self.bytes, hint)
        })
    }
}

/// Whether a left row of a semi or anti join has its match already.
fn is_matched(side: Side, matches: &[u32], table: &Table, row: usize, stored: u32) -> bool {
    match side {
        Side::Left => matches.get(row).is_some_and(|matches| *matches > 0),
        Side::Right => table.matches_of(stored) > 0,
    }
}

/// Notes pairs on both sides, and gives what comes out at once.
fn found(
    program: &Program,
    side: Side,
    rows: &Keyed,
    table: &mut Table,
    pairs: &Pairs,
    matches: &mut [u32],
) -> Result<Option<RecordBatch>> {
    // Left rows that had no match before this portion, for semi joins.
    let (mut first, mut first_stored) = (Vec::new(), Vec::new());
    for row in pairs.probe.values() {
        if let Some(matches @ 0) = matches.get_mut(*row as usize) {
            *matches = 1;
            first.push(*row);
        }
    }
    if program.kind.counts(side.other()) {
        for row in &pairs.stored {
            if table.matches_of(*row) == 0 {
                table.set_matches(*row, 1);
                first_stored.push(*row);
            }
        }
    }
    Ok(match (program.kind, side) {
        (JoinKind::LeftAnti, _) => None,
        (JoinKind::LeftSemi, Side::Left) => {
            Some(results::alone(program, side, &rows.batch, &first)?)
        }
        (JoinKind::LeftSemi, Side::Right) => {
            let left = side.other();
            Some(results::stored_alone(program, left, table, &first_stored)?)
        }
        _ => Some(results::pairs(program, side, rows, table, pairs)?),
    })
}

/// The numbers of the rows whose count is so.
fn numbers(matches: &[u32], is: impl Fn(u32) -> bool) -> Vec<u32> {
    (0_u32..)
        .zip(matches)
        .filter(|(_, matches)| is(**matches))
        .map(|(row, _)| row)
        .collect()
}
