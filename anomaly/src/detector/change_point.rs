//! Bayesian online change point detection (Adams and MacKay, 2007): the probability of each run length, that is,
//! of how many rows ago the present regime began, for normal values of unknown mean and variance.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::Moments;

/// Run lengths that are told apart; longer ones count as the longest.
const RUNS: usize = 128;
/// Rows that a regime lasts on average, before any is seen.
const REGIME_ROWS: f64 = 250.0;
/// A run is new with fewer rows.
const NEW: usize = 8;
/// Rows before the first score: the scale of values is learned.
const ROWS_MIN: u32 = 32;
/// Over how many rows the scale forgets.
const SCALE_MEMORY: u32 = 5_000;

/// A run: its probability and the normal-gamma posterior of its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    p: f64,
    mean: f64,
    /// Rows that the mean is worth.
    weight: f64,
    /// Half of them are worth the variance.
    shape: f64,
    rate: f64,
}

impl Run {
    /// Before any row: a mean around 0 and a variance around 1, of scaled values.
    const NEW: Self = Self {
        p: 1.0,
        mean: 0.0,
        weight: 0.2,
        shape: 1.0,
        rate: 0.5,
    };

    /// The density of a value, by Student's distribution, up to a factor that all runs share.
    fn density(&self, value: f64) -> f64 {
        let degrees = 2.0 * self.shape;
        let scale = self.rate * (self.weight + 1.0) / (self.shape * self.weight);
        let away = (value - self.mean).powi(2) / (scale * degrees);
        // Gamma((d + 1) / 2) / (Gamma(d / 2) sqrt(d)), by its expansion for large d.
        let constant = (1.0 - 1.0 / (4.0 * degrees)) * std::f64::consts::FRAC_1_SQRT_2;
        constant / scale.sqrt() * (1.0 + away).powf(-(degrees + 1.0) / 2.0)
    }

    fn with(&self, value: f64) -> Self {
        let weight = self.weight + 1.0;
        Self {
            p: self.p,
            mean: (self.weight * self.mean + value) / weight,
            weight,
            shape: self.shape + 0.5,
            rate: self.rate + self.weight * (value - self.mean).powi(2) / (2.0 * weight),
        }
    }
}

/// The runs, the shortest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangePoint {
    scale: Moments,
    runs: Vec<Run>,
}

impl ChangePoint {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        Self {
            scale: Moments::default(),
            runs: vec![Run::NEW],
        }
    }

    fn step(&mut self, value: f64) {
        let hazard = 1.0 / REGIME_ROWS;
        let mut fresh = 0.0;
        let mut grown = Vec::with_capacity(RUNS);
        for run in &self.runs {
            // A density of 0 for all would leave nothing to divide by.
            let p = run.p * run.density(value).max(1e-300);
            fresh += p * hazard;
            grown.push(Run {
                p: p * (1.0 - hazard),
                ..run.with(value)
            });
        }
        let total = fresh + grown.iter().map(|run| run.p).sum::<f64>();
        let mut runs = Vec::with_capacity(RUNS);
        runs.push(Run {
            p: fresh,
            ..Run::NEW
        });
        runs.extend(grown);
        if runs.len() > RUNS {
            let last = runs.pop();
            if let (Some(longest), Some(last)) = (runs.last_mut(), last) {
                // The longest stands for all that are longer, with the statistics of the more probable.
                let p = longest.p + last.p;
                let kept = if last.p >= longest.p { last } else { *longest };
                *longest = Run { p, ..kept };
            }
        }
        runs.iter_mut().for_each(|run| run.p /= total);
        self.runs = runs;
    }
}

impl Detector for ChangePoint {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first().copied() else {
            return Reading::SILENT;
        };
        let is_ready = self.scale.count() >= ROWS_MIN;
        let scaled = (value - self.scale.mean()) / self.scale.deviation();
        let away = scaled.clamp(-1e6, 1e6);
        self.scale.add(value, SCALE_MEMORY);
        if !is_ready {
            return Reading::SILENT;
        }
        let usual = self.runs.iter().map(|run| run.p * run.mean).sum::<f64>();
        self.step(away);
        let new: f64 = self.runs.iter().take(NEW).map(|run| run.p).sum();
        let deviation = self.scale.deviation();
        // From 0 on, so that the whole scale is a tail: even odds are about 9.
        let odds = (new / (1.0 - new).max(1e-9)).max(1e-4).ln() - 1e-4_f64.ln();
        Reading {
            score: odds,
            expected: self.scale.mean() + usual * deviation,
            scale: f64::NAN,
            side: side(away - usual),
        }
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for ChangePoint {
    fn save(&self, to: &mut Writer) {
        self.scale.save(to);
        let parts = |run: &Run| [run.p, run.mean, run.weight, run.shape, run.rate];
        to.f64s(&self.runs.iter().flat_map(parts).collect::<Vec<_>>());
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.scale.load(from)?;
        let parts = from.f64s(5 * RUNS)?;
        let run = |parts: &[f64]| match *parts {
            [p, mean, weight, shape, rate] => Run {
                p,
                mean,
                weight,
                shape,
                rate,
            },
            _ => Run::NEW,
        };
        self.runs = parts.chunks_exact(5).map(run).collect();
        if self.runs.is_empty() {
            self.runs.push(Run::NEW);
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}
