//! Level, trend and season: what the same time of the season brought before.
//!
//! `seasonal` keeps a mean per slot of the season on a slow level; `holt_winters` adds a trend and follows faster.
//! The season is given, in rows or time, or found by [`super::period`]. Without one, what remains is the level
//! alone. A season given as time, or found where rows come in even steps, holds when rows are missing.

use super::step::Step;
use super::{Detector, Reading, is_found, period};
use crate::codec::{Reader, State, Writer};
use crate::config::{PERIOD_ROWS_MAX, Season};
use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::ring::Ring;

/// Slots of a season at most; longer seasons have several rows to a slot.
const SLOTS_MAX: u32 = 288;
/// Rows before the first score.
const ROWS_MIN: u32 = 16;
/// How fast the pace of residuals forgets.
const RESIDUAL_MEMORY: u32 = 1_000;
/// How fast a slot learns: the last three or four seasons count.
const SLOT_STEP: f64 = 0.3;
/// How fast the level of `seasonal` and of `holt_winters` learns, and the trend.
const SLOW_STEP: f64 = 0.01;
const FAST_STEP: f64 = 0.1;
const TREND_STEP: f64 = 0.01;
/// The trend's share that is left after each row: no trend goes on for ever.
const TREND_DAMPING: f64 = 0.98;
/// Residuals count so many deviations at most when the level learns.
const CLIP: f64 = 4.0;

/// A level with a trend and a season.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seasonal {
    season: Season,
    has_trend: bool,
    rows: u32,
    step: Step,
    recent: Ring,
    /// Rows of the season that was found, 0 when there is none.
    found: u32,
    level: f64,
    trend: f64,
    slots: Vec<f32>,
    residual: Moments,
}

impl Seasonal {
    /// Starts without a level.
    pub(crate) fn new(season: Season, has_trend: bool) -> Self {
        let slots = match season {
            Season::Rows(rows) => rows.min(SLOTS_MAX),
            Season::Time(_) => SLOTS_MAX,
            // Of several it is given the longest.
            Season::Auto | Season::None | Season::Times(_) => 0,
        };
        Self {
            season,
            has_trend,
            rows: 0,
            step: Step::default(),
            recent: Ring::new(period::ROWS),
            found: 0,
            level: 0.0,
            trend: 0.0,
            slots: vec![f32::NAN; slots as usize],
            residual: Moments::default(),
        }
    }

    /// The slot of the row that comes now.
    fn slot(&self, time: i64) -> Option<usize> {
        let count = self.slots.len() as u64;
        if count == 0 {
            return None;
        }
        let (place, length) = match self.season {
            Season::Time(length) => (time.rem_euclid(length) as u64, length as u64),
            Season::Rows(rows) => (u64::from(self.rows % rows), u64::from(rows)),
            Season::Auto | Season::None | Season::Times(_) => {
                let rows = u64::from(self.found.max(1));
                match self.step.usual() {
                    Some(step) => {
                        let length = step.saturating_mul(rows as i64);
                        (time.rem_euclid(length) as u64, length as u64)
                    }
                    None => (u64::from(self.rows) % rows, rows),
                }
            }
        };
        let slot = u128::from(place) * u128::from(count) / u128::from(length);
        usize::try_from(slot).ok()
    }

    /// What the slot adds to the level; NaN as long as it was not seen.
    fn seasonal(&self, slot: Option<usize>) -> f64 {
        match slot {
            Some(slot) => self.slots.get(slot).copied().map_or(0.0, f64::from),
            None => 0.0,
        }
    }

    fn look(&mut self) {
        let season = period::find(&self.recent).unwrap_or(0);
        // Lags next to each other are the same season.
        let is_same = season.abs_diff(self.found) <= self.found / 20;
        if season == 0 || (self.found > 0 && is_same) {
            return;
        }
        self.found = season;
        self.slots = vec![f32::NAN; season.min(SLOTS_MAX) as usize];
        self.residual = Moments::default();
    }

    fn follow(&mut self, value: f64, slot: Option<usize>) {
        let seasonal = self.seasonal(slot);
        let known = if seasonal.is_nan() { 0.0 } else { seasonal };
        let step = if self.has_trend { FAST_STEP } else { SLOW_STEP };
        // At first the level is the mean of what came.
        let step = step.max(1.0 / f64::from(self.rows));
        let before = self.level;
        let mut away = value - known - before - self.trend;
        if self.residual.count() >= ROWS_MIN {
            let most = CLIP * self.residual.deviation();
            away = away.clamp(-most, most);
        }
        if !seasonal.is_nan() || slot.is_none() {
            self.residual
                .add(value - known - before - self.trend, RESIDUAL_MEMORY);
        }
        self.level += self.trend + step * away;
        if self.has_trend {
            let moved = self.level - before;
            self.trend = TREND_DAMPING * (self.trend + TREND_STEP * (moved - self.trend));
        }
        if let Some(place) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            let now = (value - self.level) as f32;
            *place = if place.is_nan() {
                now
            } else {
                *place + (now - *place) * SLOT_STEP as f32
            };
        }
    }
}

impl Detector for Seasonal {
    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        self.step.see(time);
        self.rows = self.rows.wrapping_add(1).max(1);
        let seasonal = self.seasonal(self.slot(time));
        let ready = self.residual.count() >= ROWS_MIN && !seasonal.is_nan();
        match values.first().filter(|_| ready) {
            Some(value) => {
                let expected = self.level + self.trend + seasonal;
                Reading::away(*value, expected, self.residual.deviation())
            }
            None => Reading::SILENT,
        }
    }

    fn learn(&mut self, time: i64, values: &[f64]) {
        let Some(value) = values.first().copied() else {
            return;
        };
        self.follow(value, self.slot(time));
        if is_found(self.season) {
            self.recent.push(value as f32);
            if period::is_due(self.rows) {
                self.look();
            }
        }
    }
}

impl State for Seasonal {
    fn save(&self, to: &mut Writer) {
        to.u32(self.rows);
        self.step.save(to);
        self.recent.save(to);
        to.u32(self.found);
        to.f64(self.level);
        to.f64(self.trend);
        to.f32s(&self.slots);
        self.residual.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.rows = from.u32()?;
        self.step.load(from)?;
        self.recent.load(from)?;
        self.found = from.u32()?;
        if self.found > PERIOD_ROWS_MAX {
            return Err(Error::Damaged("a season is too long"));
        }
        self.level = from.f64()?;
        self.trend = from.f64()?;
        self.slots = from.f32s(SLOTS_MAX as usize)?;
        self.residual.load(from)
    }

    fn heap_bytes(&self) -> usize {
        self.step.heap_bytes() + self.recent.heap_bytes() + self.slots.capacity() * size_of::<f32>()
    }
}
