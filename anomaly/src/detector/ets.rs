//! Exponential smoothing with additive errors and a damped trend, ETS(A, Ad, N), whose parameters are those of a few
//! candidates that have forecast best: each goes along with the series, and the one with the least error of late is
//! believed.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::Moments;

/// How fast level and trend learn, and what is left of the trend after each row. From a level that hardly moves to a
/// random walk; without a trend, and with one that is followed slowly and fast.
const CANDIDATES: [(f64, f64, f64); 8] = [
    (0.05, 0.0, 1.0),
    (0.2, 0.0, 1.0),
    (0.5, 0.0, 1.0),
    (1.0, 0.0, 1.0),
    (0.2, 0.02, 0.98),
    (0.5, 0.05, 0.98),
    (0.5, 0.2, 0.9),
    (0.9, 0.5, 0.8),
];
/// Rows before the first score.
const ROWS_MIN: u32 = 16;
/// Over how many rows errors forget.
const MEMORY: u32 = 500;
/// Errors count so many deviations at most when a level learns.
const CLIP: f64 = 4.0;

/// A level with a trend.
#[derive(Debug, Clone, Default, PartialEq)]
struct Candidate {
    level: f64,
    trend: f64,
    errors: Moments,
}

/// The candidates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ets {
    candidates: [Candidate; CANDIDATES.len()],
}

impl Candidate {
    fn forecast(&self, damping: f64) -> f64 {
        self.level + damping * self.trend
    }

    /// The mean of squared errors: a bias is an error too.
    fn loss(&self) -> f64 {
        self.errors.deviation().powi(2) + self.errors.mean().powi(2)
    }

    fn learn(&mut self, value: f64, (alpha, beta, damping): (f64, f64, f64)) {
        if self.errors.count() == 0 && self.level == 0.0 {
            self.level = value;
        }
        let mut error = value - self.forecast(damping);
        self.errors.add(error, MEMORY);
        if self.errors.count() > ROWS_MIN {
            let most = CLIP * self.errors.deviation();
            error = error.clamp(-most, most);
        }
        self.level = self.forecast(damping) + alpha * error;
        self.trend = damping * self.trend + beta * error;
    }
}

impl Ets {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        Self {
            candidates: Default::default(),
        }
    }

    /// The candidate with the least error, and what it forecasts.
    fn best(&self) -> Option<(&Candidate, f64)> {
        let all = self.candidates.iter().zip(CANDIDATES);
        let best = all.min_by(|(one, _), (other, _)| one.loss().total_cmp(&other.loss()));
        best.map(|(candidate, (_, _, damping))| (candidate, candidate.forecast(damping)))
    }
}

impl Detector for Ets {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        match (values.first(), self.best()) {
            (Some(value), Some((best, expected))) if best.errors.count() >= ROWS_MIN => {
                Reading::away(*value, expected, best.errors.deviation())
            }
            _ => Reading::SILENT,
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if let Some(value) = values.first() {
            for (candidate, how) in self.candidates.iter_mut().zip(CANDIDATES) {
                candidate.learn(*value, how);
            }
        }
    }
}

impl State for Ets {
    fn save(&self, to: &mut Writer) {
        for candidate in &self.candidates {
            to.f64(candidate.level);
            to.f64(candidate.trend);
            candidate.errors.save(to);
        }
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        for candidate in &mut self.candidates {
            candidate.level = from.f64()?;
            candidate.trend = from.f64()?;
            candidate.errors.load(from)?;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
