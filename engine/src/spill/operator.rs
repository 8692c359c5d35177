//! The decorator: one operator while memory suffices, then one for each part of the state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::divide::sort;
use super::file::Disk;
use super::gauge::{Gauge, Room};
use super::partition::{Chain, Live, Partition, read, write};
use super::past::Past;
use super::pending::Moment;
use super::saved;
use super::work::Work;
use super::{Spillable, bytes_of};
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// What is on disk, for the error of a full one.
const STATE: &str = "the state";

/// Keeps the state of one subtask within what the job's memory gives.
#[derive(Debug)]
pub(super) struct Spilling {
    pub(super) of: Arc<dyn Spillable>,
    pub(super) context: TaskContext,
    /// The keys of this subtask.
    pub(super) groups: KeyGroups,
    /// The one operator, until the state is divided.
    pub(super) whole: Option<Live>,
    /// The parts, in the order of their keys: none, or all keys have one.
    pub(super) parts: Vec<Partition>,
    next_id: u64,
    pub(super) disk: Disk,
    /// Rows that wait, in files of their own: they are gone long before state is.
    pub(super) waiting: Disk,
    pub(super) room: Room,
    /// The rows in memory that wait.
    pub(super) buffered: MemoryReservation,
    /// What was taken when the room was looked at last.
    pub(super) looked_at: usize,
    pub(super) watermark: i64,
    /// The watermark that went on last without being asked for.
    pub(super) said: i64,
    pub(super) now: i64,
    /// Parts that are to be read back.
    pub(super) queue: VecDeque<u64>,
    pub(super) work: Option<Work>,
    pub(super) is_ending: bool,
    /// What checkpoints have is of the one operator: the next one must hold all.
    renewed: bool,
    /// What was taken back is not settled yet.
    is_restored: bool,
    pub(super) past: Past,
    /// Until when no part is read back for being behind.
    pub(super) rest_until: Duration,
}

impl Operator for Spilling {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        self.begin(out)?;
        if let Some(whole) = &mut self.whole {
            whole.operator.process(input, batch, out)?;
        } else {
            self.route(input, &batch, out)?;
        }
        self.look(out)?;
        self.say(out);
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.begin(out)?;
        let before = self.watermark;
        self.watermark = before.max(watermark.0);
        if let Some(whole) = &mut self.whole {
            whole.operator.watermark(watermark, out)?;
            return self.look(out);
        }
        let follows = self.of.follows_watermarks();
        let since = self.monotonic();
        for part in &mut self.parts {
            match &mut part.live {
                Some(live) => {
                    live.operator.watermark(watermark, out)?;
                    while live.operator.resume(out)? {}
                    part.low = self.watermark;
                }
                None if part.behind.is_some() => {}
                None if follows && self.watermark > part.low => part.behind = Some(since),
                None if !follows => part.low = self.watermark,
                None => {}
            }
        }
        self.look(out)
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        match &self.whole {
            Some(whole) if self.parts.is_empty() => whole.operator.output_watermark(watermark),
            _ => EventTime(self.low().min(watermark.0)),
        }
        .max(EventTime(self.said.min(watermark.0)))
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.begin(out)?;
        self.now = self.now.max(now_micros);
        if let Some(whole) = &mut self.whole {
            whole.operator.tick(now_micros, out)?;
        } else {
            for part in &mut self.parts {
                part.with_live(|operator| operator.tick(now_micros, out))?;
            }
            self.queue_by_time();
        }
        self.look_again(out)?;
        self.say(out);
        Ok(())
    }

    fn snapshot(&mut self, extent: Extent, out: &mut Output) -> Result<StateBatches> {
        self.begin(out)?;
        if let Some(whole) = &mut self.whole {
            let state = whole.operator.snapshot(extent, out)?;
            if self.room.has_twice() {
                return Ok(state);
            }
            // Until it is written it would be in memory beside what comes next.
            return Ok(Box::new(read(write(&mut self.disk, state)?)));
        }
        while self.step(out)? {}
        if !self.of.is_saved() {
            return Ok(Box::new(std::iter::empty()));
        }
        let renewed = std::mem::take(&mut self.renewed);
        let extent = if renewed { Extent::All } else { extent };
        let state = saved::snapshot(self, extent, out)?;
        self.note();
        Ok(state)
    }

    fn renews(&self) -> bool {
        self.renewed
    }

    fn before_barrier(&mut self) -> Result<()> {
        if !self.of.is_saved() && self.whole.is_none() {
            self.queue_all();
        }
        Ok(())
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        self.groups = groups.clone();
        self.is_restored = true;
        let mut state = state.peekable();
        if let Some(Ok(first)) = state.peek()
            && saved::is_divided(first)
        {
            return saved::restore(self, &mut state);
        }
        self.take_back(&mut state)
    }

    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        self.begin(out)?;
        if self.parts.is_empty()
            && let Some(whole) = &mut self.whole
        {
            return whole.operator.resume(out);
        }
        self.step(out)
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.begin(out)?;
        if let Some(whole) = &mut self.whole {
            return whole.operator.end(out);
        }
        self.is_ending = true;
        self.queue_all();
        Ok(())
    }
}

impl Spilling {
    pub(super) fn new(of: Arc<dyn Spillable>, context: &TaskContext) -> Result<Self> {
        let room = Room::new(of.what(), context);
        let waiting = format!("rows for {} of {}", of.what(), context.node);
        let whole = Live::new(&of, context, Gauge::new(&room.taken))?;
        let disk = &context.job.datafusion.runtime_env().disk_manager;
        Ok(Self {
            whole: Some(whole),
            parts: Vec::new(),
            groups: KeyGroups::of(context.subtask, context.parallelism),
            next_id: 0,
            disk: Disk::new(STATE, disk),
            waiting: Disk::new(STATE, disk),
            buffered: MemoryConsumer::new(waiting).register(&context.job.memory),
            room,
            looked_at: 0,
            watermark: i64::MIN,
            said: i64::MIN,
            now: i64::MIN,
            queue: VecDeque::new(),
            work: None,
            is_ending: false,
            renewed: false,
            is_restored: false,
            past: Past::default(),
            rest_until: Duration::ZERO,
            of,
            context: context.clone(),
        })
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.context.job.env.clock().monotonic()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Settles what was taken back: what is in memory as one is divided where other parts of it
    /// came divided.
    fn begin(&mut self, out: &mut Output) -> Result<()> {
        if !std::mem::take(&mut self.is_restored) {
            return Ok(());
        }
        self.settle_past(out)?;
        if self.parts.is_empty() || self.whole.is_none() {
            return Ok(());
        }
        let gaps = self.gaps();
        self.divide_whole(&gaps, out)
    }

    /// What checkpoints have cannot be gone on with.
    pub(super) fn renew(&mut self) {
        self.renewed = true;
    }

    /// Gives rows to the parts that are in memory; those for the others wait.
    fn route(&mut self, input: usize, batch: &RecordBatch, out: &mut Output) -> Result<()> {
        let hashes = self.of.hashes(input, batch)?;
        let ranges: Vec<KeyGroups> = self.parts.iter().map(|p| p.range.clone()).collect();
        let sorted = sort(batch, &hashes, &ranges)?;
        let row_bytes = bytes_of(&sorted.rows) / sorted.rows.num_rows().max(1);
        let follows = self.of.follows_watermarks();
        let (since, share) = (self.monotonic(), self.room.share());
        for (at, start, rows) in sorted.parts {
            let Some(part) = self.parts.get_mut(at) else {
                continue;
            };
            let rows = sorted.rows.slice(start, rows);
            part.heat += rows.num_rows() as u64;
            if let Some(live) = &mut part.live {
                live.operator.process(input, rows, out)?;
                part.has_news = true;
                continue;
            }
            part.behind.get_or_insert(since);
            let watermark = if follows { self.watermark } else { part.low };
            let bytes = row_bytes * rows.num_rows();
            let now = self.now;
            part.pending
                .push(input, rows, bytes, Moment { watermark, now });
            let state = part.chain.as_ref().map_or(0, Chain::bytes);
            let enough = (state / 2).max(share as u64 / 64);
            if part.pending.bytes() >= enough && !std::mem::replace(&mut part.is_queued, true) {
                self.queue.push_back(part.id);
            }
        }
        let waiting: usize = self.parts.iter().map(|p| p.pending.buffered).sum();
        if waiting > share / 16 {
            for part in &mut self.parts {
                part.pending.flush(&mut self.waiting)?;
            }
            self.buffered.resize(0);
        } else {
            self.buffered.resize(waiting);
        }
        Ok(())
    }

    /// What no later result is before.
    pub(super) fn low(&self) -> i64 {
        let behind = self.parts.iter().filter(|part| part.behind.is_some());
        let low = behind.map(|part| part.low).fold(self.watermark, i64::min);
        if !self.of.holds_back() {
            return low;
        }
        let whole = self.whole.as_ref();
        let whole = whole.map(|whole| whole.operator.output_watermark(EventTime::MAX).0);
        let parts = self.parts.iter().map(Partition::holds);
        parts.chain(whole).fold(low, i64::min)
    }

    /// Lets the watermark go on as far as the rows that are kept allow, where they have held it back.
    fn say(&mut self, out: &mut Output) {
        if self.of.holds_back() {
            let low = self.low();
            if low > self.said {
                self.said = low;
                out.watermark(EventTime(low));
            }
        }
    }
}
