//! Distance from a moving average, in moving deviations.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::Moments;

/// Values before the first score: a deviation of fewer says nothing.
const VALUES_MIN: u32 = 8;

/// An exponentially weighted z-score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ewma {
    moments: Moments,
    memory: u32,
}

impl Ewma {
    /// Forgets over so many values.
    pub(crate) fn new(memory: u32) -> Self {
        Self {
            moments: Moments::default(),
            memory,
        }
    }
}

impl Detector for Ewma {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values
            .first()
            .filter(|_| self.moments.count() >= VALUES_MIN)
        else {
            return Reading::SILENT;
        };
        Reading::away(*value, self.moments.mean(), self.moments.deviation())
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if let Some(value) = values.first() {
            self.moments.add(*value, self.memory);
        }
    }
}

impl State for Ewma {
    fn save(&self, to: &mut Writer) {
        self.moments.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.moments.load(from)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
