//! The queues between the thread that fetches and the readers of its partitions.
//!
//! Each lane holds a bounded number of blocks, and all together a bounded number of bytes beyond
//! one block each: a partition whose reader is not asked, since others are further behind in event
//! time, fills its lane and then the client's own bounded queue, and costs nothing more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use weir_engine::error::{Error, Result};

use super::block::{Block, Wanted};
use super::split::{Partition, Place};

/// Blocks that wait for a reader: one is read while one is filled and one is ready.
const BLOCKS_MAX: usize = 2;

/// What the thread and all readers of one consumer share.
#[derive(Debug)]
pub(super) struct Shared {
    control: Mutex<Control>,
    signal: Condvar,
    /// Bytes of the blocks in all lanes, and how many of them a lane that is not empty may add to.
    waiting: AtomicUsize,
    spare_bytes: usize,
}

#[derive(Debug, Default)]
struct Control {
    added: Vec<Arc<Lane>>,
    signalled: bool,
    closed: bool,
}

/// What the thread finds when it looks for orders.
#[derive(Debug)]
pub(super) struct Orders {
    /// Partitions to be read from now on.
    pub(super) added: Vec<Arc<Lane>>,
    /// Whether all is over.
    pub(super) closed: bool,
}

impl Shared {
    /// Makes it, with the bytes that may wait beyond one block of each lane.
    pub(super) fn new(spare_bytes: usize) -> Self {
        Self {
            control: Mutex::default(),
            signal: Condvar::new(),
            waiting: AtomicUsize::new(0),
            spare_bytes,
        }
    }

    /// Asks for a partition to be read.
    pub(super) fn add(&self, lane: &Arc<Lane>) {
        self.control.lock().added.push(Arc::clone(lane));
        self.signal();
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.control.lock().closed = true;
        self.signal();
    }

    /// Wakes the thread: there are records, or there is room.
    pub(super) fn signal(&self) {
        self.control.lock().signalled = true;
        self.signal.notify_one();
    }

    /// Takes the orders; waits for a signal before if `wait` says so.
    pub(super) fn orders(&self, wait: Option<Duration>) -> Orders {
        let mut control = self.control.lock();
        if let Some(time) = wait
            && !control.signalled
        {
            self.signal.wait_for(&mut control, time);
        }
        control.signalled = false;
        Orders {
            added: std::mem::take(&mut control.added),
            closed: control.closed,
        }
    }
}

/// How a partition ended.
#[derive(Debug)]
enum End {
    Done,
    Failed(Option<Error>),
}

/// What a reader finds in its lane.
#[derive(Debug)]
pub(super) enum Taken {
    /// Records.
    Block(Block),
    /// Nothing for now.
    Nothing,
    /// Nothing more will come.
    End,
}

/// The queue of one partition.
#[derive(Debug)]
pub(super) struct Lane {
    /// The partition.
    pub(super) partition: Partition,
    /// Where to begin.
    pub(super) from: Place,
    /// The first offset that is not read.
    pub(super) until: Option<i64>,
    /// What is kept of each record.
    pub(super) wanted: Wanted,
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    dropped: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    blocks: VecDeque<Block>,
    end: Option<End>,
}

impl Lane {
    /// Makes the lane of a partition; it is to be added to what is shared.
    pub(super) fn new(
        partition: Partition,
        from: Place,
        until: Option<i64>,
        wanted: Wanted,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            partition,
            from,
            until,
            wanted,
            shared: Arc::clone(shared),
            queue: Mutex::default(),
            dropped: AtomicBool::new(false),
        }
    }

    /// Whether another block may be put.
    pub(super) fn has_room(&self) -> bool {
        match self.queue.lock().blocks.len() {
            0 => true,
            waiting if waiting >= BLOCKS_MAX => false,
            _ => self.shared.waiting.load(Ordering::Relaxed) < self.shared.spare_bytes,
        }
    }

    /// Gives a block to the reader.
    pub(super) fn put(&self, block: Block) {
        let mut queue = self.queue.lock();
        if self.is_dropped() {
            return;
        }
        self.shared
            .waiting
            .fetch_add(block.bytes(), Ordering::Relaxed);
        queue.blocks.push_back(block);
    }

    fn forget(&self, bytes: usize) {
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Tells the reader that nothing more comes, after the blocks that wait.
    pub(super) fn finish(&self) {
        self.ended(End::Done);
    }

    /// Tells the reader that reading has failed, after the blocks that wait.
    pub(super) fn fail(&self, error: Error) {
        self.ended(End::Failed(Some(error)));
    }

    fn ended(&self, end: End) {
        self.queue.lock().end.get_or_insert(end);
    }

    /// Whether nothing more comes.
    pub(super) fn is_ended(&self) -> bool {
        self.queue.lock().end.is_some()
    }

    /// Whether the reader is gone.
    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Says that the reader is gone.
    pub(super) fn close(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        let blocks = std::mem::take(&mut self.queue.lock().blocks);
        self.forget(blocks.iter().map(Block::bytes).sum());
        self.shared.signal();
    }

    /// Takes the next block if there is one.
    pub(super) fn take(&self) -> Result<Taken> {
        let mut queue = self.queue.lock();
        if let Some(block) = queue.blocks.pop_front() {
            drop(queue);
            self.forget(block.bytes());
            self.shared.signal();
            return Ok(Taken::Block(block));
        }
        match &mut queue.end {
            None => Ok(Taken::Nothing),
            Some(End::Done) => Ok(Taken::End),
            Some(End::Failed(error)) => Err(error
                .take()
                .unwrap_or_else(|| Error::internal("a partition that has failed is read on"))),
        }
    }
}
