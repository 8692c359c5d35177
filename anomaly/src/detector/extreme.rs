//! Values beyond all that came before.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::floor;

/// Values before the first score.
const VALUES_MIN: u32 = 8;

/// The range of values, which closes slowly where no value comes any more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Extreme {
    low: f64,
    high: f64,
    count: u32,
    memory: u32,
}

impl Extreme {
    /// No value has been seen; the range forgets over `memory` values.
    pub(crate) fn new(memory: u32) -> Self {
        Self {
            low: 0.0,
            high: 0.0,
            count: 0,
            memory,
        }
    }
}

impl Detector for Extreme {
    const RESOLUTION: f64 = 0.01;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first().filter(|_| self.count >= VALUES_MIN) else {
            return Reading::SILENT;
        };
        let width = (self.high - self.low).max(floor(self.high));
        let nearest = value.clamp(self.low, self.high);
        Reading {
            score: (value - nearest).abs() / width,
            expected: nearest,
            scale: width,
            side: side(value - nearest),
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        let Some(value) = values.first().copied() else {
            return;
        };
        if self.count == 0 {
            (self.low, self.high) = (value, value);
        }
        self.count = self.count.saturating_add(1);
        let closing = (self.high - self.low) / (2.0 * f64::from(self.memory));
        self.low = value.min(self.low + closing);
        self.high = value.max(self.high - closing);
    }
}

impl State for Extreme {
    fn save(&self, to: &mut Writer) {
        to.f64(self.low);
        to.f64(self.high);
        to.u32(self.count);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.low = from.f64()?;
        self.high = from.f64()?;
        self.count = from.u32()?;
        // `clamp` would panic on a range that is none.
        if self.low.is_nan() || self.high.is_nan() || self.low > self.high {
            return Err(crate::error::Error::Damaged("a range has no width"));
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
