//! A part of the state: an operator in memory, or what it left on disk.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::Spillable;
use super::file::{Disk, Frame};
use super::gauge::Gauge;
use super::pending::Pending;
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// Bytes of changes on disk up to which they are never written anew as a whole.
const CHANGES_BYTES_MIN: u64 = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// An operator with what it takes of memory.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) operator: Box<dyn Operator>,
    pub(super) gauge: Arc<Gauge>,
}

impl Live {
    /// Makes an operator that counts into a gauge.
    pub(super) fn new(
        of: &Arc<dyn Spillable>,
        context: &TaskContext,
        gauge: Arc<Gauge>,
    ) -> Result<Self> {
        let mut context = context.clone();
        context.job.memory = Arc::clone(&gauge) as _;
        let operator = of.make(&context)?;
        Ok(Self { operator, gauge })
    }
}

/// Snapshots on disk: a full one, and the changes since.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) frames: Vec<Frame>,
    full: u64,
    changes: u64,
}

impl Chain {
    /// A full snapshot.
    fn full(frames: &[Frame]) -> Self {
        Self {
            full: frames.iter().map(|frame| frame.bytes).sum(),
            frames: frames.to_vec(),
            changes: 0,
        }
    }

    /// Adds a batch of the full snapshot.
    pub(super) fn push(&mut self, frame: Frame) {
        self.full += frame.bytes;
        self.frames.push(frame);
    }

    /// Adds batches of changes.
    fn extend(&mut self, frames: &[Frame]) {
        self.changes += frames.iter().map(|frame| frame.bytes).sum::<u64>();
        self.frames.extend_from_slice(frames);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.full + self.changes
    }

    /// Whether a full snapshot would be much less to read.
    fn is_long(&self) -> bool {
        self.changes > self.full.max(CHANGES_BYTES_MIN)
    }
}

/// One part of the state of a subtask.
#[derive(Debug)]
pub(super) struct Partition {
    /// Names the part in checkpoints of this subtask.
    pub(super) id: u64,
    pub(super) range: KeyGroups,
    pub(super) live: Option<Live>,
    /// The state, or for a part in memory what its changes are to be added to.
    pub(super) chain: Option<Chain>,
    /// Changes that no checkpoint has.
    pub(super) unsaved: Vec<Frame>,
    /// No checkpoint has anything of it.
    pub(super) anew: bool,
    pub(super) pending: Pending,
    /// Results before this watermark are given.
    pub(super) low: i64,
    /// What the rows that are kept on disk let the watermark reach, if they hold it back.
    pub(super) hold: i64,
    /// Since when it is behind, by the clock that never goes back.
    pub(super) behind: Option<Duration>,
    /// The time of day when it was in memory last.
    pub(super) visited: i64,
    /// Rows that came of late.
    pub(super) heat: u64,
    /// Bytes that it took in memory last.
    pub(super) bytes: usize,
    pub(super) is_queued: bool,
    /// It has taken rows since the clock made it give results last.
    pub(super) has_news: bool,
}

impl Partition {
    /// A part that is on disk, or empty.
    pub(super) fn new(id: u64, range: KeyGroups, chain: Chain, low: i64) -> Self {
        Self {
            id,
            range,
            live: None,
            chain: Some(chain),
            unsaved: Vec::new(),
            anew: true,
            pending: Pending::default(),
            low,
            hold: i64::MIN,
            behind: None,
            visited: i64::MIN,
            heat: 0,
            bytes: 0,
            is_queued: false,
            has_news: false,
        }
    }

    /// Reads the state back.
    pub(super) fn load(
        &mut self,
        of: &Arc<dyn Spillable>,
        context: &TaskContext,
        gauge: Arc<Gauge>,
    ) -> Result<()> {
        if self.live.is_some() {
            return Ok(());
        }
        let mut live = Live::new(of, context, gauge)?;
        let chain = self.chain.as_ref();
        let chain = chain.ok_or_else(|| Error::internal("a part of the state is nowhere"))?;
        if !chain.frames.is_empty() {
            let mut batches = chain.frames.iter().map(Frame::read);
            live.operator.restore(&mut batches, &self.range)?;
        }
        self.live = Some(live);
        Ok(())
    }

    /// Puts the state on disk: what has changed since it was read, or all.
    pub(super) fn evict(&mut self, disk: &mut Disk, out: &mut Output) -> Result<()> {
        let Some(Live {
            mut operator,
            gauge,
        }) = self.live.take()
        else {
            return Ok(());
        };
        self.bytes = gauge.bytes();
        self.hold = operator.output_watermark(EventTime::MAX).0;
        let known = self.chain.as_ref().is_some_and(|chain| !chain.is_long());
        if known || !self.anew {
            let changes = write(disk, operator.snapshot(Extent::Changes, out)?)?;
            if !self.anew {
                self.unsaved.extend_from_slice(&changes);
            }
            if let (true, Some(chain)) = (known, &mut self.chain) {
                chain.extend(&changes);
                return Ok(());
            }
        }
        let all = write(disk, operator.snapshot(Extent::All, out)?)?;
        self.chain = Some(Chain::full(&all));
        Ok(())
    }

    /// Gives all or what is new of a part in memory. It goes to disk before a checkpoint has it:
    /// what a snapshot holds is counted by nobody, and may be as much as all parts take. There it is
    /// what the part leaves when it goes itself, too.
    pub(super) fn save(
        &mut self,
        all: bool,
        disk: &mut Disk,
        out: &mut Output,
    ) -> Result<Vec<Frame>> {
        let Some(live) = &mut self.live else {
            return Ok(Vec::new());
        };
        let extent = if all { Extent::All } else { Extent::Changes };
        let frames = write(disk, live.operator.snapshot(extent, out)?)?;
        if all {
            self.chain = Some(Chain::full(&frames));
        } else if let Some(mut chain) = self.chain.take() {
            chain.extend(&frames);
            self.chain = Some(chain).filter(|chain| !chain.is_long());
        }
        Ok(frames)
    }

    /// Calls the operator, if it is in memory.
    pub(super) fn with_live(
        &mut self,
        call: impl FnOnce(&mut dyn Operator) -> Result<()>,
    ) -> Result<()> {
        match &mut self.live {
            Some(live) => call(&mut *live.operator),
            None => Ok(()),
        }
    }

    /// What the rows that are kept let the watermark reach.
    pub(super) fn holds(&self) -> i64 {
        match &self.live {
            Some(live) => live.operator.output_watermark(EventTime::MAX).0,
            None => self.hold,
        }
    }

    pub(super) fn live_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.gauge.bytes())
    }

    /// Reads the state that is on disk.
    pub(super) fn frames(&self) -> Vec<Frame> {
        let chain = self.chain.as_ref();
        chain.map_or_else(Vec::new, |chain| chain.frames.clone())
    }
}

/// Writes what a snapshot gives.
pub(super) fn write(disk: &mut Disk, state: StateBatches) -> Result<Vec<Frame>> {
    state.map(|batch| disk.write(&batch?)).collect()
}

/// Reads batches one after the other, on whatever thread asks for them.
pub(super) fn read(frames: Vec<Frame>) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    frames.into_iter().map(|frame| frame.read())
}
