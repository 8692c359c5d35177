//! The rows of one side in one bucket: those in memory, and before them those on disk.
//!
//! Rows are numbered through: first those of the segments, then those of the table. A segment is
//! not searched for each new row of the other side. It notes how many rows of each bucket there it
//! has met, and meets the others when results must be out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use datafusion_execution::disk_manager::DiskManager;

use super::program::Keyed;
use super::shape::Shape;
use super::spec::Side;
use super::spill::Spilled;
use super::table::Table;
use crate::error::Result;
use crate::operator::StateBatches;

/// Bytes of a segment beside what it has per row. In tests segments have few rows.
const SEGMENT_BYTES: usize = if cfg!(test) { 32 } else { 512 };

/// Rows on disk.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Spilled,
    pub(super) rows: usize,
    /// Which rows have a match; empty where nobody asks.
    matched: BooleanBufferBuilder,
    /// How many rows of each bucket of the other side the rows have met.
    pub(super) met: BTreeMap<i64, usize>,
    /// Rows that are in a snapshot, and those of them that have found a match since.
    saved: usize,
    changed: Vec<u32>,
}

/// The rows of a segment on their way into memory.
pub(super) struct SegmentReader {
    batches: StateBatches,
    shape: Arc<Shape>,
    side: Side,
    start: usize,
}

impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, start) = (&self.side, &self.start);
        write!(f, "rows of {side:?} from {start} on")
    }
}

impl Iterator for SegmentReader {
    type Item = Result<(usize, Keyed)>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        let keyed = batch.and_then(|batch| self.shape.program.keyed(self.side, &batch));
        Some(keyed.map(|keyed| {
            let start = self.start;
            self.start += keyed.len();
            (start, keyed)
        }))
    }
}

/// Rows of one side in one bucket.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) segments: Vec<Segment>,
    pub(super) live: Table,
}

impl Segment {
    /// The rows, in batches, with the number of the first of each.
    pub(super) fn read(&self, shape: &Arc<Shape>, side: Side) -> Result<SegmentReader> {
        Ok(SegmentReader {
            batches: Box::new(self.file.read()?),
            shape: Arc::clone(shape),
            side,
            start: 0,
        })
    }

    /// Which rows have a match, as they are now.
    pub(super) fn matched(&self) -> BooleanBuffer {
        self.matched.finish_cloned()
    }

    /// Says of rows whether they have a match.
    pub(super) fn matches(&self, start: usize, rows: usize) -> Vec<u32> {
        let row = |row| u32::from(row < self.matched.len() && self.matched.get_bit(row));
        (start..start + rows).map(row).collect()
    }

    /// Notes the rows that have a match.
    pub(super) fn set_matches(&mut self, start: usize, matches: &[u32]) {
        for (row, count) in (start..).zip(matches) {
            if *count == 0 || row >= self.matched.len() || self.matched.get_bit(row) {
                continue;
            }
            self.matched.set_bit(row, true);
            if row < self.saved {
                self.changed.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
    }

    pub(super) fn saved(&self) -> usize {
        self.saved
    }

    fn save(&mut self) -> Vec<u32> {
        self.saved = self.rows;
        std::mem::take(&mut self.changed)
    }

    fn bytes(&self) -> usize {
        SEGMENT_BYTES + self.matched.len() / 8 + self.changed.capacity() * 4
    }
}

impl Slot {
    /// Rows in memory alone.
    pub(super) fn of(live: Table) -> Self {
        Self {
            segments: Vec::new(),
            live,
        }
    }

    /// Rows on disk and in memory.
    pub(super) fn rows(&self) -> usize {
        self.on_disk() + self.live.len()
    }

    /// Rows on disk.
    pub(super) fn on_disk(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.live.bytes() + self.segments.iter().map(Segment::bytes).sum::<usize>()
    }

    /// Bytes of the rows in memory that the next snapshot holds.
    pub(super) fn unsaved_bytes(&self, all: bool) -> usize {
        let saved = if all { 0 } else { self.live.saved };
        self.live.rows.bytes_from(saved)
    }

    /// Sets the count of a row by its number.
    pub(super) fn set_matches(&mut self, row: u32, count: u32) {
        let mut first = 0;
        for segment in &mut self.segments {
            let at = row as usize - first;
            if at < segment.rows {
                segment.set_matches(at, &[count]);
                return;
            }
            first += segment.rows;
        }
        let row = u32::try_from(row as usize - first).unwrap_or(u32::MAX);
        self.live.set_matches(row, count);
    }

    /// Takes the rows of the last snapshot whose counts have changed; from now on all are in one.
    pub(super) fn save(&mut self) -> Vec<(u32, u32)> {
        let mut changed = Vec::new();
        let mut first = 0_u32;
        for segment in &mut self.segments {
            changed.extend(segment.save().into_iter().map(|row| (first + row, 1)));
            first += u32::try_from(segment.rows).unwrap_or(0);
        }
        let live = self.live.save().into_iter();
        changed.extend(live.map(|(row, count)| (first + row, count)));
        changed
    }

    /// Puts the rows that are in memory on disk. They have met `met` rows of the other side.
    pub(super) fn spill(
        &mut self,
        shape: &Shape,
        side: Side,
        disk: &Arc<DiskManager>,
        met: BTreeMap<i64, usize>,
    ) -> Result<()> {
        let table = std::mem::take(&mut self.live);
        let schema = side.get(&shape.program.rows);
        let rows = table.rows.from(0).into_iter().map(|batch| {
            let columns = shape.program.without_keys(side, &batch);
            Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
        });
        let file = Spilled::write(disk, schema, rows)?;
        let mut matched = BooleanBufferBuilder::new(table.matches().len());
        for count in table.matches() {
            matched.append(*count > 0);
        }
        self.segments.push(Segment {
            file,
            rows: table.len(),
            matched,
            met,
            saved: table.saved,
            changed: table.into_changed(),
        });
        Ok(())
    }
}
