//! What a join that time bounds has still to give before a watermark or a barrier goes on.
//!
//! Rows on disk meet the rows of the other side that they have not met, then buckets that are over
//! give their rows without a match. All of this may be larger than memory, so it is a list of steps
//! of which each gives about one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meet::{Results, meet_some};
use super::pairs::Cursor;
use super::program::Keyed;
use super::results::{self, send_unmatched};
use super::shape::Shape;
use super::slot::{SegmentReader, Slot};
use super::spec::Side;
use super::table::Table;
use super::timed::Buckets;
use crate::error::Result;

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Rows on disk meet others.
    Visit(Box<Visit>),
    /// Buckets that the watermark has ended are taken out.
    Over,
    /// One of them gives what it has.
    Close(Box<Closing>),
}

/// The rows on disk of a bucket meet those rows of a bucket of the other side that they have not met.
#[derive(Debug)]
pub(super) struct Visit {
    side: Side,
    bucket: i64,
    partner: i64,
    /// How many rows of the partner each segment had met before.
    met: Option<Vec<usize>>,
    /// The segment of the partner that comes next, and the number of its first row.
    segment: usize,
    first: usize,
    reader: Option<SegmentReader>,
    live_is_met: bool,
    block: Option<Block>,
}

/// Rows of the partner that are in memory with an index, and who meets them.
#[derive(Debug, Default)]
struct Block {
    /// The segment that they are of; the rows that are in memory anyway if there is none.
    of: Option<usize>,
    table: Table,
    /// The number of the first row in its segment, in its bucket, and of the first after the last.
    start: usize,
    from: usize,
    to: usize,
    /// The segment that meets them now.
    segment: usize,
    reader: Option<SegmentReader>,
    probe: Option<Probe>,
}

/// Rows of a segment on their way through a block.
#[derive(Debug)]
struct Probe {
    start: usize,
    rows: Keyed,
    matches: Vec<u32>,
    cursor: Cursor,
}

impl Visit {
    pub(super) fn new(side: Side, bucket: i64, partner: i64) -> Self {
        Self {
            side,
            bucket,
            partner,
            met: None,
            segment: 0,
            first: 0,
            reader: None,
            live_is_met: false,
            block: None,
        }
    }

    /// Goes on; says whether there was something. Up to `block_bytes` are read into memory at once.
    pub(super) fn step(
        &mut self,
        shape: &Arc<Shape>,
        buckets: &mut Buckets,
        block_bytes: usize,
        results: &mut Results<'_>,
    ) -> Result<bool> {
        let [left, right] = buckets;
        let (own, others) = match self.side {
            Side::Left => (left, right),
            Side::Right => (right, left),
        };
        let slots = (own.get_mut(&self.bucket), others.get_mut(&self.partner));
        let (Some(slot), Some(other)) = slots else {
            return Ok(false);
        };
        let met = match self.met.take() {
            Some(met) => met,
            None => {
                let rows = other.rows();
                let segments = slot.segments.iter_mut();
                let note = segments.map(|s| s.met.insert(self.partner, rows).unwrap_or(0));
                note.collect()
            }
        };
        let mut block = match self.block.take() {
            Some(block) => Some(block),
            None => self.next_block(shape, &met, other, block_bytes)?,
        };
        let Some(current) = &mut block else {
            return Ok(false);
        };
        if !current.step(shape, self.side, (slot, other), &met, results)? {
            if let Some(theirs) = current.of.and_then(|of| other.segments.get_mut(of)) {
                theirs.set_matches(current.start, current.table.matches());
            }
            block = None;
        }
        (self.block, self.met) = (block, Some(met));
        Ok(true)
    }

    /// Reads the next rows of the partner that some segment has not met.
    fn next_block(
        &mut self,
        shape: &Arc<Shape>,
        met: &[usize],
        other: &Slot,
        block_bytes: usize,
    ) -> Result<Option<Block>> {
        let Some(least) = met.iter().min().copied() else {
            return Ok(None);
        };
        while let Some(theirs) = other.segments.get(self.segment) {
            let end = self.first + theirs.rows;
            if least < end {
                let mut reader = match self.reader.take() {
                    Some(reader) => reader,
                    None => theirs.read(shape, self.side.other())?,
                };
                let mut block = Block::default();
                while block.table.bytes() < block_bytes
                    && let Some(rows) = reader.next()
                {
                    let (start, mut rows) = rows?;
                    if self.first + start + rows.len() <= least {
                        continue;
                    }
                    let matches = if shape.counts(self.side.other()) {
                        theirs.matches(start, rows.len())
                    } else {
                        Vec::new()
                    };
                    if !shape.times {
                        rows.times.clear();
                    }
                    if block.table.len() == 0 {
                        block.start = start;
                    }
                    block.table.push(rows, &matches)?;
                }
                if block.table.len() > 0 {
                    self.reader = Some(reader);
                    block.of = Some(self.segment);
                    block.from = self.first + block.start;
                    block.to = block.from + block.table.len();
                    return Ok(Some(block));
                }
            }
            self.reader = None;
            self.first = end;
            self.segment += 1;
        }
        let to = self.first + other.live.len();
        if std::mem::replace(&mut self.live_is_met, true) || to <= least {
            return Ok(None);
        }
        Ok(Some(Block {
            from: self.first,
            to,
            ..Block::default()
        }))
    }
}

impl Block {
    /// Goes on; says whether there was something.
    fn step(
        &mut self,
        shape: &Arc<Shape>,
        side: Side,
        (slot, other): (&mut Slot, &mut Slot),
        met: &[usize],
        results: &mut Results<'_>,
    ) -> Result<bool> {
        let table = match self.of {
            Some(_) => &mut self.table,
            None => &mut other.live,
        };
        while let (Some(segment), Some(met)) =
            (slot.segments.get_mut(self.segment), met.get(self.segment))
        {
            if let Some(probe) = &mut self.probe {
                let from = u32::try_from(met.saturating_sub(self.from)).unwrap_or(u32::MAX);
                let counts = (&mut *probe.matches, &mut probe.cursor);
                if !meet_some(shape, side, &probe.rows, counts, (table, from), results)? {
                    segment.set_matches(probe.start, &probe.matches);
                    self.probe = None;
                }
                return Ok(true);
            }
            if self.reader.is_none() && *met < self.to {
                self.reader = Some(segment.read(shape, side)?);
            }
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(rows) => {
                    let (start, rows) = rows?;
                    self.probe = Some(Probe {
                        matches: segment.matches(start, rows.len()),
                        start,
                        rows,
                        cursor: Cursor::default(),
                    });
                }
                None => {
                    self.reader = None;
                    self.segment += 1;
                }
            }
        }
        Ok(false)
    }
}

/// A bucket that is over, and how far its rows are given.
#[derive(Debug)]
pub(super) struct Closing {
    side: Side,
    slot: Slot,
    segment: usize,
    reader: Option<SegmentReader>,
    /// The rows in memory without a match, and how many of them are given.
    unmatched: Option<Vec<u32>>,
    given: usize,
}

impl Closing {
    pub(super) fn new(side: Side, slot: Slot) -> Self {
        Self {
            side,
            slot,
            segment: 0,
            reader: None,
            unmatched: None,
            given: 0,
        }
    }

    /// Goes on; says whether there was something.
    pub(super) fn step(&mut self, shape: &Arc<Shape>, results: &mut Results<'_>) -> Result<bool> {
        if let Some(segment) = self.slot.segments.get(self.segment) {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => segment.read(shape, self.side)?,
            };
            if let Some(rows) = reader.next() {
                let (start, rows) = rows?;
                let matches = segment.matches(start, rows.len());
                send_unmatched(&shape.program, self.side, &rows, &matches, results)?;
                self.reader = Some(reader);
            } else {
                self.segment += 1;
            }
            return Ok(true);
        }
        let live = &self.slot.live;
        let unmatched = self.unmatched.get_or_insert_with(|| live.unmatched());
        let rest = unmatched.iter().skip(self.given);
        let rows: Vec<u32> = rest.take(results.collector.rows_max).copied().collect();
        if rows.is_empty() {
            return Ok(false);
        }
        self.given += rows.len();
        let rows = results::stored_alone(&shape.program, self.side, live, &rows)?;
        results.collector.push(rows, results.out)?;
        Ok(true)
    }
}

/// The buckets of a side with rows on disk.
pub(super) fn on_disk(slots: &BTreeMap<i64, Slot>) -> Vec<i64> {
    let on_disk = slots.iter().filter(|(_, slot)| !slot.segments.is_empty());
    on_disk.map(|(bucket, _)| *bucket).collect()
}
