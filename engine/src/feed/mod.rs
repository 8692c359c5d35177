//! Hands the splits of a scan to its subtasks, and knows the scan's watermark.
//!
//! The watermark is the least over all splits that are known and not read to their end, whether a
//! subtask has opened them or not: it never passes a row in a split that is not yet read. Every
//! subtask sends this one watermark.

mod ledger;
mod reading;
mod way;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::env::Clock;
use crate::error::Result;
use crate::limits;
use crate::message::EventTime;
use crate::scan::Scan;
use crate::source::{Boundedness, Low, Split};

pub use ledger::{Entry, Ledger, SplitReport};
pub use reading::{Next, Reading};

/// How a scan's rows move its watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatermarkMode {
    /// No watermark until the end.
    Off,
    /// Only what is known exactly of the splits moves it: no row of a bounded input is ever late,
    /// however far it is out of order.
    Exact,
    /// The rows that were read move it, by the script's WATERMARK clause.
    Rows,
}

/// Where a split stands in the queue: by event time where it is known, then by its own order.
type Place = (EventTime, String, String);

#[derive(Debug, Default)]
struct State {
    /// Per reader that may take them, where splits are dealt out; else all under the first.
    unread: Vec<BTreeMap<Place, Split>>,
    open: HashMap<String, Open>,
    high: Option<EventTime>,
    discovered: Option<Duration>,
    ended: bool,
    /// Splits that a checkpoint has: what discovery finds of them is not new.
    known: HashSet<String>,
    /// Found since the last report.
    found: Vec<Split>,
    dealt: usize,
}

/// A split that a reader holds.
#[derive(Debug)]
struct Open {
    watermark: EventTime,
    /// When it first and last said that it has no rows, since the last that came. A split that
    /// nobody asks is not idle.
    pending: Option<(Duration, Duration)>,
}

impl State {
    fn least_unread(&self) -> Option<EventTime> {
        let firsts = self.unread.iter().filter_map(|queue| {
            let (place, _) = queue.first_key_value()?;
            Some(place.0)
        });
        firsts.min()
    }

    fn is_all_taken(&self) -> bool {
        self.unread.iter().all(BTreeMap::is_empty)
    }

    /// Puts a split where its reader finds it.
    fn add(&mut self, low: EventTime, split: Split) {
        let place = (low, split.order.clone(), split.id.clone());
        let queues = self.unread.len().max(1);
        self.unread.resize_with(queues, BTreeMap::new);
        if let Some(queue) = self.unread.get_mut(self.dealt % queues) {
            queue.insert(place, split);
        }
        self.dealt += 1;
    }
}

/// The splits of one scan, shared by its subtasks.
#[derive(Debug)]
pub struct Feed {
    scan: Arc<Scan>,
    mode: WatermarkMode,
    clock: Arc<dyn Clock>,
    idle_timeout: Option<Duration>,
    /// How many readers splits are dealt out to; `None` lets each take what is next.
    readers: Option<usize>,
    /// Whether what is found is kept for the reports of a checkpoint.
    reports: bool,
    /// The watermark that the checkpoint has: what is found since does not hold it back.
    restored: Option<EventTime>,
    state: Mutex<State>,
    discovery: tokio::sync::Mutex<()>,
    changed: Notify,
}

fn is_text(column: &ArrayRef) -> bool {
    let data_type = column.data_type();
    data_type.is_string() || data_type.is_binary()
}

/// A split to read, with what is known of its earliest row.
#[derive(Debug)]
pub struct Lease {
    /// The split.
    pub split: Split,
    /// No row of it gives a lower watermark.
    pub low: EventTime,
}

impl Feed {
    /// Makes the feed of a scan.
    pub fn new(scan: Arc<Scan>, mode: WatermarkMode, clock: Arc<dyn Clock>) -> Self {
        let mode = if scan.watermark.is_none() {
            WatermarkMode::Off
        } else {
            mode
        };
        Self {
            scan,
            mode,
            clock,
            idle_timeout: None,
            readers: None,
            reports: false,
            restored: None,
            state: Mutex::default(),
            discovery: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Lets a split that gives no rows for so long stop holding the watermark back.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Option<Duration>) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Deals the splits out to so many subtasks, if they are to be read side by side.
    #[must_use]
    pub fn with_subtasks(mut self, subtasks: u32) -> Self {
        if self.scan.source.is_side_by_side() {
            let readers = subtasks.max(1) as usize;
            self.readers = Some(readers);
            self.state
                .get_mut()
                .unread
                .resize_with(readers, BTreeMap::new);
        }
        self
    }

    /// Keeps what is found for reports, and goes on where a checkpoint has left off.
    #[must_use]
    pub fn with_ledger(mut self, ledger: &Ledger) -> Self {
        self.reports = true;
        let state = self.state.get_mut();
        for entry in ledger.entries() {
            state.known.insert(entry.split.id.clone());
            state.high = state.high.max(Some(entry.watermark));
            if !entry.finished {
                state.add(entry.watermark, entry.split.clone());
            }
        }
        if !state.known.is_empty() {
            self.scan.source.resume();
        }
        self.restored = self.watermark();
        self
    }

    /// Looks for new splits if it is time to. One subtask does it; the first call of all waits.
    pub async fn discover(&self) -> Result<()> {
        let due = |state: &State| match (state.discovered, self.scan.source.boundedness()) {
            (None, _) => true,
            (Some(_), Boundedness::Bounded) => false,
            (Some(last), Boundedness::Unbounded(every)) => self.clock.monotonic() >= last + every,
        };
        if !due(&self.state.lock()) {
            return Ok(());
        }
        let first = self.state.lock().discovered.is_none();
        let guard = if first {
            self.discovery.lock().await
        } else {
            match self.discovery.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(()),
            }
        };
        if !due(&self.state.lock()) {
            return Ok(());
        }
        let mut splits = self.scan.source.discover().await?;
        {
            let state = self.state.lock();
            splits.retain(|split| !state.known.contains(&split.id));
        }
        let lows: Vec<(Split, Option<EventTime>)> = {
            let looks = splits.into_iter().map(|split| self.look(split));
            let looks = futures::stream::iter(looks).buffered(limits::PEEK_CONCURRENCY_MAX);
            looks
                .collect::<Vec<_>>()
                .await
                .into_iter()
                .collect::<Result<_>>()?
        };
        {
            let mut state = self.state.lock();
            for (split, low) in lows {
                if let Some(low) = low {
                    if self.reports {
                        state.found.push(split.clone());
                    }
                    state.add(low, split);
                }
            }
            state.discovered = Some(self.clock.monotonic());
            state.ended = self.scan.source.boundedness() == Boundedness::Bounded;
        }
        drop(guard);
        self.changed.notify_waiters();
        if first {
            way::make().await;
        }
        Ok(())
    }

    /// The least watermark that a split's rows can give; `None` when it has no rows.
    async fn look(&self, split: Split) -> Result<(Split, Option<EventTime>)> {
        if self.mode == WatermarkMode::Off {
            return Ok((split, Some(EventTime::MIN)));
        }
        // Only what the watermark needs: a column without statistics would hide the others' minimum.
        let columns = self.scan.watermark_columns();
        let low = self.scan.source.low(&split, &columns).await?;
        let low = match low {
            // The least text need not be the earliest time: `9:00` and `10:00`.
            Low::Exact(row) if row.columns().iter().any(is_text) => Low::First(row),
            low => low,
        };
        let low = match (low, self.mode) {
            (Low::Empty, _) => None,
            (Low::Exact(row), _) | (Low::First(row), WatermarkMode::Rows) => {
                Some(self.scan.watermark_least(&row)?.unwrap_or(EventTime::MIN))
            }
            (Low::First(_) | Low::Unknown, _) => Some(EventTime::MIN),
        };
        Ok((split, low))
    }

    /// Takes the next split for a subtask if there is one that starts below `below`: a subtask that
    /// has splits open takes another only when that one would hold the watermark back.
    pub fn take(&self, subtask: u32, below: EventTime) -> Option<Lease> {
        let mut state = self.state.lock();
        let queue = match self.readers {
            Some(readers) => subtask as usize % readers,
            None => 0,
        };
        let queue = state.unread.get_mut(queue)?;
        let (place, _) = queue.first_key_value()?;
        let waits = place.0 >= below && below != EventTime::MAX;
        if waits && self.readers.is_none() {
            return None;
        }
        let (place, split) = queue.pop_first()?;
        let open = Open {
            watermark: place.0,
            pending: None,
        };
        state.open.insert(split.id.clone(), open);
        Some(Lease {
            split,
            low: place.0,
        })
    }

    /// The watermark that a checkpoint has; none without one.
    pub fn restored(&self) -> Option<EventTime> {
        self.restored
    }

    /// Whether all splits are read side by side.
    pub fn is_side_by_side(&self) -> bool {
        self.readers.is_some()
    }

    /// Takes what was found since the last call.
    pub fn take_found(&self) -> Vec<Split> {
        std::mem::take(&mut self.state.lock().found)
    }

    /// Whether the rows that are read move the watermark.
    pub fn follows_rows(&self) -> bool {
        self.mode == WatermarkMode::Rows
    }

    /// Notes the watermark of an open split.
    pub fn advance(&self, split: &str, watermark: EventTime) {
        let mut state = self.state.lock();
        state.high = state.high.max(Some(watermark));
        if let Some(open) = state.open.get_mut(split) {
            open.watermark = open.watermark.max(watermark);
        }
    }

    /// Notes whether a split has rows for now.
    pub fn heard(&self, split: &str, has_rows: bool) {
        if self.idle_timeout.is_none() {
            return;
        }
        let now = self.clock.monotonic();
        if let Some(open) = self.state.lock().open.get_mut(split) {
            open.pending = match (has_rows, open.pending) {
                (true, _) => None,
                (false, pending) => Some((pending.map_or(now, |(first, _)| first), now)),
            };
        }
    }

    /// Notes that a split is read to its end.
    pub fn close(&self, split: &str) {
        let mut state = self.state.lock();
        state.open.remove(split);
        let idle = state.open.is_empty() && state.is_all_taken();
        drop(state);
        if idle {
            self.changed.notify_waiters();
        }
    }

    /// The watermark of the whole scan; `None` while nothing is known.
    pub fn watermark(&self) -> Option<EventTime> {
        if self.mode == WatermarkMode::Off {
            return None;
        }
        let state = self.state.lock();
        let open = self.least_open(&state, None);
        let least = open.into_iter().chain(state.least_unread()).min();
        // With nothing left to read, the rows read so far are all there is for now.
        least
            .or(state.high)
            .filter(|watermark| *watermark > EventTime::MIN)
    }

    /// The watermark of the split that the others wait for: the least of those that are read now,
    /// also of one that has not given a row yet. Files that wait for their turn hold nobody up: they
    /// get it when others have been read.
    pub fn slowest(&self) -> Option<EventTime> {
        if self.mode != WatermarkMode::Rows {
            return None;
        }
        let state = self.state.lock();
        let unread = state.least_unread().filter(|_| self.is_side_by_side());
        self.least_open(&state, None)
            .into_iter()
            .chain(unread)
            .min()
    }

    /// The least watermark of all splits but one; the end of time where no other holds the scan's watermark back.
    pub fn beside(&self, split: &str) -> EventTime {
        if self.mode != WatermarkMode::Rows {
            return EventTime::MAX;
        }
        let state = self.state.lock();
        let open = self.least_open(&state, Some(split));
        let least = open.into_iter().chain(state.least_unread()).min();
        least.unwrap_or(EventTime::MAX)
    }

    /// The least watermark of the splits that are open and not idle, one of them left out.
    fn least_open(&self, state: &State, but: Option<&str>) -> Option<EventTime> {
        let is_idle = |open: &&Open| match (self.idle_timeout, open.pending) {
            (Some(timeout), Some((first, last))) => last.saturating_sub(first) >= timeout,
            _ => false,
        };
        let others = state.open.iter().filter(|(id, _)| but != Some(id.as_str()));
        let active = others.filter(|(_, open)| !is_idle(open));
        active.map(|(_, open)| open.watermark).min()
    }

    /// Whether no split is left and none will come.
    pub fn is_exhausted(&self) -> bool {
        let state = self.state.lock();
        state.ended && state.is_all_taken()
    }

    /// Waits until splits are found or finished, at most until the next discovery is due or the
    /// splits that are read side by side may have rows.
    pub async fn wait(&self) {
        if self.is_side_by_side() && !self.state.lock().open.is_empty() {
            return self.clock.sleep(limits::PENDING_WAIT).await;
        }
        let time = match self.scan.source.boundedness() {
            Boundedness::Bounded => limits::DISCOVERY_INTERVAL,
            Boundedness::Unbounded(every) => every.min(limits::DISCOVERY_INTERVAL),
        };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            () = self.clock.sleep(time / 2) => {}
        }
    }
}
