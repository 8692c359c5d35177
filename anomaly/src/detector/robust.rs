//! Order statistics of the last rows: the robust z-score by median and median absolute deviation, and the
//! fence of the interquartile range. Half of the rows may be wild before either is misled.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::moments::floor;
use crate::ring::Ring;

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
    window: Ring,
    sorted: Vec<f32>,
}

impl Robust {
    /// An empty window.
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            window: Ring::new(ROWS),
            sorted: Vec::new(),
        }
    }

    fn at(&self, place: usize) -> f64 {
        self.sorted.get(place).copied().map_or(0.0, f64::from)
    }

    /// The median of the distances from `center`: the nearest half of the sorted values lies around it.
    fn deviation(&self, center: f64) -> f64 {
        let middle = self.sorted.len() / 2;
        let (mut below, mut above) = (middle, middle);
        let mut distance = 0.0;
        for _ in 0..=self.sorted.len() / 2 {
            let down = below.checked_sub(1).map(|place| center - self.at(place));
            let up = self
                .sorted
                .get(above)
                .map(|value| f64::from(*value) - center);
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
        let tenth = self.sorted.len() / 10;
        (self.at(self.sorted.len() - 1 - tenth) - self.at(tenth)) / 2.56
    }
}

impl Detector for Robust {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let length = self.sorted.len();
        let Some(value) = values.first().filter(|_| length >= ROWS_MIN) else {
            return Reading::SILENT;
        };
        let median = self.at(length / 2);
        if self.rule == Rule::Mad {
            let deviation = self.deviation(median) * MAD_TO_DEVIATION;
            let scale = deviation.max(self.spread() * 0.25).max(floor(median));
            return Reading::away(*value, median, scale);
        }
        let (low, high) = (self.at(length / 4), self.at(length * 3 / 4));
        let range = (high - low).max(self.spread() * 0.25).max(floor(median));
        let outside = (value - high).max(low - value).max(0.0);
        Reading {
            score: outside / range,
            ..Reading::away(*value, median, range)
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        // -0 would be another place in the order, and none when sorted anew.
        let Some(value) = values.first().map(|value| *value as f32 + 0.0) else {
            return;
        };
        if self.sorted.is_empty() {
            self.sorted.reserve_exact(ROWS);
        }
        if let Some(old) = self.window.push(value) {
            let place = self.sorted.partition_point(|known| *known < old);
            if place < self.sorted.len() {
                self.sorted.remove(place);
            }
        }
        let place = self.sorted.partition_point(|known| *known < value);
        self.sorted.insert(place, value);
    }
}

impl State for Robust {
    fn save(&self, to: &mut Writer) {
        self.window.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.window.load(from)?;
        if self.window.iter().any(|value| !value.is_finite()) {
            return Err(Error::Damaged("a value is not finite"));
        }
        self.sorted.clear();
        self.sorted.reserve_exact(ROWS);
        self.sorted.extend(self.window.iter());
        self.sorted.sort_by(f32::total_cmp);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.window.heap_bytes() + self.sorted.capacity() * size_of::<f32>()
    }
}
