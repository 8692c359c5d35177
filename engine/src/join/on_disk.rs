//! What a join that time bounds does when the job's memory is used up: the largest bucket goes to disk.
//!
//! Rows on disk meet new rows of the other side not one by one but all together: before one of
//! their buckets is closed, and before a checkpoint. What goes on is held back until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_execution::disk_manager::DiskManager;

use super::account::{Account, memory_error};
use super::meet::{Results, meet_rest, scan};
use super::program::Keyed;
use super::results::{self, send_unmatched};
use super::shape::Shape;
use super::slot::Slot;
use super::spec::Side;
use super::table::Table;
use super::timed::{Buckets, TimedJoin};
use super::timing::Timing;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::Output;

/// Bytes below which a bucket is not put on disk: the file would cost more than it frees. In tests
/// few rows are to take all ways.
const SPILL_BYTES_MIN: usize = if cfg!(test) { 600 } else { 128 << 10 };

/// Keeps the rows of a join within what the job's memory gives.
#[derive(Debug)]
pub(super) struct Relief {
    account: Account,
    disk: Arc<DiskManager>,
}

impl Relief {
    pub(super) fn new(context: &TaskContext) -> Self {
        Self {
            account: Account::new(context),
            disk: Arc::clone(&context.job.datafusion.runtime_env().disk_manager),
        }
    }

    /// Accounts the rows of buckets beside bytes that are kept elsewhere; puts the largest buckets
    /// on disk while they do not fit. Gives the bytes of the buckets.
    pub(super) fn settle(
        &self,
        shape: &Shape,
        buckets: &mut Buckets,
        elsewhere: usize,
    ) -> Result<usize> {
        loop {
            let slots = buckets.iter().flat_map(BTreeMap::values);
            let bytes: usize = slots.map(Slot::bytes).sum();
            let Err(error) = self.account.settle(elsewhere + bytes) else {
                return Ok(bytes);
            };
            let Some((side, bucket)) = largest(buckets) else {
                let hint = "give the job more memory with --memory, or join over shorter windows \
                            or intervals";
                return Err(memory_error(error, elsewhere + bytes, hint));
            };
            let met = rows_of(side.other().get(buckets), shape.timing, side, bucket);
            if let Some(slot) = side.get_mut(buckets).get_mut(&bucket) {
                slot.spill(shape, side, &self.disk, met)?;
            }
        }
    }

    /// Accounts bytes; says whether they fit.
    fn fits(&self, bytes: usize) -> bool {
        self.account.settle(bytes).is_ok()
    }
}

fn largest(buckets: &Buckets) -> Option<(Side, i64)> {
    let sides = Side::BOTH.into_iter().zip(buckets);
    let slots = sides.flat_map(|(side, slots)| {
        let slots = slots.iter();
        slots.map(move |(bucket, slot)| (slot.live.bytes(), side, *bucket))
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
    shape: &Shape,
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

    /// Before buckets are closed their rows meet all that they must.
    pub(super) fn meet_before_close(&mut self, out: &mut Output) -> Result<()> {
        let (timing, watermark) = (self.shape.timing, self.watermark);
        let over = |side: Side, slots: &BTreeMap<i64, Slot>| -> Vec<i64> {
            let buckets = slots.keys().copied();
            let over = buckets.take_while(|bucket| timing.is_over(side, *bucket, watermark));
            over.collect()
        };
        let [left, right] = &self.buckets;
        let mut closing = over(Side::Left, left);
        closing.extend(over(Side::Right, right));
        if self.waiting.is_none() || closing.is_empty() {
            return Ok(());
        }
        if timing != Timing::Window {
            return self.meet_all(out);
        }
        closing.sort_unstable();
        closing.dedup();
        for bucket in closing {
            self.meet_bucket(Side::Left, bucket, out)?;
            self.meet_bucket(Side::Right, bucket, out)?;
        }
        Ok(())
    }

    /// All rows on disk meet all rows that they have not met.
    pub(super) fn meet_all(&mut self, out: &mut Output) -> Result<()> {
        if self.waiting.take().is_none() {
            return Ok(());
        }
        for side in Side::BOTH {
            let slots = side.get(&self.buckets).iter();
            let on_disk = slots.filter(|(_, slot)| !slot.segments.is_empty());
            let on_disk: Vec<i64> = on_disk.map(|(bucket, _)| *bucket).collect();
            for bucket in on_disk {
                self.meet_bucket(side, bucket, out)?;
            }
        }
        Ok(())
    }

    fn meet_bucket(&mut self, side: Side, bucket: i64, out: &mut Output) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let mut results = Results {
            collector: &mut self.collector,
            out,
        };
        let [left, right] = &mut self.buckets;
        let (own, others) = match side {
            Side::Left => (left, right),
            Side::Right => (right, left),
        };
        let Some(slot) = own.get_mut(&bucket) else {
            return Ok(());
        };
        for (partner, other) in others.range_mut(shape.timing.partners(side, bucket)) {
            for segment in &mut slot.segments {
                meet_rest(&shape, side, segment, (*partner, other), &mut results)?;
            }
        }
        Ok(())
    }

    /// Sends the rows of a bucket that found no match.
    pub(super) fn close(&mut self, side: Side, slot: &Slot, out: &mut Output) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        if !shape.program.kind.keeps_unmatched(side) {
            return Ok(());
        }
        let mut results = Results {
            collector: &mut self.collector,
            out,
        };
        for segment in &slot.segments {
            for rows in segment.read(&shape, side)? {
                let (start, rows) = rows?;
                let matches = segment.matches(start, rows.len());
                send_unmatched(&shape.program, side, &rows, &matches, &mut results)?;
            }
        }
        for rows in slot.live.unmatched().chunks(results.collector.rows_max) {
            let rows = results::stored_alone(&shape.program, side, &slot.live, rows)?;
            results.collector.push(rows, results.out)?;
        }
        Ok(())
    }
}
