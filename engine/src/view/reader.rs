//! Reads views from checkpoints: in memory while it suffices, then share by share.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion_execution::runtime_env::RuntimeEnv;

use super::lines::{FORMAT, Part, schema};
use super::spread::Spread;
use crate::changelog::{changelog_schema, rows_schema};
use crate::error::{Error, Result};
use crate::limits;
use crate::operator::StateBatches;
use crate::spill::Frame;
use crate::updating::fold::Fold;

/// What a reader may take.
#[derive(Debug, Clone)]
pub struct Room {
    memory: Arc<dyn MemoryPool>,
    disk: Arc<DiskManager>,
}

impl Room {
    /// Takes memory and temporary files from DataFusion's environment.
    pub fn of(runtime: &RuntimeEnv) -> Self {
        Self {
            memory: Arc::clone(&runtime.memory_pool),
            disk: Arc::clone(&runtime.disk_manager),
        }
    }

    fn account(&self) -> MemoryReservation {
        MemoryConsumer::new("reader of a materialized view").register(&self.memory)
    }
}

/// The rows of a view at one epoch, as they are gathered.
#[derive(Debug)]
pub struct Snapshot {
    schema: SchemaRef,
    room: Room,
    gathered: Gathered,
    account: MemoryReservation,
}

#[derive(Debug)]
enum Gathered {
    InMemory(Fold),
    OnDisk { like: Fold, spread: Spread },
}

impl Snapshot {
    /// Begins with no rows; `schema` is the view's, with `_op` or without.
    pub fn try_new(schema: &SchemaRef, room: &Room) -> Result<Self> {
        Ok(Self {
            schema: rows_schema(schema),
            gathered: Gathered::InMemory(Fold::try_new(schema)?),
            account: room.account(),
            room: room.clone(),
        })
    }

    /// Adds what one subtask has saved: its last snapshot of [`crate::operator::Extent::All`], if
    /// any, and those of changes after it up to the epoch, in order. The order of the subtasks does
    /// not matter.
    pub fn apply(&mut self, chain: StateBatches) -> Result<()> {
        for batch in chain {
            let batch = batch?;
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&self.schema, part))?;
            if !part.is_state() {
                continue;
            }
            match &mut self.gathered {
                Gathered::InMemory(fold) => {
                    fold.apply(&batch)?;
                    if self.account.try_resize(taken(fold)).is_err() {
                        self.go_to_disk()?;
                    }
                }
                Gathered::OnDisk { like, spread } => put(like, spread, &batch)?,
            }
        }
        Ok(())
    }

    /// All chains were applied.
    pub fn finish(self) -> Result<Rows> {
        let held = match self.gathered {
            Gathered::InMemory(fold) => Held::InMemory(Share {
                fold: Arc::new(fold),
                _account: Arc::new(self.account),
            }),
            Gathered::OnDisk { mut spread, .. } => Held::OnDisk(spread.take()?),
        };
        Ok(Rows {
            schema: self.schema,
            room: self.room,
            held,
        })
    }

    fn go_to_disk(&mut self) -> Result<()> {
        let like = Fold::try_new(&self.schema)?;
        let mut spread = Spread::new(&self.room.disk);
        if let Gathered::InMemory(fold) = &self.gathered {
            for batch in fold.changes(limits::BATCH_ROWS) {
                put(&like, &mut spread, &batch?)?;
            }
        }
        self.gathered = Gathered::OnDisk { like, spread };
        self.account.free();
        Ok(())
    }
}

/// Bytes of rows and of the batches that are made of them.
fn taken(fold: &Fold) -> usize {
    2 * fold.bytes()
}

/// Equal rows are in one share, whatever their order.
fn put(like: &Fold, spread: &mut Spread, batch: &RecordBatch) -> Result<()> {
    let hashes = like.hashes(batch)?;
    let columns = batch.columns().to_vec();
    let batch = RecordBatch::try_new(changelog_schema(&like.schema()), columns)?;
    spread.push(&batch, &hashes)
}

/// The rows of a view at one epoch, in shares that fit in memory one by one.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    room: Room,
    held: Held,
}

#[derive(Debug)]
enum Held {
    InMemory(Share),
    OnDisk(Vec<Vec<Frame>>),
}

/// Some of the rows of a view. Accounted as long as it lives.
#[derive(Debug, Clone)]
pub struct Share {
    fold: Arc<Fold>,
    _account: Arc<MemoryReservation>,
}

impl Rows {
    /// How many shares there are: one when all is in memory.
    pub fn shares(&self) -> usize {
        match &self.held {
            Held::InMemory(_) => 1,
            Held::OnDisk(shares) => shares.len(),
        }
    }

    /// Gives one share; reads from disk. Fails when a chain was missing.
    pub fn share(&self, at: usize) -> Result<Share> {
        let frames = match &self.held {
            Held::InMemory(share) => return share.clone().whole(),
            Held::OnDisk(shares) => shares.get(at).map_or(&[][..], Vec::as_slice),
        };
        let account = self.room.account();
        let mut fold = Fold::try_new(&self.schema)?;
        for frame in frames {
            fold.apply(&frame.read()?)?;
            // One share is always let in: without it nothing is read at all.
            account.resize(taken(&fold));
        }
        Share {
            fold: Arc::new(fold),
            _account: Arc::new(account),
        }
        .whole()
    }

    /// Puts the rows on disk, where they are not.
    fn spread(self) -> Result<Self> {
        let Held::InMemory(share) = &self.held else {
            return Ok(self);
        };
        let mut spread = Spread::new(&self.room.disk);
        for batch in share.fold.changes(limits::BATCH_ROWS) {
            put(&share.fold, &mut spread, &batch?)?;
        }
        Ok(Self {
            held: Held::OnDisk(spread.take()?),
            ..self
        })
    }
}

impl Share {
    fn whole(self) -> Result<Self> {
        if self.fold.is_short() {
            return Err(Error::internal("a part of a view's snapshot is missing"));
        }
        Ok(self)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.fold.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.fold.is_empty()
    }

    /// The rows in a fixed order, in batches of at most so many.
    pub fn batches(&self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        self.fold.batches(rows_max)
    }
}

/// Gives what makes the rows of one epoch those of another, share by share: the rows that go, then
/// those that come.
pub fn difference(
    before: Rows,
    after: Rows,
    rows_max: usize,
) -> Result<impl Iterator<Item = Result<[Vec<RecordBatch>; 2]>>> {
    let (before, after) = if before.shares() == 1 && after.shares() == 1 {
        (before, after)
    } else {
        (before.spread()?, after.spread()?)
    };
    Ok((0..before.shares()).map(move |at| {
        let (before, after) = (before.share(at)?, after.share(at)?);
        let (gone, come) = before.fold.difference(&after.fold)?;
        Ok([gone.batches(rows_max)?, come.batches(rows_max)?])
    }))
}

/// Gives what happened to a view in one epoch as a changelog, from the snapshot that one subtask has
/// saved in it, whether of changes or of all. Between the subtasks there is no order; each key is in
/// one of them.
pub fn changes(view: &SchemaRef, snapshot: StateBatches) -> StateBatches {
    let rows = rows_schema(view);
    let changelog = changelog_schema(&rows);
    Box::new(snapshot.filter_map(move |batch| {
        let change = batch.and_then(|batch| {
            let part = Part::of(&batch)?;
            FORMAT.check(&batch, &schema(&rows, part))?;
            if !part.is_change() {
                return Ok(None);
            }
            let columns = batch.columns().to_vec();
            Ok(Some(RecordBatch::try_new(Arc::clone(&changelog), columns)?))
        });
        change.transpose()
    }))
}
