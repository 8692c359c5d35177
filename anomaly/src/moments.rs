//! Mean and variance that forget, and that one wild value cannot ruin.

use crate::codec::{Reader, State, Writer};
use crate::error::Result;

/// A value further away counts as one that is so many deviations away: a jump by a thousand
/// deviations must not blind the detector for as long as it remembers. A lasting shift still gets
/// through, since the deviation grows with each of its values.
const CLIP: f64 = 8.0;
/// Values that are taken as they are, since the deviation is not known yet.
const UNCLIPPED: u32 = 16;

/// Exponentially weighted mean and variance; plain ones as long as there are few values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moments {
    mean: f64,
    variance: f64,
    count: u32,
}

impl Moments {
    /// The mean, 0 before the first value.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation, with a floor that keeps constants from dividing by 0.
    pub(crate) fn deviation(&self) -> f64 {
        self.variance.sqrt().max(floor(self.mean))
    }

    /// Values so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Learns a value; the weight of old ones falls by a share of 1 / `memory` with each.
    pub(crate) fn add(&mut self, value: f64, memory: u32) {
        self.count = self.count.saturating_add(1);
        let step = 1.0 / f64::from(self.count.min(memory.max(1)));
        let mut away = value - self.mean;
        if self.count > UNCLIPPED {
            let most = CLIP * self.deviation();
            away = away.clamp(-most, most);
        }
        self.mean += away * step;
        self.variance = (1.0 - step) * (self.variance + step * away * away);
    }
}

/// The least deviation beside a level: floats of four bytes hold seven digits.
pub(crate) fn floor(level: f64) -> f64 {
    (level.abs() * 1e-6).max(1e-9)
}

impl State for Moments {
    fn save(&self, to: &mut Writer) {
        to.f64(self.mean);
        to.f64(self.variance);
        to.u32(self.count);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.mean = from.f64()?;
        self.variance = from.f64()?;
        self.count = from.u32()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
