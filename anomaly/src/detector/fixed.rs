//! Bounds that are given, and the change from the row before.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;

/// Outside of given bounds is an anomaly for certain, inside is none: no probability is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fixed {
    low: f64,
    high: f64,
}

impl Fixed {
    /// Takes the least and the greatest allowed value.
    pub(crate) fn new((low, high): (f64, f64)) -> Self {
        Self { low, high }
    }
}

impl Detector for Fixed {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let value = values.first().copied().unwrap_or(self.low);
        let nearest = value.clamp(self.low, self.high);
        let outside = value != nearest;
        Reading {
            score: if outside {
                f64::INFINITY
            } else {
                f64::NEG_INFINITY
            },
            expected: nearest,
            scale: f64::NAN,
            side: side(value - nearest),
        }
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for Fixed {
    fn save(&self, _to: &mut Writer) {}

    fn load(&mut self, _from: &mut Reader<'_>) -> Result<()> {
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The change from the row before, as it is or per time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    is_rate: bool,
    last: Option<(i64, f64)>,
}

impl Change {
    /// No row has been seen.
    pub(crate) fn new(is_rate: bool) -> Self {
        Self {
            is_rate,
            last: None,
        }
    }
}

impl Detector for Change {
    /// Changes are in the unit of the values, of which nothing is known.
    const RESOLUTION: f64 = 0.0;

    fn judge(&mut self, time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first().copied() else {
            return Reading::SILENT;
        };
        let Some((before, last)) = self.last.replace((time, value)) else {
            return Reading::SILENT;
        };
        // Rows of one time, or out of order, count as a unit of time apart.
        let apart = if self.is_rate {
            time.saturating_sub(before).max(1) as f64
        } else {
            1.0
        };
        Reading::away(value, last, apart)
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for Change {
    fn save(&self, to: &mut Writer) {
        to.flag(self.last.is_some());
        let (time, value) = self.last.unwrap_or_default();
        to.i64(time);
        to.f64(value);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let is_some = from.flag()?;
        let last = (from.i64()?, from.f64()?);
        self.last = is_some.then_some(last);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
