//! Cumulative sums of deviations: small shifts that last drive them up, noise does not.
//!
//! CUSUM compares with a mean that forgets; Page and Hinkley's test with the mean of all since the last shift
//! that was large, with a smaller allowance.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::Moments;

/// Values before the first score.
const VALUES_MIN: u32 = 16;
/// A sum ends here: without a bound it would take as long to come down as the shift lasted.
const SUM_MAX: f64 = 50.0;
/// The farthest that one value counts, in deviations: a spike is no shift.
const STEP_MAX: f64 = 5.0;

/// Sums in both directions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cusum {
    moments: Moments,
    memory: u32,
    /// Deviations that are let pass with each value.
    allowance: f64,
    restarts: bool,
    up: f64,
    down: f64,
}

impl Cusum {
    /// The tabular CUSUM, tuned for shifts of one deviation.
    pub(crate) fn new(memory: u32) -> Self {
        Self {
            moments: Moments::default(),
            memory,
            allowance: 0.5,
            restarts: false,
            up: 0.0,
            down: 0.0,
        }
    }

    /// Page and Hinkley's test.
    pub(crate) fn page_hinkley() -> Self {
        Self {
            allowance: 0.1,
            restarts: true,
            memory: u32::MAX,
            ..Self::new(0)
        }
    }
}

impl Detector for Cusum {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values
            .first()
            .filter(|_| self.moments.count() >= VALUES_MIN)
        else {
            return Reading::SILENT;
        };
        if self.restarts && self.up.max(self.down) >= SUM_MAX {
            self.moments = Moments::default();
            (self.up, self.down) = (0.0, 0.0);
            return Reading::SILENT;
        }
        let (mean, deviation) = (self.moments.mean(), self.moments.deviation());
        let away = ((value - mean) / deviation).clamp(-STEP_MAX, STEP_MAX);
        self.up = (self.up + away - self.allowance).clamp(0.0, SUM_MAX);
        self.down = (self.down - away - self.allowance).clamp(0.0, SUM_MAX);
        Reading {
            score: self.up.max(self.down),
            side: if self.up >= self.down { 1 } else { -1 },
            expected: mean,
            scale: f64::NAN,
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if let Some(value) = values.first() {
            self.moments.add(*value, self.memory);
        }
    }
}

impl State for Cusum {
    fn save(&self, to: &mut Writer) {
        self.moments.save(to);
        to.f64(self.up);
        to.f64(self.down);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.moments.load(from)?;
        self.up = from.f64()?;
        self.down = from.f64()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
