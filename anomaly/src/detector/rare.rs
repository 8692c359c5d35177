//! New and rare texts: a count-min sketch knows about how often each came.
//!
//! The score is how much more information a text carries, the logarithm of how rare it is, than texts of the column
//! do on average. So in a column whose texts are all different, a new one is no anomaly.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::random::mix;

/// Rows of the sketch: all of them must collide for a new text to seem known.
const ROWS: usize = 4;
/// Counters of a row.
const COUNTERS: usize = 512;
/// Bits of a text's hash: a float of eight bytes holds them exactly.
const HASH_BITS: u32 = 52;
/// A text that is so many times as rare as the average one is still usual, by the natural logarithm.
const SLACK: f64 = 1.0;
/// Texts before the first score.
const TEXTS_MIN: u64 = 32;

/// A text as a value: its hash.
pub(crate) fn text_as_value(text: &str) -> f64 {
    let hash = text
        .bytes()
        .fold(text.len() as u64, |hash, byte| mix(hash ^ u64::from(byte)));
    (hash >> (u64::BITS - HASH_BITS)) as f64
}

/// Counts of values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rare {
    counters: Vec<u32>,
    total: u64,
    /// The mean information of a value.
    usual: f64,
    /// Values after which all counts are halved.
    half: u64,
}

impl Rare {
    /// Forgets over so many values.
    pub(crate) fn new(memory: u32) -> Self {
        Self {
            counters: vec![0; ROWS * COUNTERS],
            total: 0,
            usual: 0.0,
            half: 2 * u64::from(memory),
        }
    }

    fn places(value: f64) -> [usize; ROWS] {
        // Numbers are counted as categories as well.
        let hash = mix(value.to_bits());
        std::array::from_fn(|row| {
            let bits = (hash >> (16 * row)) as usize;
            row * COUNTERS + bits % COUNTERS
        })
    }

    fn count(&self, places: &[usize; ROWS]) -> u32 {
        let counts = places.iter().filter_map(|place| self.counters.get(*place));
        counts.copied().min().unwrap_or(0)
    }

    fn information(&self, places: &[usize; ROWS]) -> f64 {
        let share = (f64::from(self.count(places)) + 1.0) / (self.total as f64 + 1.0);
        -share.ln()
    }
}

impl Detector for Rare {
    const RESOLUTION: f64 = 0.25;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first().filter(|_| self.total >= TEXTS_MIN) else {
            return Reading::SILENT;
        };
        let information = self.information(&Self::places(*value));
        Reading::of((information - self.usual - SLACK).max(0.0), 0)
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        let Some(value) = values.first() else { return };
        let places = Self::places(*value);
        let step = 1.0 / (self.total as f64 + 1.0);
        self.usual += (self.information(&places) - self.usual) * step;
        let least = self.count(&places);
        for place in places {
            if let Some(counter) = self.counters.get_mut(place).filter(|c| **c == least) {
                *counter = counter.saturating_add(1);
            }
        }
        self.total += 1;
        if self.total >= self.half {
            self.total /= 2;
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
        }
    }
}

impl State for Rare {
    fn save(&self, to: &mut Writer) {
        to.u32s(&self.counters);
        to.u64(self.total);
        to.f64(self.usual);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.counters = from.u32s(ROWS * COUNTERS)?;
        if self.counters.len() != ROWS * COUNTERS {
            return Err(Error::Damaged("counters are missing"));
        }
        self.total = from.u64()?;
        self.usual = from.f64()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.counters.capacity() * size_of::<u32>()
    }
}
