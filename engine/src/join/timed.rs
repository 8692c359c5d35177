//! The running join of two streams that time bounds: by window or by interval.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::meet::{Results, meet};
use super::meeting::Job;
use super::on_disk::{self, Relief, meet_at_once};
use super::program::{Keyed, NO_TIME};
use super::replay;
use super::results::{self, Collector, send_unmatched, unmatched};
use super::shape::Shape;
use super::slot::Slot;
use super::spec::Side;
use super::state;
use super::timing::Timing;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::{LateRows, Why};
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// The rows of both sides by bucket.
pub(super) type Buckets = [BTreeMap<i64, Slot>; 2];

/// The running join of one subtask.
#[derive(Debug)]
pub(super) struct TimedJoin {
    pub(super) shape: Arc<Shape>,
    pub(super) buckets: Buckets,
    /// Bytes of the buckets.
    pub(super) bytes: usize,
    pub(super) watermark: i64,
    /// Since which watermark rows wait to meet rows on disk.
    pub(super) waiting: Option<i64>,
    /// Row numbers are not those of the last snapshot: the next one gives all.
    renumbered: bool,
    restored: bool,
    /// What is still to be given before a watermark or a barrier goes on.
    pub(super) jobs: VecDeque<Job>,
    pub(super) collector: Collector,
    pub(super) relief: Relief,
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
        self.close_over();
        self.resume(out).map(drop)
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        let (timing, kind) = (self.shape.timing, self.shape.program.kind);
        let EventTime(mut watermark) = watermark;
        // The results of rows that have not met all rows on disk come out later.
        if let (Some(since), Timing::Interval { .. }) = (self.waiting, timing) {
            watermark = watermark.min(since);
        }
        EventTime(timing.output_watermark(kind, watermark))
    }

    fn before_barrier(&mut self) -> Result<()> {
        self.meet_all();
        Ok(())
    }

    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        if self.jobs.is_empty() {
            return Ok(false);
        }
        let before = out.batches();
        while out.batches() == before && self.step(out)? {}
        if self.jobs.is_empty() {
            self.collector.flush(out)?;
            self.settle()?;
        }
        Ok(true)
    }

    fn snapshot(&mut self, extent: Extent, _: &mut Output) -> Result<StateBatches> {
        let all = std::mem::take(&mut self.renumbered) || extent == Extent::All;
        self.relief.prepare(&self.shape, &mut self.buckets, all)?;
        self.bytes = self.relief.settle(&self.shape, &mut self.buckets, 0)?;
        let (buckets, room) = (&mut self.buckets, &self.relief.room);
        state::snapshot(&self.shape, buckets, self.watermark, [all; 2], Some(room))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let kept = self.bytes;
        let mut relief = |buckets: &mut Buckets| self.relief.settle(&self.shape, buckets, kept);
        let restored = replay::restore(&self.shape, state, groups, &mut relief)?;
        let again = std::mem::replace(&mut self.restored, true);
        self.renumbered |= again || restored.masked;
        self.watermark = if again {
            self.watermark.min(restored.watermark)
        } else {
            restored.watermark
        };
        replay::merge(&self.shape, &mut self.buckets, restored.buckets)?;
        self.bytes = self.relief.settle(&self.shape, &mut self.buckets, 0)?;
        on_disk::have_met_all(&mut self.buckets, self.shape.timing);
        Ok(())
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
) -> Option<(i64, Slot)> {
    let buckets = side.get_mut(buckets);
    let oldest = buckets.first_entry()?;
    timing
        .is_over(side, *oldest.key(), watermark)
        .then(|| oldest.remove_entry())
}

impl TimedJoin {
    pub(super) fn new(shape: &Arc<Shape>, sources: &[Arc<str>; 2], context: &TaskContext) -> Self {
        let [left, right] = sources;
        let schema = Arc::clone(&shape.program.schema);
        Self {
            shape: Arc::clone(shape),
            buckets: Buckets::default(),
            bytes: 0,
            watermark: i64::MIN,
            waiting: None,
            renumbered: false,
            restored: false,
            jobs: VecDeque::new(),
            collector: Collector::new(schema, context.job.batch_rows),
            relief: Relief::new(context),
            late: [
                LateRows::new(context, left),
                LateRows::new(context, right).of_second_input(),
            ],
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
        let over = timing.is_over(side, bucket, self.watermark);
        let mut results = Results {
            collector: &mut self.collector,
            out,
        };
        for (_, slot) in side.other().get_mut(&mut self.buckets).range_mut(partners) {
            let before = slot.live.bytes();
            meet(
                &shape,
                side,
                &rows,
                &mut matches,
                (&mut slot.live, 0),
                &mut results,
            )?;
            self.bytes = (self.bytes + slot.live.bytes()).saturating_sub(before);
            if over {
                meet_at_once(&shape, side, &rows, &mut matches, slot, &mut results)?;
            } else if !slot.segments.is_empty() {
                self.waiting.get_or_insert(self.watermark);
            }
        }
        if over && kind.keeps_unmatched(side) {
            send_unmatched(&shape.program, side, &rows, &matches, &mut results)?;
        }
        if !kind.gives_pairs() && side == Side::Left && matches.iter().any(|m| *m > 0) {
            rows = rows.take(&unmatched(&matches))?;
            matches = vec![0; rows.len()];
        }
        if over || rows.len() == 0 {
            return Ok(());
        }
        if !kind.counts(side) {
            matches.clear();
        }
        if !shape.times {
            rows.times.clear();
        }
        let slot = side.get_mut(&mut self.buckets).entry(bucket).or_default();
        let before = slot.live.bytes();
        slot.live.push(rows, &matches)?;
        self.bytes = (self.bytes + slot.live.bytes()).saturating_sub(before);
        Ok(())
    }
}
