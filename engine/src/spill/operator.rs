//! The decorator: one operator while memory suffices, then one for each part of the state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::divide::{divide, sort};
use super::file::Disk;
use super::gauge::{Gauge, Room};
use super::partition::{Chain, Live, Partition};
use super::past::Past;
use super::pending::Moment;
use super::saved;
use super::work::Work;
use super::{Spillable, bytes_of};
use crate::error::{Error, Result};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};

/// Parts into which the state is divided at first: state ten times the memory then has parts of a
/// sixth of it.
const PARTS: u64 = if cfg!(test) { 8 } else { 64 };
/// What is on disk, for the error of a full one.
const STATE: &str = "the state";
/// How long a part may be behind: then it is read back as soon as there is time for it.
const BEHIND_MAX: Duration = Duration::from_secs(5);

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
    buffered: MemoryReservation,
    /// What was taken when the room was looked at last.
    looked_at: usize,
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
            return self.look(out);
        }
        self.route(input, &batch, out)?;
        self.look(out)
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
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.begin(out)?;
        self.now = self.now.max(now_micros);
        if let Some(whole) = &mut self.whole {
            whole.operator.tick(now_micros, out)?;
            return self.look_again(out);
        }
        for part in &mut self.parts {
            part.with_live(|operator| operator.tick(now_micros, out))?;
        }
        self.queue_by_time();
        self.look_again(out)
    }

    fn snapshot(&mut self, extent: Extent, out: &mut Output) -> Result<StateBatches> {
        self.begin(out)?;
        if let Some(whole) = &mut self.whole {
            return whole.operator.snapshot(extent, out);
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

    /// Puts the state of the one operator on disk, divided.
    fn divide_whole(&mut self, ranges: &[KeyGroups], out: &mut Output) -> Result<()> {
        let Some(mut whole) = self.whole.take() else {
            return Ok(());
        };
        let mut state = whole.operator.snapshot(Extent::All, out)?;
        let piece = self.piece_bytes(ranges.len());
        let chains = divide(&self.of, &mut self.disk, &mut state, ranges, piece)?;
        let bytes = whole.gauge.bytes() / ranges.len().max(1);
        drop((state, whole));
        self.add(ranges, chains, bytes, self.watermark);
        self.renewed = true;
        Ok(())
    }

    fn add(&mut self, ranges: &[KeyGroups], chains: Vec<Chain>, bytes: usize, low: i64) {
        for (range, chain) in ranges.iter().zip(chains) {
            let id = self.number();
            let mut part = Partition::new(id, range.clone(), chain, low);
            (part.bytes, part.visited) = (bytes, self.now);
            part.behind = self.waits_for_clock();
            self.parts.push(part);
        }
        self.parts.sort_by_key(|part| part.range.bounds());
    }

    /// Since when a part that comes to the disk is behind: now, if it may have results to give.
    pub(super) fn waits_for_clock(&self) -> Option<Duration> {
        self.of.gives_by_clock().then(|| self.monotonic())
    }

    /// Divides a part that has become too large, and is in memory.
    pub(super) fn divide_part(&mut self, at: usize, bytes: usize, out: &mut Output) -> Result<()> {
        let Some(part) = self.parts.get(at) else {
            return Ok(());
        };
        let ranges = part.range.cut(PARTS.min(8));
        let mut part = self.parts.remove(at);
        let Some(mut live) = part.live.take() else {
            return Err(Error::internal("a part is divided that is not in memory"));
        };
        // What no checkpoint has of the part is in its pieces, of which none has anything.
        let mut state = live.operator.snapshot(Extent::All, out)?;
        let piece = self.piece_bytes(ranges.len());
        let chains = divide(&self.of, &mut self.disk, &mut state, &ranges, piece)?;
        drop((state, live));
        self.add(&ranges, chains, bytes / ranges.len().max(1), part.low);
        Ok(())
    }

    /// Bytes of each part that wait to be written while state is divided: all together take little
    /// of the memory.
    fn piece_bytes(&self, parts: usize) -> usize {
        (self.room.share() / 32 / parts.max(1)).clamp(1 << 10, 256 << 10)
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

    /// Makes room if there is little, where something has changed since this was looked at.
    fn look(&mut self, out: &mut Output) -> Result<()> {
        let taken = self.room.taken.size();
        if taken.abs_diff(self.looked_at) < self.room.share() / 256 {
            return Ok(());
        }
        self.look_again(out)
    }

    fn look_again(&mut self, out: &mut Output) -> Result<()> {
        if self.room.is_short() {
            if self.whole.is_some() {
                let ranges = self.groups.cut(PARTS);
                self.divide_whole(&ranges, out)?;
            }
            self.make_room(0, None, out)?;
        }
        self.note();
        Ok(())
    }

    /// Notes what is taken now.
    pub(super) fn note(&mut self) {
        self.looked_at = self.room.taken.size();
        let bytes = self.looked_at + self.buffered.size();
        self.context
            .metrics
            .state_bytes
            .store(bytes as u64, Relaxed);
    }

    /// Puts parts on disk until a quarter of the memory and so many bytes more are free: those first
    /// that are large and get few rows.
    pub(super) fn make_room(
        &mut self,
        bytes: usize,
        except: Option<u64>,
        out: &mut Output,
    ) -> Result<()> {
        let since = self.waits_for_clock();
        while self.room.wants(bytes) {
            let live = self.parts.iter().enumerate();
            let live = live.filter(|(_, p)| p.live.is_some() && Some(p.id) != except);
            let cost = |part: &Partition| part.live_bytes() as u64 / (1 + part.heat / 64);
            let Some((at, _)) = live.max_by_key(|(_, part)| (cost(part), part.live_bytes())) else {
                break;
            };
            if let Some(part) = self.parts.get_mut(at) {
                (part.low, part.visited) = (self.watermark, self.now);
                // What it has not given yet, it gives when it is read back.
                part.behind = since.filter(|_| part.has_news);
                part.evict(&mut self.disk, out)?;
            }
            self.parts.iter_mut().for_each(|part| part.heat /= 2);
        }
        Ok(())
    }

    /// What no later result is before.
    pub(super) fn low(&self) -> i64 {
        let behind = self.parts.iter().filter(|part| part.behind.is_some());
        behind.map(|part| part.low).fold(self.watermark, i64::min)
    }

    fn queue_all(&mut self) {
        for part in &mut self.parts {
            let wanted = self.is_ending || part.behind.is_some();
            if wanted && !std::mem::replace(&mut part.is_queued, true) {
                self.queue.push_back(part.id);
            }
        }
    }

    /// Has one part read back that is behind for long, or that the clock does something to. Half of
    /// the time at most goes into this.
    fn queue_by_time(&mut self) {
        let clock = self.monotonic();
        if clock < self.rest_until || !self.queue.is_empty() {
            return;
        }
        let every = self.of.visited_every();
        let every = every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX));
        let now = self.now;
        let due = |part: &&mut Partition| {
            let behind = part.behind.is_some_and(|since| since + BEHIND_MAX <= clock);
            let visit = every.is_some_and(|every| part.visited.saturating_add(every) <= now);
            part.live.is_none() && (behind || visit)
        };
        let oldest = self.parts.iter_mut().filter(due);
        if let Some(part) = oldest.min_by_key(|p| (p.behind.unwrap_or(clock), p.visited)) {
            part.is_queued = true;
            self.queue.push_back(part.id);
        }
    }
}
