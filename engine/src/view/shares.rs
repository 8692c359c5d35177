//! The rows of a view that are larger than memory: shares by key, on disk.
//!
//! Nothing downstream asks for the rows of a view, so what comes is only put with the share that it
//! belongs to. When a snapshot is written, on the thread that writes it, each share with something
//! new is read back in its turn, takes what has come, says what has changed, and goes again.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;

use super::lines::{Part, batches, labelled};
use super::operator::apply;
use super::spread::Spread;
use super::table::{Line, Table};
use super::{Program, ROWS};
use crate::error::Result;
use crate::key_group::hash_keys;
use crate::operator::{Extent, StateBatches};
use crate::spill::{Disk, Frame};

/// Bytes of changes of a share up to which its rows are never written anew.
const CHANGES_BYTES_MIN: u64 = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// All rows of one subtask, by shares.
pub(super) struct Shares {
    program: Arc<Program>,
    /// What has come since the last snapshot was taken.
    coming: Spread,
    kept: Vec<Arc<Mutex<Share>>>,
    /// Where shares are written anew.
    disk: Arc<Mutex<Disk>>,
    /// Whether there was a snapshot, or there is one that the rows were restored from.
    tracking: bool,
    batch_rows: usize,
    memory: MemoryReservation,
}

/// The rows of one share as of the last snapshot.
#[derive(Debug)]
struct Share {
    /// All rows, then what has changed.
    rows: Vec<Frame>,
    full: u64,
    changes: u64,
    /// What has changed since the last snapshot and is in the rows already.
    news: Vec<Frame>,
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shares", self.kept.len())
    }
}

impl Shares {
    /// Puts a table on disk. `memory` is taken for one share at a time.
    pub(super) fn of(
        mut table: Table,
        program: &Arc<Program>,
        batch_rows: usize,
        disk: &Arc<DiskManager>,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let tracking = table.is_tracking();
        let news = if tracking {
            table.take_changes()
        } else {
            Vec::new()
        };
        let (mut rows, mut changed) = (Spread::new(disk), Spread::new(disk));
        for (spread, lines) in [(&mut rows, table.rows()), (&mut changed, news)] {
            for batch in batches(program, Part::Changes, lines, batch_rows) {
                push(spread, program, &batch?)?;
            }
        }
        drop(table);
        let shares = rows.take()?.into_iter().zip(changed.take()?);
        let shares = shares.map(|(rows, news)| Share {
            full: bytes(&rows),
            changes: 0,
            rows,
            news,
        });
        Ok(Self {
            kept: shares.map(|share| Arc::new(Mutex::new(share))).collect(),
            disk: Arc::new(Mutex::new(Disk::new(ROWS, disk))),
            coming: rows,
            program: Arc::clone(program),
            tracking,
            batch_rows,
            memory,
        })
    }

    /// Takes rows or changes in.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        push(&mut self.coming, &self.program, batch)
    }

    /// What came until now was restored: it is no change.
    pub(super) fn restored(&mut self) -> Result<()> {
        for (share, frames) in self.kept.iter().zip(self.coming.take()?) {
            let mut share = share.lock();
            share.changes += bytes(&frames);
            share.rows.extend(frames);
        }
        self.tracking = true;
        Ok(())
    }

    /// Gives what has changed, or all; the work is done by who takes the batches.
    pub(super) fn snapshot(&mut self, extent: Extent) -> Result<StateBatches> {
        let tracking = std::mem::replace(&mut self.tracking, true);
        let coming = self.coming.take()?;
        let kept: Vec<_> = self.kept.iter().map(Arc::clone).collect();
        let (program, rows_max) = (Arc::clone(&self.program), self.batch_rows);
        let room = self.memory.new_empty();
        let disk = Arc::clone(&self.disk);
        let shares = kept.into_iter().zip(coming);
        Ok(Box::new(shares.flat_map(move |(share, coming)| {
            let step = Step {
                program: &program,
                disk: &disk,
                rows_max,
                tracking,
                extent,
            };
            let given = step.take(&mut share.lock(), &coming, &room);
            given.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
        })))
    }
}

/// How a snapshot goes over a share.
struct Step<'a> {
    program: &'a Arc<Program>,
    disk: &'a Mutex<Disk>,
    rows_max: usize,
    tracking: bool,
    extent: Extent,
}

impl Step<'_> {
    /// Adds what has come to a share; gives what the snapshot has to say of it.
    fn take(
        &self,
        share: &mut Share,
        coming: &[Frame],
        room: &MemoryReservation,
    ) -> Result<StateBatches> {
        let all = self.extent == Extent::All;
        if coming.is_empty() && share.news.is_empty() && self.tracking && !all {
            return Ok(Box::new(std::iter::empty()));
        }
        let mut table = self.load(&share.rows, room)?;
        for frame in coming {
            apply(self.program, &mut table, &frame.read()?)?;
            // One share is always let in: without it nothing goes on.
            room.resize(table.bytes());
        }
        let changes = table.take_changes();
        let first = all && !self.tracking;
        let rows = (all && !first).then(|| table.rows());
        self.keep(share, &table, &changes)?;
        let part = match self.extent {
            Extent::All if first => Part::First,
            Extent::All => Part::Included,
            Extent::Changes => Part::Changes,
        };
        let program = Arc::clone(self.program);
        let news = std::mem::take(&mut share.news).into_iter();
        let news = news.map(move |frame| labelled(&program, part, &frame.read()?));
        let lines = |part, lines| batches(self.program, part, lines, self.rows_max);
        let rows = rows.map(|rows| lines(Part::Rows, rows));
        let changes = lines(part, changes);
        Ok(Box::new(
            rows.into_iter().flatten().chain(news).chain(changes),
        ))
    }

    fn load(&self, rows: &[Frame], room: &MemoryReservation) -> Result<Table> {
        let keyed = !self.program.key.is_empty();
        let mut loaded = Table::new(keyed);
        for frame in rows {
            apply(self.program, &mut loaded, &frame.read()?)?;
            room.resize(loaded.bytes());
        }
        if !self.tracking {
            return Ok(loaded);
        }
        // What was there before is no change.
        let mut table = Table::new(keyed);
        table.absorb(loaded);
        Ok(table)
    }

    /// Puts a share on disk again: what has changed, or all where that is not more.
    fn keep(&self, share: &mut Share, table: &Table, changes: &[Line]) -> Result<()> {
        let anew = !self.tracking || share.changes > share.full.max(CHANGES_BYTES_MIN);
        let lines = if anew { table.rows() } else { changes.to_vec() };
        let mut frames = Vec::new();
        let mut disk = self.disk.lock();
        for batch in batches(self.program, Part::Changes, lines, self.rows_max) {
            frames.push(disk.write(&batch?)?);
        }
        if anew {
            (share.full, share.changes) = (bytes(&frames), 0);
            share.rows = frames;
        } else {
            share.changes += bytes(&frames);
            share.rows.extend(frames);
        }
        Ok(())
    }
}

/// Puts rows with their shares, by what decides their subtask too.
fn push(spread: &mut Spread, program: &Program, batch: &RecordBatch) -> Result<()> {
    let batch = labelled(program, Part::Changes, batch)?;
    let keys: Vec<ArrayRef> = program.hashed(&batch);
    let mut hashes = Vec::new();
    hash_keys(&keys, batch.num_rows(), &mut hashes)?;
    spread.push(&batch, &hashes)
}

fn bytes(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.bytes).sum()
}
