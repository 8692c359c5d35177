//! Hands the splits of a scan to its subtasks, and knows the scan's watermark.
//!
//! The watermark is the least over all splits that are known and not read to their end, whether a
//! subtask has opened them or not: it never passes a row in a split that is not yet read. Every
//! subtask sends this one watermark.

use std::collections::{BTreeMap, HashMap};
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
    unread: BTreeMap<Place, Split>,
    open: HashMap<String, EventTime>,
    high: Option<EventTime>,
    discovered: Option<Duration>,
    ended: bool,
}

/// The splits of one scan, shared by its subtasks.
#[derive(Debug)]
pub struct Feed {
    scan: Arc<Scan>,
    mode: WatermarkMode,
    clock: Arc<dyn Clock>,
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
            state: Mutex::default(),
            discovery: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
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
        let splits = self.scan.source.discover().await?;
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
                    let place = (low, split.order.clone(), split.id.clone());
                    state.unread.insert(place, split);
                }
            }
            state.discovered = Some(self.clock.monotonic());
            state.ended = self.scan.source.boundedness() == Boundedness::Bounded;
        }
        drop(guard);
        self.changed.notify_waiters();
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

    /// Takes the next split if there is one that starts below `below`: a subtask that has splits
    /// open takes another only when that one would hold the watermark back.
    pub fn take(&self, below: EventTime) -> Option<Lease> {
        let mut state = self.state.lock();
        let (place, _) = state.unread.first_key_value()?;
        if place.0 >= below && below != EventTime::MAX {
            return None;
        }
        let (place, split) = state.unread.pop_first()?;
        state.open.insert(split.id.clone(), place.0);
        Some(Lease {
            split,
            low: place.0,
        })
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
            *open = (*open).max(watermark);
        }
    }

    /// Notes that a split is read to its end.
    pub fn close(&self, split: &str) {
        let mut state = self.state.lock();
        state.open.remove(split);
        let idle = state.open.is_empty() && state.unread.is_empty();
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
        let unread = state.unread.first_key_value().map(|(place, _)| place.0);
        let open = state.open.values().min().copied();
        let least = match (unread, open) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // With nothing left to read, the rows read so far are all there is for now.
        least
            .or(state.high)
            .filter(|watermark| *watermark > EventTime::MIN)
    }

    /// Whether no split is left and none will come.
    pub fn is_exhausted(&self) -> bool {
        let state = self.state.lock();
        state.ended && state.unread.is_empty()
    }

    /// Waits until splits are found or finished, at most until the next discovery is due.
    pub async fn wait(&self) {
        let time = match self.scan.source.boundedness() {
            Boundedness::Bounded => limits::DISCOVERY_INTERVAL,
            Boundedness::Unbounded(every) => every.min(limits::DISCOVERY_INTERVAL),
        };
        tokio::select! {
            () = self.changed.notified() => {}
            () = self.clock.sleep(time / 2) => {}
        }
    }
}
