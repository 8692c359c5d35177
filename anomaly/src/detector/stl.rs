//! Seasonal and trend decomposition by LOESS, robust (STL: Cleveland et al., 1990), of the last few seasons. It is
//! done anew some times per season; a row is compared with the season's value for it on the last level of the trend, which
//! follows the rows until then.

use super::step::Step;
use super::{Detector, Reading, is_found, period};
use crate::codec::{Reader, State, Writer};
use crate::config::{PERIOD_ROWS_MAX, Season};
use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::ring::Ring;

/// Seasons of the window, and the least number of them that is taken apart.
const SEASONS: usize = 4;
const SEASONS_MIN: usize = 2;
/// The window is taken apart so often within a season, but not more often than every so many rows.
const FITS_PER_SEASON: u32 = 8;
const ROWS_PER_FIT: u32 = 8;
/// Rounds of weights: rows that fit badly count less in the next one.
const ROUNDS: usize = 3;
/// Rows before the first score.
const ROWS_MIN: u32 = 16;
/// Over how many rows the size of errors forgets.
const MEMORY: u32 = 1_000;
/// How fast the level follows between two fits; errors count so many deviations at most.
const LEVEL_STEP: f64 = 0.1;
const CLIP: f64 = 4.0;

/// The last seasons, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stl {
    season: Season,
    step: Step,
    /// Rows that were judged.
    rows: u32,
    /// Rows of a season; 0 as long as none is known.
    period: u32,
    window: Ring,
    /// The season's value by the number of the row; nothing before the first fit.
    seasonal: Vec<f32>,
    level: f64,
    errors: Moments,
}

impl Stl {
    /// Nothing has been seen.
    pub(crate) fn new(season: Season) -> Self {
        let period = match season {
            Season::Rows(rows) => rows,
            _ => 0,
        };
        // A season that is looked for comes three times in the rows at least.
        let most = if is_found(season) {
            period::ROWS / 3
        } else {
            0
        };
        Self {
            season,
            step: Step::default(),
            rows: 0,
            period,
            window: Ring::new(capacity(season, period)),
            seasonal: Vec::with_capacity(most),
            level: 0.0,
            errors: Moments::default(),
        }
    }

    fn expected(&self) -> f64 {
        let place = self.rows.checked_rem(self.period).unwrap_or(0) as usize;
        let seasonal = self.seasonal.get(place).copied().unwrap_or(0.0);
        self.level + f64::from(seasonal)
    }

    /// Whether it can tell: a season that is known has to be taken apart before.
    fn is_ready(&self) -> bool {
        let waits = self.period > 0 && self.seasonal.is_empty();
        self.errors.count() >= ROWS_MIN && !waits
    }

    /// Looks what the season is, where nobody has said it in rows.
    fn look(&mut self) {
        let found = match self.season {
            Season::Auto if period::is_due(self.rows) => period::find(&self.window).unwrap_or(0),
            Season::Time(length) if self.period == 0 => match self.step.usual() {
                // Up to PERIOD_ROWS_MAX.
                Some(step) => (length / step).clamp(2, i64::from(PERIOD_ROWS_MAX)) as u32,
                None => 0,
            },
            _ => 0,
        };
        let is_same = found.abs_diff(self.period) <= self.period / 20;
        if found == 0 || (self.period > 0 && is_same) {
            return;
        }
        self.period = found;
        self.seasonal.clear();
        self.errors = Moments::default();
        if !is_found(self.season) {
            let before =
                std::mem::replace(&mut self.window, Ring::new(capacity(self.season, found)));
            for value in before.iter() {
                self.window.push(value);
            }
        }
    }

    fn fit(&mut self) {
        let period = self.period as usize;
        let all: Vec<f64> = self.window.iter().map(f64::from).collect();
        let rows = all
            .get(all.len().saturating_sub(SEASONS * period)..)
            .unwrap_or_default();
        if period < 2 || rows.len() < SEASONS_MIN * period {
            return;
        }
        let parts = decompose(rows, period);
        let is_first = self.seasonal.is_empty();
        // The number of the window's first row.
        let first = (self.rows as usize + period * SEASONS + 1 - rows.len()) % period;
        self.seasonal.clear();
        self.seasonal.resize(period, 0.0);
        for (at, value) in parts.seasonal.iter().enumerate() {
            if let Some(place) = self.seasonal.get_mut((first + at) % period) {
                *place = *value as f32;
            }
        }
        self.level = parts.level;
        if is_first {
            self.errors = Moments::default();
            parts
                .errors
                .iter()
                .for_each(|error| self.errors.add(*error, MEMORY));
        }
    }
}

/// Rows of the window for a season.
fn capacity(season: Season, period: u32) -> usize {
    match is_found(season) {
        true => period::ROWS,
        false => SEASONS * (period.min(PERIOD_ROWS_MAX) as usize).max(ROWS_MIN as usize),
    }
}

/// What rows come to.
struct Parts {
    /// The season's values from the first row on.
    seasonal: Vec<f64>,
    /// The trend at the last row.
    level: f64,
    errors: Vec<f64>,
}

fn decompose(rows: &[f64], period: usize) -> Parts {
    // Cleveland's choice where the season does not change.
    let width = (3 * period / 2) | 1;
    let without = |seasonal: &[f64]| -> Vec<f64> {
        let left = rows.iter().enumerate();
        left.map(|(at, row)| row - seasonal.get(at % period).copied().unwrap_or(0.0))
            .collect()
    };
    // Medians first: in means a wild row would take the other rows of its place in the season along.
    let mut trend = smooth(rows, width, |at| around(rows, at, width));
    let mut seasonal = means(rows, &trend, period, |values| {
        middle(values.iter().map(|v| v.0))
    });
    let left = without(&seasonal);
    trend = smooth(&left, width, |at| around(&left, at, width));
    let mut weights = weights_of(&left, &trend);
    for _ in 0..ROUNDS {
        let weighted = weights.clone();
        seasonal = means(rows, &trend, period, |values| {
            let weight = |at: usize| weighted.get(at).copied().unwrap_or(0.0);
            let (sum, count) = values.iter().fold((0.0, 0.0), |(sum, count), (value, at)| {
                (sum + weight(*at) * value, count + weight(*at))
            });
            sum / count.max(1e-9)
        });
        let left = without(&seasonal);
        trend = smooth(&left, width, |at| line(&left, &weights, at, width));
        weights = weights_of(&left, &trend);
    }
    let left = without(&seasonal);
    Parts {
        seasonal,
        level: trend.last().copied().unwrap_or_default(),
        errors: left
            .iter()
            .zip(&trend)
            .map(|(left, trend)| left - trend)
            .collect(),
    }
}

/// What each place of the season adds to the trend, by some mean of its rows and their numbers; all of them together add
/// nothing.
fn means(
    rows: &[f64],
    trend: &[f64],
    period: usize,
    mean: impl Fn(&[(f64, usize)]) -> f64,
) -> Vec<f64> {
    let mut places: Vec<Vec<(f64, usize)>> = vec![Vec::new(); period];
    for (at, (row, trend)) in rows.iter().zip(trend).enumerate() {
        if let Some(place) = places.get_mut(at % period) {
            place.push((row - trend, at));
        }
    }
    let mut means: Vec<f64> = places.iter().map(|place| mean(place)).collect();
    let shared = means.iter().sum::<f64>() / period as f64;
    means.iter_mut().for_each(|value| *value -= shared);
    means
}

/// Bisquare: what is six median errors away from the trend is nothing.
fn weights_of(rows: &[f64], trend: &[f64]) -> Vec<f64> {
    let errors = || {
        rows.iter()
            .zip(trend)
            .map(|(row, trend)| (row - trend).abs())
    };
    let most = (6.0 * middle(errors())).max(f64::MIN_POSITIVE);
    let weight = |error: f64| (1.0 - (error / most).min(1.0).powi(2)).powi(2).max(1e-6);
    errors().map(weight).collect()
}

/// The median.
fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    let place = values.len() / 2;
    match values.is_empty() {
        true => 0.0,
        false => *values.select_nth_unstable_by(place, f64::total_cmp).1,
    }
}

/// The rows that a value of the trend is made of.
fn near(rows: usize, at: usize, width: usize) -> std::ops::Range<usize> {
    let width = width.min(rows);
    let start = at.saturating_sub(width / 2).min(rows - width);
    start..start + width
}

/// The median of the rows around one.
fn around(rows: &[f64], at: usize, width: usize) -> f64 {
    let near = rows.get(near(rows.len(), at, width)).unwrap_or_default();
    middle(near.iter().copied())
}

/// Some of the values of a trend, a tenth of its width apart, and what is straight between them.
fn smooth(rows: &[f64], width: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
    let last = rows.len().saturating_sub(1);
    let mut knots: Vec<usize> = (0..rows.len()).step_by((width / 10).max(1)).collect();
    if knots.last() != Some(&last) {
        knots.push(last);
    }
    let values: Vec<f64> = knots.iter().map(|at| value(*at)).collect();
    let mut smooth = Vec::with_capacity(rows.len());
    for (ends, values) in knots.windows(2).zip(values.windows(2)) {
        if let ([from, to], [one, other]) = (ends, values) {
            let length = (to - from) as f64;
            smooth.extend((0..to - from).map(|at| one + (other - one) * at as f64 / length));
        }
    }
    smooth.extend(values.last());
    smooth
}

/// The value at a row of the line through those around it.
fn line(rows: &[f64], weights: &[f64], at: usize, width: usize) -> f64 {
    let range = near(rows.len(), at, width);
    let farthest = (at - range.start).max(range.end - 1 - at) as f64 + 1.0;
    let (mut count, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let weighted = rows.iter().zip(weights).enumerate();
    for (place, (row, weight)) in weighted.skip(range.start).take(range.len()) {
        let away = place as f64 - at as f64;
        let near = (away.abs() / farthest).powi(3);
        let weight = weight * (1.0 - near).powi(3);
        count += weight;
        x += weight * away;
        y += weight * row;
        xx += weight * away * away;
        xy += weight * away * row;
    }
    let (x, y) = (x / count, y / count);
    let spread = xx / count - x * x;
    let slope = if spread > 1e-9 {
        (xy / count - x * y) / spread
    } else {
        0.0
    };
    y - slope * x
}

impl Detector for Stl {
    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        self.step.see(time);
        self.rows = self.rows.wrapping_add(1);
        let (ready, expected) = (self.is_ready(), self.expected());
        match values.first() {
            Some(value) => {
                // A row that is not learned from leaves what was expected: the next ones keep their places.
                self.window
                    .push(if ready { expected } else { *value } as f32);
                match ready {
                    true => Reading::away(*value, expected, self.errors.deviation()),
                    false => Reading::SILENT,
                }
            }
            None => Reading::SILENT,
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        let Some(value) = values.first().copied() else {
            return;
        };
        self.window.replace_last(value as f32);
        let error = match self.errors.count() {
            0 if self.seasonal.is_empty() && self.level == 0.0 => {
                self.level = value;
                0.0
            }
            _ => value - self.expected(),
        };
        self.errors.add(error, MEMORY);
        let most = CLIP * self.errors.deviation();
        self.level += LEVEL_STEP * error.clamp(-most, most);
        self.look();
        let pause = (self.period / FITS_PER_SEASON).max(ROWS_PER_FIT);
        if self.period > 0 && self.rows.is_multiple_of(pause) {
            self.fit();
        }
    }
}

impl State for Stl {
    fn save(&self, to: &mut Writer) {
        self.step.save(to);
        to.u32(self.rows);
        to.u32(self.period);
        self.window.save(to);
        to.f32s(&self.seasonal);
        to.f64(self.level);
        self.errors.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.step.load(from)?;
        self.rows = from.u32()?;
        self.period = from.u32()?;
        if self.period > PERIOD_ROWS_MAX {
            return Err(Error::Damaged("a season is too long"));
        }
        self.window = Ring::new(capacity(self.season, self.period));
        self.window.load(from)?;
        self.seasonal.clear();
        self.seasonal.extend(from.f32s(PERIOD_ROWS_MAX as usize)?);
        if !self.seasonal.is_empty() && self.seasonal.len() != self.period as usize {
            return Err(Error::Damaged("a season has another length"));
        }
        self.level = from.f64()?;
        self.errors.load(from)
    }

    fn heap_bytes(&self) -> usize {
        let seasonal = self.seasonal.capacity() * size_of::<f32>();
        self.step.heap_bytes() + self.window.heap_bytes() + seasonal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_apart_into_what_they_were_made_of() {
        let mut random = crate::random::Random::new(3);
        let period = 24;
        let season = |at: usize| ((at % period) as f64 / 24.0 * std::f64::consts::TAU).sin() * 5.0;
        let mut rows: Vec<f64> = (0..96)
            .map(|at| 100.0 + at as f64 * 0.2 + season(at) + random.share() * 0.2)
            .collect();
        // Wild rows don't show in the season.
        rows[30] += 500.0;
        rows[71] -= 300.0;
        let parts = decompose(&rows, period);
        for (at, value) in parts.seasonal.iter().enumerate() {
            assert!(
                (value - season(at)).abs() < 0.5,
                "{at}: {value} and not {}",
                season(at)
            );
        }
        assert!(
            (parts.level - (100.0 + 95.0 * 0.2)).abs() < 0.6,
            "{}",
            parts.level
        );
        assert!((parts.errors[30] - 500.0).abs() < 2.0 && (parts.errors[71] + 300.0).abs() < 2.0);
    }
}
