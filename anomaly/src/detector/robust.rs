//! Order statistics of the last rows: the robust z-score by median and median absolute deviation, and the
//! fence of the interquartile range. Half of the rows may be wild before either is misled.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::floor;
use crate::sorted::Sorted;

/// Rows that are looked back at: quartiles of fewer jump, and more make a key's state large.
const ROWS: usize = 80;
/// Rows before the first score.
const ROWS_MIN: usize = 12;
/// Median absolute deviations of a standard deviation, for a normal distribution.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// Which measure of the window is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Distance from the median in median absolute deviations.
    Mad,
    /// Distance outside of the quartiles, in their range.
    Iqr,
}

/// A window of values, in order of time and by size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Robust {
    rule: Rule,
    window: Sorted,
}

impl Robust {
    /// An empty window.
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            window: Sorted::new(ROWS),
        }
    }

    /// The median of the distances from `center`: the nearest half of the sorted values lies around it.
    fn deviation(&self, center: f64) -> f64 {
        let middle = self.window.len() / 2;
        let (mut below, mut above) = (middle, middle);
        let mut distance = 0.0;
        for _ in 0..=self.window.len() / 2 {
            let down = below
                .checked_sub(1)
                .map(|place| center - self.window.at(place));
            let up = self.window.values().get(above);
            let up = up.map(|value| f64::from(*value) - center);
            distance = match (down, up) {
                (Some(down), Some(up)) if down <= up => {
                    below -= 1;
                    down
                }
                (_, Some(up)) => {
                    above += 1;
                    up
                }
                (Some(down), None) => {
                    below -= 1;
                    down
                }
                (None, None) => distance,
            };
        }
        distance
    }

    /// Distances within the outer tenths keep a window of mostly equal values from having no width.
    fn spread(&self) -> f64 {
        let tenth = self.window.len() / 10;
        (self.window.at(self.window.len() - 1 - tenth) - self.window.at(tenth)) / 2.56
    }
}

impl Detector for Robust {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let length = self.window.len();
        let Some(value) = values.first().filter(|_| length >= ROWS_MIN) else {
            return Reading::SILENT;
        };
        let median = self.window.at(length / 2);
        if self.rule == Rule::Mad {
            let deviation = self.deviation(median) * MAD_TO_DEVIATION;
            let scale = deviation.max(self.spread() * 0.25).max(floor(median));
            return Reading::away(*value, median, scale);
        }
        let (low, high) = (self.window.at(length / 4), self.window.at(length * 3 / 4));
        let range = (high - low).max(self.spread() * 0.25).max(floor(median));
        let outside = (value - high).max(low - value).max(0.0);
        Reading {
            score: outside / range,
            ..Reading::away(*value, median, range)
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if let Some(value) = values.first() {
            self.window.push(*value as f32);
        }
    }
}

impl State for Robust {
    fn save(&self, to: &mut Writer) {
        self.window.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.window.load(from)
    }

    fn heap_bytes(&self) -> usize {
        self.window.heap_bytes()
    }
}
