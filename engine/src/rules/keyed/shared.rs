//! Uniqueness within an island, without an exchange: its partitions share what they have seen.
//!
//! Whichever row of a key comes first is its first, as behind an exchange; no row is copied to another
//! partition to find that out. Keys of one whole number are bits as long as they lie close together,
//! others are their numbers; where memory gets short all goes on with one operator that puts its state
//! on disk, one partition at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use parking_lot::{Mutex, RwLock};

use super::dense::Dense;
use super::fingerprint;
use super::memory::{Saved, Values};
use super::seen::Seen;
use super::stage::Stage;
use super::state::of_rule;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Operator, Output};
use crate::spill::{self, Room};

/// What the partitions of a stage share.
#[derive(Debug)]
pub(super) struct Shared {
    stage: Arc<Stage>,
    task: TaskContext,
    kept: RwLock<Kept>,
    room: Mutex<Room>,
    /// Partitions that have not ended.
    open: AtomicUsize,
}

/// The keys that were there.
#[derive(Debug)]
enum Kept {
    /// In memory.
    Bits(Dense),
    /// In memory.
    Numbers(Seen),
    /// Memory was short.
    Spilling(Mutex<Box<dyn Operator>>),
}

impl Kept {
    fn see(
        &self,
        key: &[ArrayRef],
        rows: &BooleanBuffer,
        repeated: &mut BooleanBufferBuilder,
    ) -> Result<()> {
        match (self, key) {
            (Self::Bits(bits), [column]) => bits.see(column, rows, repeated)?,
            (Self::Numbers(seen), _) => {
                let numbers = fingerprint::keys(key, rows.len())?;
                let number = |row: usize| Some((row, *numbers.get(row)?));
                let rows: Vec<_> = rows.set_indices().filter_map(number).collect();
                seen.note(&rows, |row| repeated.set_bit(row, true), |_| {});
            }
            _ => {}
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bits(bits) => bits.bytes(),
            Self::Numbers(seen) => seen.held_bytes(),
            Self::Spilling(_) => 0,
        }
    }
}

impl Shared {
    /// For so many partitions.
    pub(super) fn new(stage: &Arc<Stage>, task: TaskContext, partitions: usize) -> Result<Self> {
        let bits = match stage.key() {
            [column] => Dense::of(column.data_type(stage.schema())?),
            _ => None,
        };
        Ok(Self {
            stage: Arc::clone(stage),
            kept: RwLock::new(bits.map_or_else(|| Kept::Numbers(Seen::default()), Kept::Bits)),
            room: Mutex::new(Room::new("keys of rules", &task)),
            task,
            open: AtomicUsize::new(partitions),
        })
    }

    /// The operator of one partition.
    pub(super) fn partition(self: &Arc<Self>) -> Box<dyn Operator> {
        Box::new(Partition(Arc::clone(self)))
    }

    /// Goes on in another way where this one takes too much memory.
    fn settle(&self) -> Result<()> {
        let (is_short, is_sparse) = {
            let kept = self.kept.read();
            let is_sparse = matches!(&*kept, Kept::Bits(bits) if bits.is_sparse());
            (self.account(kept.bytes()), is_sparse)
        };
        if !is_short && !is_sparse {
            return Ok(());
        }
        let mut kept = self.kept.write();
        if let Kept::Bits(bits) = &*kept {
            let seen = Seen::default();
            for numbers in bits.drain() {
                let rows: Vec<_> = numbers?.into_iter().enumerate().collect();
                seen.note(&rows, |_| {}, |_| {});
                self.account(bits.bytes() + seen.held_bytes());
            }
            *kept = Kept::Numbers(seen);
        }
        if let Kept::Numbers(seen) = &*kept
            && self.account(seen.held_bytes())
        {
            *kept = Kept::Spilling(Mutex::new(self.spill(seen)?));
        }
        self.account(kept.bytes());
        Ok(())
    }

    /// Takes memory for what is kept; gives whether it is short.
    fn account(&self, bytes: usize) -> bool {
        let room = self.room.lock();
        room.taken.resize(bytes);
        room.is_short()
    }

    /// Gives what was seen to an operator that can put it on disk.
    fn spill(&self, seen: &Seen) -> Result<Box<dyn Operator>> {
        let mut operator = spill::create(Arc::clone(&self.stage) as _, &self.task)?;
        let rows_max = self.task.job.batch_rows.max(1);
        let mut state = seen.drain().flat_map(|keys| {
            self.account(seen.held_bytes());
            let saved = Saved {
                gone: Vec::new(),
                keys,
                values: Values::None,
            };
            of_rule(0, saved, rows_max)
        });
        operator.restore(&mut state, &KeyGroups::all())?;
        Ok(operator)
    }
}

/// One of the partitions.
#[derive(Debug)]
struct Partition(Arc<Shared>);

impl Operator for Partition {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let Self(shared) = self;
        let kept = shared.kept.read();
        if let Kept::Spilling(operator) = &*kept {
            return operator.lock().process(input, batch, out);
        }
        let judged = shared.stage.judge_unique(
            batch,
            |key, rows, repeated| kept.see(key, rows, repeated),
            &shared.task,
        );
        out.send(judged?);
        drop(kept);
        shared.settle()
    }

    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        match &*self.0.kept.read() {
            Kept::Spilling(operator) => operator.lock().resume(out),
            _ => Ok(false),
        }
    }

    /// What is on disk is judged when no partition has more rows.
    fn end(&mut self, out: &mut Output) -> Result<()> {
        if self.0.open.fetch_sub(1, AcqRel) > 1 {
            return Ok(());
        }
        match &*self.0.kept.read() {
            Kept::Spilling(operator) => {
                let mut operator = operator.lock();
                operator.watermark(EventTime::MAX, out)?;
                operator.end(out)
            }
            _ => Ok(()),
        }
    }
}
