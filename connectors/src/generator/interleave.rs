//! Splits by interleaved row numbers: part `k` of `n` holds the rows with number ≡ k mod n, so
//! that all parts move through event time together and none holds back the watermark.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use weir_engine::env::Clock;
use weir_engine::error::{Error, Result};
use weir_engine::limits;
use weir_engine::options::Options;
use weir_engine::source::{Position, Split};

use super::foreign;

/// The event time of row 0 when nothing is said: fixed, so that a run can be repeated.
pub(crate) const START_DEFAULT: &str = "2026-01-01T00:00:00Z";

/// All parts of one source.
#[derive(Debug)]
pub(crate) struct Interleaved {
    parts: u64,
    start_us: i64,
    rows: Option<u64>,
    given: AtomicBool,
}

impl Interleaved {
    /// Takes the number of parts, the event time of row 0 and the number of rows.
    pub(crate) fn new(parts: u64, start_us: i64, rows: Option<u64>) -> Self {
        Self {
            parts,
            start_us,
            rows,
            given: AtomicBool::new(false),
        }
    }

    /// The same parts, none of them given yet.
    pub(crate) fn rescan(&self) -> Self {
        Self::new(self.parts, self.start_us, self.rows)
    }

    /// The number of rows of all parts.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Gives all parts at the first call and nothing after it.
    pub(crate) fn discover(&self) -> Result<Vec<Split>> {
        if self.given.swap(true, Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        (0..self.parts)
            .map(|index| {
                let saved = Saved {
                    index,
                    of: self.parts,
                    start_us: self.start_us,
                    rows: self.rows,
                };
                let payload = serde_json::to_string(&saved).map_err(|error| {
                    Error::internal("a split cannot be written").caused_by(error)
                })?;
                Ok(Split {
                    id: format!("{index}/{}", self.parts),
                    // All parts start at the same time, so their numbers decide.
                    order: format!("{index:010}"),
                    payload,
                    bytes: None,
                    position: None,
                })
            })
            .collect()
    }
}

/// What a split's payload holds. The start is in it because `'now'` must not move at a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    index: u64,
    of: u64,
    start_us: i64,
    rows: Option<u64>,
}

/// One part, with how far it is read.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The number of the part.
    pub(crate) index: u64,
    /// How many parts there are.
    pub(crate) of: u64,
    /// The event time of row 0, in microseconds since 1970.
    pub(crate) start_us: i64,
    /// Rows of this part that were given.
    pub(crate) done: u64,
    total: u64,
}

impl Part {
    /// Reads a split of [`Interleaved::discover`].
    pub(crate) fn of(split: &Split) -> Result<Self> {
        let saved: Saved = serde_json::from_str(&split.payload)
            .map_err(|error| foreign("split", &split.payload).caused_by(error))?;
        let done = match &split.position {
            None => 0,
            Some(Position(text)) => text
                .parse()
                .map_err(|error| foreign("position", text).caused_by(error))?,
        };
        let total = saved.rows.map_or(u64::MAX / saved.of.max(1), |rows| {
            rows.saturating_sub(saved.index).div_ceil(saved.of.max(1))
        });
        Ok(Self {
            index: saved.index,
            of: saved.of.max(1),
            start_us: saved.start_us,
            done,
            total,
        })
    }

    /// Rows of this part that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.total.saturating_sub(self.done)
    }

    /// The number, among all parts, of the next row.
    pub(crate) fn next(&self) -> u64 {
        self.index + self.done * self.of
    }

    /// The numbers of the next rows.
    pub(crate) fn numbers(&self, rows: u64) -> impl ExactSizeIterator<Item = u64> + Clone + use<> {
        let (first, step) = (self.next(), self.of);
        (0..usize::try_from(rows).unwrap_or(usize::MAX)).map(move |i| first + i as u64 * step)
    }

    /// Where to go on.
    pub(crate) fn position(&self) -> Position {
        Position(self.done.to_string())
    }
}

/// Reads the option `splits`.
pub(crate) fn splits_given(options: &Options) -> Result<u64> {
    let most = u64::from(limits::PARALLELISM_MAX);
    match options.count("splits") {
        None => Ok(splits_default()),
        Some(splits) if (1..=most).contains(&splits) => Ok(splits),
        Some(splits) => {
            Err(options.invalid("splits", format!("{splits} is not between 1 and {most}")))
        }
    }
}

/// One subtask must be able to keep all parts open, or an endless one would starve the others.
fn splits_default() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(limits::OPEN_SPLITS_MAX) as u64
}

/// Reads the option `start_time`, in microseconds since 1970.
pub(crate) fn start_given(options: &Options, clock: &dyn Clock) -> Result<i64> {
    let text = options.text("start_time").unwrap_or(START_DEFAULT).trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(clock.now_micros());
    }
    // `string_to_datetime` takes what a cast in SQL takes, and isn't bound to the years of nanos.
    arrow::compute::kernels::cast_utils::string_to_datetime(&chrono::Utc, text)
        .map(|time| time.timestamp_micros())
        .map_err(|error| {
            options
                .invalid("start_time", format!("'{text}' is not a timestamp"))
                .hint("write it as '2026-01-01T00:00:00Z', or 'now'")
                .caused_by(error)
        })
}
