//! State that is taken back before it is known whether it fits.
//!
//! What an operator is given is kept beside it, on disk from a certain size on. If memory gets short
//! while it is read, the operator is given up, and the parts of the keys are made one after the other
//! from what was kept.

use arrow::record_batch::RecordBatch;

use super::bytes_of;
use super::file::{Disk, Frame};
use super::gauge::{Gauge, Room};
use super::operator::Spilling;
use super::partition::{Chain, Live, Partition};
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::Output;

/// Parts that are made of what does not fit, each by a pass over all of it: they are divided further
/// as they are used.
const PASSES: u64 = 16;

/// What one earlier subtask left.
#[derive(Debug, Default)]
struct Kept {
    /// The first batches, unless they are on disk too.
    batches: Vec<RecordBatch>,
    bytes: usize,
    frames: Vec<Frame>,
}

impl Kept {
    fn add(&mut self, batch: &RecordBatch, bytes_max: usize, disk: &mut Disk) -> Result<()> {
        if self.frames.is_empty() {
            self.bytes += bytes_of(batch);
            self.batches.push(batch.clone());
            if self.bytes <= bytes_max {
                return Ok(());
            }
            self.bytes = 0;
            for batch in std::mem::take(&mut self.batches) {
                self.frames.push(disk.write(&batch)?);
            }
            return Ok(());
        }
        self.frames.push(disk.write(batch)?);
        Ok(())
    }

    fn read(&self) -> impl Iterator<Item = Result<RecordBatch>> + '_ {
        let batches = self.batches.iter().map(|batch| Ok(batch.clone()));
        batches.chain(self.frames.iter().map(Frame::read))
    }
}

/// All that was taken back, until the first row comes.
#[derive(Debug, Default)]
pub(super) struct Past {
    kept: Vec<Kept>,
    /// It does not fit.
    is_too_large: bool,
}

/// Batches on their way to an operator.
struct Tee<'a> {
    state: &'a mut dyn Iterator<Item = Result<RecordBatch>>,
    kept: Kept,
    bytes_max: usize,
    room: &'a Room,
    disk: &'a mut Disk,
    is_short: bool,
}

impl Tee<'_> {
    fn pull(&mut self) -> Option<Result<RecordBatch>> {
        let batch = match self.state.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let kept = self.kept.add(&batch, self.bytes_max, self.disk);
        Some(kept.map(|()| batch))
    }
}

impl Iterator for Tee<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // The operator is given up: it does not matter that it gets a part only.
        self.is_short |= self.room.is_short();
        if self.is_short { None } else { self.pull() }
    }
}

impl Spilling {
    /// Takes back what one earlier subtask left, as one.
    pub(super) fn take_back(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
    ) -> Result<()> {
        let in_memory: usize = self.past.kept.iter().map(|kept| kept.bytes).sum();
        let mut tee = Tee {
            state,
            kept: Kept::default(),
            bytes_max: (self.room.share() / 8).saturating_sub(in_memory),
            room: &self.room,
            disk: &mut self.disk,
            is_short: self.past.is_too_large,
        };
        let mut done = Ok(());
        if let Some(whole) = &mut self.whole {
            done = whole.operator.restore(&mut tee, &self.groups);
        }
        if tee.is_short {
            // What it says of a part of its state means nothing.
            drop(self.whole.take());
            while let Some(batch) = tee.pull() {
                batch?;
            }
            self.past.is_too_large = true;
        } else {
            done?;
        }
        let kept = std::mem::take(&mut tee.kept);
        self.past.kept.push(kept);
        Ok(())
    }

    /// Makes the parts of what did not fit, and forgets what was kept.
    pub(super) fn settle_past(&mut self, out: &mut Output) -> Result<()> {
        let past = std::mem::take(&mut self.past);
        if !past.is_too_large {
            return Ok(());
        }
        for range in self.gaps().iter().flat_map(|gap| gap.cut(PASSES)) {
            let mut live = Live::new(&self.of, &self.context, Gauge::new(&self.room.taken))?;
            for kept in &past.kept {
                live.operator.restore(&mut kept.read(), &range)?;
            }
            let id = self.number();
            let mut part = Partition::new(id, range, Chain::default(), self.watermark);
            (part.live, part.chain) = (Some(live), None);
            part.evict(&mut self.disk, out)?;
            part.behind = self.waits_for_clock();
            self.parts.push(part);
        }
        self.parts.sort_by_key(|part| part.range.bounds());
        self.renew();
        Ok(())
    }

    /// The keys of this subtask that no part has.
    pub(super) fn gaps(&mut self) -> Vec<KeyGroups> {
        let (mut at, end) = self.groups.bounds();
        let mut gaps = Vec::new();
        self.parts.sort_by_key(|part| part.range.bounds());
        for part in &self.parts {
            let (from, to) = part.range.bounds();
            if at < from {
                gaps.push(KeyGroups::between(at, from));
            }
            at = at.max(to);
        }
        if at < end {
            gaps.push(KeyGroups::between(at, end));
        }
        gaps
    }
}
