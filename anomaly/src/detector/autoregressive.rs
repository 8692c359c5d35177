//! What an autoregression forecasts, fitted row by row by recursive least squares that forget. The last values stand for
//! themselves, so that a series that wanders is followed as one that returns to its mean is: the first lag takes the
//! part of differences.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::Moments;

/// Values that a forecast is made of.
const LAGS: usize = 8;
/// The lags and a constant.
const TERMS: usize = LAGS + 1;
/// Rows before the first score: some for each term.
const ROWS_MIN: u32 = 4 * TERMS as u32;
/// The weight of old rows that is left after one more: a thousand rows count.
const KEPT: f64 = 0.999;
/// How uncertain the weights are before the first row.
const UNCERTAIN: f64 = 100.0;
/// More uncertainty than this is not gathered where nothing happens: it would make much of the next thing that does.
const UNCERTAIN_MAX: f64 = 1e4;
/// Over how many rows the scale of values and of errors forgets.
const MEMORY: u32 = 1_000;
/// Errors count so many deviations at most, in the fit and in the values that forecasts are made of.
const CLIP: f64 = 6.0;

/// The weights of the last values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Autoregressive {
    /// The unit in which values are fitted.
    scale: Moments,
    errors: Moments,
    /// The last values, the newest first.
    lags: [f64; LAGS],
    rows: u32,
    weights: [f64; TERMS],
    /// The inverse of the correlations of terms.
    spread: [[f64; TERMS]; TERMS],
    /// The terms of the row that was judged last, in units; not part of the state.
    terms: [f64; TERMS],
}

impl Autoregressive {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        let mut spread = [[0.0; TERMS]; TERMS];
        for (at, row) in spread.iter_mut().enumerate() {
            row[at] = UNCERTAIN;
        }
        let mut weights = [0.0; TERMS];
        // Before anything is learned the next value is the last one.
        weights[0] = 1.0;
        Self {
            scale: Moments::default(),
            errors: Moments::default(),
            lags: [0.0; LAGS],
            rows: 0,
            weights,
            spread,
            terms: [0.0; TERMS],
        }
    }

    /// The values before this row around their mean, in their deviation.
    fn terms(&self) -> [f64; TERMS] {
        let mut terms = [1.0; TERMS];
        let (mean, unit) = (self.scale.mean(), self.scale.deviation());
        for (term, lag) in terms.iter_mut().zip(&self.lags) {
            *term = ((lag - mean) / unit).clamp(-1e3, 1e3);
        }
        terms
    }

    fn forecast(&self) -> f64 {
        let sum = dot(&self.weights, &self.terms);
        self.scale.mean() + sum * self.scale.deviation()
    }

    /// How far an error may be, in values.
    fn most(&self) -> f64 {
        match self.errors.count() >= ROWS_MIN {
            true => CLIP * self.errors.deviation(),
            false => f64::INFINITY,
        }
    }

    fn fit(&mut self, error: f64) {
        let mut gain = [0.0; TERMS];
        for (gain, row) in gain.iter_mut().zip(&self.spread) {
            *gain = dot(row, &self.terms);
        }
        let total = KEPT + dot(&gain, &self.terms);
        let trace: f64 = (0..TERMS).map(|at| self.spread[at][at]).sum();
        let kept = if trace < UNCERTAIN_MAX { KEPT } else { 1.0 };
        let gains = gain;
        for (row, one) in self.spread.iter_mut().zip(&gains) {
            for (cell, other) in row.iter_mut().zip(&gains) {
                *cell = (*cell - one * other / total) / kept;
            }
        }
        for (weight, gain) in self.weights.iter_mut().zip(&gains) {
            *weight += gain / total * error;
        }
        let is_sound = self.weights.iter().all(|weight| weight.abs() < 1e3);
        let is_positive = (0..TERMS).all(|at| self.spread[at][at] > 0.0);
        if !is_sound || !is_positive {
            // Rounding has eaten the fit: it begins anew, with the scales as they are.
            let new = Self::new();
            (self.weights, self.spread) = (new.weights, new.spread);
        }
    }
}

fn dot(one: &[f64; TERMS], other: &[f64; TERMS]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

impl Detector for Autoregressive {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first().copied() else {
            return Reading::SILENT;
        };
        self.terms = self.terms();
        let expected = self.forecast();
        let (ready, most) = (self.errors.count() >= ROWS_MIN, self.most());
        self.rows = self.rows.saturating_add(1);
        self.lags.rotate_right(1);
        // A wild value must not be in the next forecasts as it is.
        self.lags[0] = match ready {
            true => expected + (value - expected).clamp(-most, most),
            false => value,
        };
        match ready && expected.is_finite() {
            true => Reading::away(value, expected, self.errors.deviation()),
            false => Reading::SILENT,
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        let Some(value) = values.first().copied() else {
            return;
        };
        if self.rows > LAGS as u32 {
            let (expected, most) = (self.forecast(), self.most());
            let error = value - expected;
            if self.scale.count() >= ROWS_MIN {
                self.fit(error.clamp(-most, most) / self.scale.deviation());
                self.errors.add(error, MEMORY);
            }
        }
        self.scale.add(value, MEMORY);
    }
}

impl State for Autoregressive {
    fn save(&self, to: &mut Writer) {
        self.scale.save(to);
        self.errors.save(to);
        self.lags.iter().for_each(|lag| to.f64(*lag));
        to.u32(self.rows);
        let cells = self.weights.iter().chain(self.spread.iter().flatten());
        cells.for_each(|cell| to.f64(*cell));
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.scale.load(from)?;
        self.errors.load(from)?;
        for lag in &mut self.lags {
            *lag = from.f64()?;
        }
        self.rows = from.u32()?;
        let cells = self.weights.iter_mut();
        for cell in cells.chain(self.spread.iter_mut().flatten()) {
            *cell = from.f64()?;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
