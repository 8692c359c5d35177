//! Rows that are divided into shares by a hash, each in the order in which its rows came, on disk:
//! what is larger than memory is then worked off one share at a time.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use datafusion_execution::disk_manager::DiskManager;

use super::ROWS;
use crate::error::Result;
use crate::spill::{Disk, Frame};

/// Shares: one of rows ten times the memory then takes a sixth of it.
pub(super) const SHARES: usize = if cfg!(test) { 4 } else { 64 };
/// Bytes of a share that wait to be written together.
const WAITING_BYTES: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// Takes rows in and puts them on disk by shares.
#[derive(Debug)]
pub(super) struct Spread {
    disk: Disk,
    shares: Vec<Waiting>,
}

/// Rows of one share: some on disk, then some in memory.
#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<Frame>,
    rows: Vec<RecordBatch>,
    bytes: usize,
}

impl Waiting {
    fn flush(&mut self, disk: &mut Disk) -> Result<()> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if let Some(first) = rows.first() {
            let rows = concat_batches(first.schema_ref(), &rows)?;
            self.frames.push(disk.write(&rows)?);
        }
        Ok(())
    }
}

impl Spread {
    pub(super) fn new(manager: &Arc<DiskManager>) -> Self {
        let mut shares = Vec::new();
        shares.resize_with(SHARES, Waiting::default);
        Self {
            disk: Disk::new(ROWS, manager),
            shares,
        }
    }

    /// Adds rows, each with its hash; all batches have one schema.
    pub(super) fn push(&mut self, rows: &RecordBatch, hashes: &[u64]) -> Result<()> {
        let mut places = vec![Vec::new(); SHARES];
        for (row, hash) in (0_u32..).zip(hashes) {
            // The first bits are the key group, which is nearly the same for all rows of a subtask.
            let share = usize::try_from((hash >> 32) % SHARES as u64).unwrap_or(0);
            if let Some(places) = places.get_mut(share) {
                places.push(row);
            }
        }
        let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
        for (places, share) in places.into_iter().zip(&mut self.shares) {
            if places.is_empty() {
                continue;
            }
            share.bytes += places.len() * row_bytes;
            let own = take_record_batch(rows, &UInt32Array::from(places))?;
            share.rows.push(own);
            if share.bytes >= WAITING_BYTES {
                share.flush(&mut self.disk)?;
            }
        }
        Ok(())
    }

    /// Takes what has come since the last call, by share.
    pub(super) fn take(&mut self) -> Result<Vec<Vec<Frame>>> {
        let disk = &mut self.disk;
        let shares = self.shares.iter_mut().map(|share| {
            share.flush(disk)?;
            Ok(std::mem::take(&mut share.frames))
        });
        shares.collect()
    }
}
