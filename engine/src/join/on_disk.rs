//! What a join that time bounds does when the job's memory is used up: the largest bucket goes to disk.
//!
//! Rows on disk meet new rows of the other side not one by one but all together: before one of
//! their buckets is closed, and before a checkpoint ([`super::meeting`]). What goes on is held back
//! until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::DataFusionError;
use datafusion_execution::disk_manager::DiskManager;

use super::account::memory_error;
use super::meet::{Results, scan};
use super::meeting::{Closing, Job, Visit, on_disk};
use super::program::Keyed;
use super::shape::Shape;
use super::slot::Slot;
use super::spec::Side;
use super::table::Table;
use super::timed::{Buckets, TimedJoin, pop_over};
use super::timing::Timing;
use crate::account;
use crate::error::Result;
use crate::job::TaskContext;
use crate::metrics::SubtaskMetrics;
use crate::operator::Output;
use crate::spill::Room;

/// Bytes below which a bucket is not put on disk: the file would cost more than it frees. In tests
/// few rows are to take all ways.
const SPILL_BYTES_MIN: usize = if cfg!(test) { 600 } else { 128 << 10 };

/// Bytes of rows from disk that are in memory at once to meet other rows from disk, at least.
const BLOCK_BYTES_MIN: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// Keeps the rows of a join within what the job's memory gives.
#[derive(Debug)]
pub(super) struct Relief {
    pub(super) room: Room,
    disk: Arc<DiskManager>,
    metrics: Arc<SubtaskMetrics>,
}

impl Relief {
    pub(super) fn new(context: &TaskContext) -> Self {
        Self {
            room: Room::new("rows of the join", context),
            disk: Arc::clone(&context.job.datafusion.runtime_env().disk_manager),
            metrics: Arc::clone(&context.metrics),
        }
    }

    /// Accounts the rows of buckets beside bytes that are kept elsewhere; puts the largest buckets
    /// on disk while memory is short. Gives the bytes of the buckets.
    pub(super) fn settle(
        &self,
        shape: &Shape,
        buckets: &mut Buckets,
        elsewhere: usize,
    ) -> Result<usize> {
        let mut is_first = true;
        loop {
            let bytes = bytes_of(buckets);
            let accounted = self.account(elsewhere + bytes);
            let wants = if std::mem::take(&mut is_first) {
                self.room.is_short()
            } else {
                self.room.wants(0)
            };
            if accounted.is_ok() && !wants {
                return Ok(bytes);
            }
            if let Some((side, bucket)) = largest(buckets, |slot| slot.live.bytes()) {
                self.spill(shape, buckets, side, bucket)?;
                continue;
            }
            let hint = "give the job more memory with --memory, or join over shorter windows or \
                        intervals";
            return match accounted {
                Ok(()) => Ok(bytes),
                // Who has little is not refused it because others have much.
                Err(_) if elsewhere + bytes <= self.room.share() / 16 => {
                    self.room.taken.resize(elsewhere + bytes);
                    Ok(bytes)
                }
                Err(error) => Err(memory_error(error, elsewhere + bytes, hint)),
            };
        }
    }

    /// Puts rows on disk that a snapshot would have to hold, if there is not memory for them twice:
    /// those that come next push them out while they are written.
    pub(super) fn prepare(&self, shape: &Shape, buckets: &mut Buckets, all: bool) -> Result<()> {
        loop {
            let slots = buckets.iter().flat_map(BTreeMap::values);
            let bytes: usize = slots.map(|slot| slot.unsaved_bytes(all)).sum();
            let loan = self.room.lend(bytes);
            if bytes <= self.room.share() / 16 || !self.room.is_short() {
                return Ok(());
            }
            drop(loan);
            let Some((side, bucket)) = largest(buckets, |slot| slot.unsaved_bytes(all)) else {
                return Ok(());
            };
            self.spill(shape, buckets, side, bucket)?;
            // Less than before always fits.
            drop(self.account(bytes_of(buckets)));
        }
    }

    /// How much may be read back at once.
    pub(super) fn block_bytes(&self) -> usize {
        (self.room.share() / 8).max(BLOCK_BYTES_MIN)
    }

    /// Takes the memory for what is read back, until the rows are settled.
    pub(super) fn take_block(&self) {
        self.room.taken.grow(self.block_bytes());
    }

    fn spill(&self, shape: &Shape, buckets: &mut Buckets, side: Side, bucket: i64) -> Result<()> {
        let met = rows_of(side.other().get(buckets), shape.timing, side, bucket);
        match side.get_mut(buckets).get_mut(&bucket) {
            Some(slot) => slot.spill(shape, side, &self.disk, met),
            None => Ok(()),
        }
    }

    /// Accounts bytes; says whether they fit.
    fn fits(&self, bytes: usize) -> bool {
        self.account(bytes).is_ok() && !self.room.is_short()
    }

    fn account(&self, bytes: usize) -> std::result::Result<(), DataFusionError> {
        account::settle(&self.room.taken, &self.metrics, bytes)
    }
}

fn bytes_of(buckets: &Buckets) -> usize {
    let slots = buckets.iter().flat_map(BTreeMap::values);
    slots.map(Slot::bytes).sum()
}

/// The bucket that has most of something, if that is worth a file.
fn largest(buckets: &Buckets, bytes: impl Copy + Fn(&Slot) -> usize) -> Option<(Side, i64)> {
    let sides = Side::BOTH.into_iter().zip(buckets);
    let slots = sides.flat_map(|(side, slots)| {
        let slots = slots.iter();
        slots.map(move |(bucket, slot)| (bytes(slot), side, *bucket))
    });
    let (bytes, side, bucket) = slots.max_by_key(|(bytes, ..)| *bytes)?;
    (bytes >= SPILL_BYTES_MIN).then_some((side, bucket))
}

/// How many rows each partner of a bucket has.
fn rows_of(
    others: &BTreeMap<i64, Slot>,
    timing: Timing,
    side: Side,
    bucket: i64,
) -> BTreeMap<i64, usize> {
    let partners = others.range(timing.partners(side, bucket));
    let rows = partners.map(|(bucket, slot)| (*bucket, slot.rows()));
    rows.collect()
}

/// Says of all rows on disk that they have met all rows there are.
pub(super) fn have_met_all(buckets: &mut Buckets, timing: Timing) {
    let [left, right] = buckets;
    note_met(Side::Left, left, right, timing);
    note_met(Side::Right, right, left, timing);
}

fn note_met(
    side: Side,
    own: &mut BTreeMap<i64, Slot>,
    others: &BTreeMap<i64, Slot>,
    timing: Timing,
) {
    for (bucket, slot) in own {
        for segment in &mut slot.segments {
            segment.met = rows_of(others, timing, side, *bucket);
        }
    }
}

/// Rows that are not kept meet the rows on disk of one bucket of the other side.
pub(super) fn meet_at_once(
    shape: &Arc<Shape>,
    side: Side,
    rows: &Keyed,
    matches: &mut [u32],
    slot: &mut Slot,
    results: &mut Results<'_>,
) -> Result<()> {
    if slot.segments.is_empty() {
        return Ok(());
    }
    let all: Vec<u32> = (0_u32..).zip(&rows.hashes).map(|(row, _)| row).collect();
    let mut table = Table::default();
    table.push(rows.take(&all)?, matches)?;
    for segment in &mut slot.segments {
        scan(shape, side.other(), segment, (&mut table, 0), results)?;
    }
    for (count, met) in matches.iter_mut().zip(table.matches()) {
        *count = *met;
    }
    Ok(())
}

impl TimedJoin {
    /// Accounts the rows; puts some on disk if they do not fit.
    pub(super) fn settle(&mut self) -> Result<()> {
        if !self.relief.fits(self.bytes) {
            self.bytes = self.relief.settle(&self.shape, &mut self.buckets, 0)?;
        }
        Ok(())
    }

    /// Before buckets are closed their rows meet all that they must; then they are closed.
    pub(super) fn close_over(&mut self) {
        let (timing, watermark) = (self.shape.timing, self.watermark);
        let over = |side: Side| -> Vec<i64> {
            let buckets = side.get(&self.buckets).keys().copied();
            let over = buckets.take_while(|bucket| timing.is_over(side, *bucket, watermark));
            over.collect()
        };
        let closing = Side::BOTH.map(over);
        if closing.iter().all(Vec::is_empty) {
            return;
        }
        if self.waiting.is_some() {
            if timing == Timing::Window {
                let [mut closing, right] = closing;
                closing.extend(right);
                closing.sort_unstable();
                closing.dedup();
                for bucket in closing {
                    self.visit(Side::Left, bucket);
                    self.visit(Side::Right, bucket);
                }
            } else {
                self.meet_all();
            }
        }
        self.jobs.push_back(Job::Over);
    }

    /// All rows on disk are to meet all rows that they have not met.
    pub(super) fn meet_all(&mut self) {
        if self.waiting.take().is_none() {
            return;
        }
        for side in Side::BOTH {
            for bucket in on_disk(side.get(&self.buckets)) {
                self.visit(side, bucket);
            }
        }
    }

    fn visit(&mut self, side: Side, bucket: i64) {
        if self.jobs.is_empty() {
            self.relief.take_block();
        }
        let others = side.other().get(&self.buckets);
        let partners = others.range(self.shape.timing.partners(side, bucket));
        let visits =
            partners.map(|(partner, _)| Job::Visit(Box::new(Visit::new(side, bucket, *partner))));
        self.jobs.extend(visits);
    }

    /// Does some of what is to be done; says whether there was something.
    pub(super) fn step(&mut self, out: &mut Output) -> Result<bool> {
        let Some(mut job) = self.jobs.pop_front() else {
            return Ok(false);
        };
        let shape = Arc::clone(&self.shape);
        let block_bytes = self.relief.block_bytes();
        let mut results = Results {
            collector: &mut self.collector,
            out,
        };
        let goes_on = match &mut job {
            Job::Visit(visit) => {
                visit.step(&shape, &mut self.buckets, block_bytes, &mut results)?
            }
            Job::Close(closing) => closing.step(&shape, &mut results)?,
            Job::Over => {
                let over = Side::BOTH.into_iter().find_map(|side| {
                    let over = pop_over(&mut self.buckets, shape.timing, side, self.watermark);
                    over.map(|(_, slot)| (side, slot))
                });
                if let Some((side, slot)) = over {
                    self.bytes = self.bytes.saturating_sub(slot.bytes());
                    self.jobs.push_front(job);
                    job = Job::Close(Box::new(Closing::new(side, slot)));
                    shape.program.kind.keeps_unmatched(side)
                } else {
                    false
                }
            }
        };
        if goes_on {
            self.jobs.push_front(job);
        }
        Ok(true)
    }
}
