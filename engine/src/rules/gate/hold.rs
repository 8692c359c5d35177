//! Rows on hold, by what they are judged with: in memory, and on disk where that is short.
//!
//! A checkpoint has the rows that came since the one before it, and up to which time rows were let go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, StateBatches};
use crate::spill::{self, Disk, Frame, Room};
use crate::updating::Format;
use crate::updating::state::unreadable;

pub(super) const FORMAT: Format = Format {
    name: "weir.rules.gate",
    version: "1",
};
/// Rows on hold.
pub(super) const HELD: &str = "held";
/// The time up to which rows were let go.
pub(super) const GONE: &str = "gone";

/// What a small batch costs beside its values: buffers, and a place in a list.
const BATCH_BYTES: usize = 1 << 10;
/// Bytes below which rows are not put on disk while they fit: the file would cost more than it frees. In
/// tests few rows are to take all ways.
const SPILL_BYTES_MIN: usize = if cfg!(test) { 600 } else { 128 << 10 };

/// Some rows of a pane.
#[derive(Debug, Clone)]
enum Place {
    Memory(RecordBatch),
    Disk(Frame),
}

/// Rows that came together.
#[derive(Debug, Clone)]
struct Chunk {
    at: Place,
    /// A checkpoint has them.
    saved: bool,
    /// They were restored by the call of this number.
    call: u32,
}

impl Chunk {
    fn read(&self) -> Result<RecordBatch> {
        match &self.at {
            Place::Memory(rows) => Ok(rows.clone()),
            Place::Disk(frame) => frame.read(),
        }
    }
}

/// The rows that are judged at once.
#[derive(Debug, Default)]
struct Pane {
    chunks: VecDeque<Chunk>,
    /// Small batches that become a chunk.
    fresh: Vec<RecordBatch>,
    fresh_rows: usize,
    /// Bytes in memory.
    bytes: usize,
}

impl Pane {
    /// Makes a chunk of small batches.
    fn settle(&mut self) -> Result<()> {
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh_rows = 0;
        let Some(first) = fresh.first() else {
            return Ok(());
        };
        let before: usize = fresh.iter().map(cost).sum();
        let rows = concat_batches(first.schema_ref(), &fresh)?;
        self.bytes = self.bytes + cost(&rows) - before;
        self.chunks.push_back(Chunk {
            at: Place::Memory(rows),
            saved: false,
            call: 0,
        });
        Ok(())
    }

    fn spill(&mut self, disk: &mut Disk) -> Result<()> {
        self.settle()?;
        for chunk in &mut self.chunks {
            if let Place::Memory(rows) = &chunk.at {
                chunk.at = Place::Disk(disk.write(rows)?);
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

fn cost(rows: &RecordBatch) -> usize {
    spill::bytes_of(rows) + BATCH_BYTES
}

/// All rows on hold of one subtask, by the start of their window.
#[derive(Debug)]
pub(super) struct Hold {
    schema: SchemaRef,
    panes: BTreeMap<i64, Pane>,
    /// Bytes of all panes in memory.
    bytes: usize,
    /// No pane has more bytes in memory.
    largest: usize,
    disk: Disk,
    room: Room,
    metrics: Arc<SubtaskMetrics>,
    batch_rows: usize,
    calls: u32,
}

impl Hold {
    pub(super) fn new(schema: &SchemaRef, context: &TaskContext) -> Self {
        let disk = &context.job.datafusion.runtime_env().disk_manager;
        Self {
            schema: Arc::clone(schema),
            panes: BTreeMap::new(),
            bytes: 0,
            largest: 0,
            disk: Disk::new("rows on hold", disk),
            room: Room::new("rows on hold", context),
            metrics: Arc::clone(&context.metrics),
            batch_rows: context.job.batch_rows.max(1),
            calls: 0,
        }
    }

    /// Changes a pane if it is there, and counts what that takes or frees.
    fn change<T>(
        &mut self,
        start: i64,
        change: impl FnOnce(&mut Pane, &mut Disk) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(pane) = self.panes.get_mut(&start) else {
            return Ok(None);
        };
        let before = pane.bytes;
        let changed = change(pane, &mut self.disk)?;
        self.bytes = (self.bytes + pane.bytes).saturating_sub(before);
        self.largest = self.largest.max(pane.bytes);
        Ok(Some(changed))
    }

    /// Takes rows of one pane.
    pub(super) fn push(&mut self, start: i64, rows: RecordBatch) -> Result<()> {
        let batch_rows = self.batch_rows;
        self.panes.entry(start).or_default();
        self.change(start, |pane, _| {
            pane.bytes += cost(&rows);
            pane.fresh_rows += rows.num_rows();
            pane.fresh.push(rows);
            match pane.fresh_rows >= batch_rows {
                true => pane.settle(),
                false => Ok(()),
            }
        })?;
        Ok(())
    }

    /// The start of the first pane.
    pub(super) fn first(&self) -> Option<i64> {
        self.panes.keys().next().copied()
    }

    /// Some rows of a pane, by number; `None` behind the last.
    pub(super) fn read(&mut self, start: i64, number: usize) -> Result<Option<RecordBatch>> {
        let read = |pane: &mut Pane, _: &mut Disk| {
            pane.settle()?;
            pane.chunks.get(number).map(Chunk::read).transpose()
        };
        Ok(self.change(start, read)?.flatten())
    }

    /// Lets the first rows of a pane go; `None` when all are gone.
    pub(super) fn pop(&mut self, start: i64) -> Result<Option<RecordBatch>> {
        let pop = |pane: &mut Pane, _: &mut Disk| {
            pane.settle()?;
            let chunk = pane.chunks.pop_front();
            if let Some(Place::Memory(rows)) = chunk.as_ref().map(|chunk| &chunk.at) {
                pane.bytes = pane.bytes.saturating_sub(cost(rows));
            }
            Ok(chunk)
        };
        let Some(chunk) = self.change(start, pop)?.flatten() else {
            self.panes.remove(&start);
            return Ok(None);
        };
        chunk.read().map(Some)
    }

    /// Accounts what is held, and `elsewhere` beside it; puts large panes on disk while memory is short,
    /// and small ones too if there is none.
    pub(super) fn settle(&mut self, elsewhere: usize) -> Result<()> {
        loop {
            let bytes = self.bytes + elsewhere;
            self.metrics.state_bytes.store(bytes as u64, Relaxed);
            match self.room.taken.try_resize(bytes) {
                Ok(()) if self.room.is_short() && self.spill(SPILL_BYTES_MIN)? => {}
                Ok(()) => return Ok(()),
                Err(_) if self.spill(1)? => {}
                // Who has little is not refused it because others have much.
                Err(_) if bytes <= self.room.share() / 16 => {
                    self.room.taken.resize(bytes);
                    return Ok(());
                }
                Err(error) => {
                    let message = "what rules measure of rows on hold does not fit in memory";
                    return Err(Error::new(Kind::Limit, codes::MEMORY, message)
                        .detail(format!("it takes {} MiB in one subtask", bytes >> 20))
                        .hint("give the job more memory with --memory, or divide the rows into fewer segments")
                        .caused_by(error));
                }
            }
        }
    }

    /// Puts panes of so many bytes on disk, the largest first, until half of the memory is free; says
    /// whether there were any. There may be many panes: they are looked at seldom, for many bytes at once.
    fn spill(&mut self, least: usize) -> Result<bool> {
        if self.largest < least {
            return Ok(false);
        }
        let panes = self.panes.iter().map(|(start, pane)| (pane.bytes, *start));
        let mut panes: Vec<(usize, i64)> = panes.filter(|(bytes, _)| *bytes >= least).collect();
        panes.sort_unstable();
        let half = self.bytes / 2;
        let is_any = !panes.is_empty();
        while let Some((_, start)) = panes.pop_if(|_| self.bytes > half) {
            self.change(start, Pane::spill)?;
        }
        let left = self.panes.values().map(|pane| pane.bytes);
        self.largest = left.max().unwrap_or(0);
        Ok(is_any)
    }

    /// What a checkpoint keeps: rows that the one before has not, or all, and that those up to `gone` are
    /// gone.
    pub(super) fn snapshot(&mut self, extent: Extent, gone: i64) -> Result<StateBatches> {
        let field = Arc::new(Field::new(GONE, DataType::Int64, false));
        let schema = FORMAT.schema(GONE, vec![field]);
        let one: ArrayRef = Arc::new(Int64Array::from(vec![gone]));
        let gone = RecordBatch::try_new(schema, vec![one])?;
        let mut chunks = Vec::new();
        for pane in self.panes.values_mut() {
            let before = pane.bytes;
            pane.settle()?;
            self.bytes = (self.bytes + pane.bytes).saturating_sub(before);
            let wanted = |chunk: &&mut Chunk| extent == Extent::All || !chunk.saved;
            for chunk in pane.chunks.iter_mut().filter(wanted) {
                chunk.saved = true;
                chunks.push(chunk.clone());
            }
        }
        let fields = self.schema.fields().iter();
        let schema = FORMAT.schema(HELD, fields.map(Arc::clone).collect());
        // They are there twice if those that are let go are not written yet.
        let memory = chunks.iter().map(|chunk| match &chunk.at {
            Place::Memory(rows) => spill::bytes_of(rows),
            Place::Disk(_) => 0,
        });
        let loan = self.room.lend(memory.sum());
        let held = chunks.into_iter().map(move |chunk| {
            let _until_written = &loan;
            let columns = chunk.read()?.columns().to_vec();
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        });
        Ok(Box::new(std::iter::once(Ok(gone)).chain(held)))
    }

    /// Begins to take back what one subtask had.
    pub(super) fn begin_restore(&mut self) {
        self.calls += 1;
    }

    /// Takes rows back.
    pub(super) fn restore(&mut self, start: i64, rows: RecordBatch) {
        let pane = self.panes.entry(start).or_default();
        let bytes = cost(&rows);
        pane.bytes += bytes;
        pane.chunks.push_back(Chunk {
            at: Place::Memory(rows),
            saved: true,
            call: self.calls,
        });
        self.bytes += bytes;
        self.largest = self.largest.max(pane.bytes);
    }

    /// Forgets restored rows that were let go later, those of panes for which `is_gone` says so.
    pub(super) fn restore_gone(&mut self, is_gone: impl Fn(i64) -> bool) {
        let call = self.calls;
        self.panes.retain(|start, pane| {
            if is_gone(*start) {
                pane.chunks.retain(|chunk| chunk.call != call);
                let memory = pane.chunks.iter().map(|chunk| match &chunk.at {
                    Place::Memory(rows) => cost(rows),
                    Place::Disk(_) => 0,
                });
                pane.bytes = memory.sum();
            }
            !pane.chunks.is_empty()
        });
        self.bytes = self.panes.values().map(|pane| pane.bytes).sum();
    }
}

/// The time up to which rows are gone, of a batch that says so.
pub(super) fn gone(batch: &RecordBatch) -> Result<i64> {
    let column = batch.columns().first();
    let times = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    let time = times.and_then(|times| times.values().first());
    time.copied()
        .ok_or_else(|| unreadable("it does not say which rows are gone".to_owned()))
}
