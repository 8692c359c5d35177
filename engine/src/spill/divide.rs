//! A full snapshot is divided by the hashes of its keys: each part of it is one of a part of the
//! keys. One pass over the state, whatever the number of parts.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;

use super::file::Disk;
use super::partition::Chain;
use super::{Spillable, bytes_of};
use crate::error::Result;
use crate::key_group::KeyGroups;

/// The rows of a batch by the parts that they belong to.
pub(super) struct Sorted {
    /// The rows, those of each part together.
    pub(super) rows: RecordBatch,
    /// The part, the first row, and how many there are.
    pub(super) parts: Vec<(usize, usize, usize)>,
}

/// Puts the rows of each part together, in their order. Rows of no part are left out.
pub(super) fn sort(rows: &RecordBatch, hashes: &[u64], parts: &[KeyGroups]) -> Result<Sorted> {
    let part_of = |hash: &u64| {
        let place = KeyGroups::place(*hash);
        let part = parts.partition_point(|part| part.bounds().1 <= place);
        parts.get(part).filter(|p| p.holds(*hash)).map(|_| part)
    };
    let of: Vec<Option<usize>> = hashes.iter().map(part_of).collect();
    let mut counts = vec![0_usize; parts.len()];
    for part in of.iter().flatten() {
        if let Some(count) = counts.get_mut(*part) {
            *count += 1;
        }
    }
    let (mut starts, mut shares, mut start) = (Vec::new(), Vec::new(), 0);
    for (part, count) in counts.iter().enumerate() {
        starts.push(start);
        if *count > 0 {
            shares.push((part, start, *count));
        }
        start += count;
    }
    if let ([(_, 0, count)], true) = (shares.as_slice(), start == rows.num_rows()) {
        debug_assert_eq!(*count, rows.num_rows());
        return Ok(Sorted {
            rows: rows.clone(),
            parts: shares,
        });
    }
    let mut order = vec![0_u32; start];
    for (row, part) in (0_u32..).zip(&of) {
        let next = part.and_then(|part| starts.get_mut(part));
        if let Some(next) = next {
            if let Some(place) = order.get_mut(*next) {
                *place = row;
            }
            *next += 1;
        }
    }
    Ok(Sorted {
        rows: take_record_batch(rows, &UInt32Array::from(order))?,
        parts: shares,
    })
}

/// Rows of one part that are not on disk yet.
#[derive(Default)]
struct Share {
    rows: Vec<RecordBatch>,
    bytes: usize,
    chain: Chain,
}

impl Share {
    fn flush(&mut self, disk: &mut Disk) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if let Some(first) = rows.first() {
            let rows = concat_batches(first.schema_ref(), &rows)?;
            self.chain.push(disk.write(&rows)?);
        }
        Ok(())
    }
}

/// Divides a full snapshot. Not more than `piece_bytes` of each part are in memory.
pub(super) fn divide(
    of: &Arc<dyn Spillable>,
    disk: &mut Disk,
    state: &mut dyn Iterator<Item = Result<RecordBatch>>,
    parts: &[KeyGroups],
    piece_bytes: usize,
) -> Result<Vec<Chain>> {
    let mut shares: Vec<Share> = Vec::new();
    shares.resize_with(parts.len(), Share::default);
    for batch in state {
        let batch = batch?;
        let Some(hashes) = of.state_hashes(&batch)? else {
            let frame = disk.write(&batch)?;
            for share in &mut shares {
                share.flush(disk)?;
                share.chain.push(frame.clone());
            }
            continue;
        };
        let sorted = sort(&batch, &hashes, parts)?;
        let bytes = bytes_of(&sorted.rows) / sorted.rows.num_rows().max(1);
        for (part, start, rows) in sorted.parts {
            let Some(share) = shares.get_mut(part) else {
                continue;
            };
            // What a snapshot gives first has to come first.
            let other = |kept: &RecordBatch| kept.schema_ref() != batch.schema_ref();
            if share.rows.last().is_some_and(other) {
                share.flush(disk)?;
            }
            share.rows.push(sorted.rows.slice(start, rows));
            share.bytes += bytes * rows;
            if share.bytes >= piece_bytes {
                share.flush(disk)?;
            }
        }
    }
    for share in &mut shares {
        share.flush(disk)?;
    }
    Ok(shares.into_iter().map(|share| share.chain).collect())
}
