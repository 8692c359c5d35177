//! How new the sequence of the last levels is.
//!
//! The range of values is divided into a few levels, and sequences of one to some levels are counted. A sequence
//! that never came before is new, a level that never came before makes all of them new. Counts are those
//! of a count-min sketch of a fixed size, so that a noisy series, whose sequences never repeat, takes no
//! more memory than a quiet one; they are halved now and then, so that what is old becomes new again.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::moments::floor;
use crate::random::mix;
use crate::ring::Ring;

/// Levels of the range: with more, ordinary noise makes new sequences.
const LEVELS: f64 = 8.0;
/// The longest sequence that is counted, when the range is given.
const ORDERS: usize = 5;
/// Counters of each of the sketch's rows.
const COUNTERS: usize = 4096;
/// Rows that the range is taken from when it is not given.
const ROWS_FOR_RANGE: usize = 128;
/// Levels below and above the range that are told apart.
const LEVELS_OUTSIDE: f64 = 1000.0;
/// Rows after which counts are halved.
const ROWS_TO_HALF: u32 = 50_000;

/// Counted sequences of levels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Context {
    /// The least value and the height of a level, once known.
    scale: Option<(f64, f64)>,
    /// The rows that the range is taken from.
    first: Ring,
    levels: [u32; ORDERS],
    held: usize,
    counts: Vec<u8>,
    learned: u32,
    longest: usize,
}

impl Context {
    /// Takes the range of values, where it is known.
    pub(crate) fn new(range: Option<(f64, f64)>) -> Self {
        let scale = |(low, high): (f64, f64)| (low, (high - low) / (LEVELS - 1.0));
        Self {
            scale: range.map(scale),
            first: Ring::new(ROWS_FOR_RANGE),
            levels: [0; ORDERS],
            held: 0,
            counts: vec![0; 2 * COUNTERS],
            learned: 0,
            // Levels of an estimated range are less sure, and so are long sequences of them.
            longest: if range.is_some() { ORDERS } else { 2 },
        }
    }

    fn level(value: f64, (low, height): (f64, f64)) -> u32 {
        let level = ((value - low) / height).floor();
        (level.clamp(-LEVELS_OUTSIDE, LEVELS_OUTSIDE) + LEVELS_OUTSIDE) as u32
    }

    fn advance(&mut self, level: u32) {
        self.levels.rotate_right(1);
        self.levels[0] = level;
        self.held = (self.held + 1).min(ORDERS);
    }

    /// Places of the counters of each sequence that ends now, the shortest first.
    fn places(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let mut hash = 0;
        let (levels, held) = (self.levels, self.held.min(self.longest));
        levels.into_iter().take(held).map(move |level| {
            hash = mix(hash ^ (u64::from(level) + 1));
            let (one, other) = (hash as usize, (hash >> 32) as usize);
            [one % COUNTERS, COUNTERS + other % COUNTERS]
        })
    }

    fn count(&self, places: [usize; 2]) -> u8 {
        let counts = places.map(|place| self.counts.get(place).copied().unwrap_or(0));
        counts[0].min(counts[1])
    }

    fn count_now(&mut self) {
        for place in self.places() {
            let least = self.count(place);
            for at in place {
                if let Some(counter) = self.counts.get_mut(at).filter(|counter| **counter == least)
                {
                    *counter = counter.saturating_add(1);
                }
            }
        }
        self.learned += 1;
        if self.learned >= ROWS_TO_HALF {
            self.learned = 0;
            self.counts.iter_mut().for_each(|counter| *counter /= 2);
        }
    }

    /// Takes the range of the first rows without their outer fiftieths, and counts these rows.
    fn settle(&mut self) {
        let mut sorted: Vec<f32> = self.first.iter().collect();
        sorted.sort_by(f32::total_cmp);
        let outer = sorted.len() / 50;
        let low = sorted.get(outer).copied().map_or(0.0, f64::from);
        let high = sorted
            .get(sorted.len() - 1 - outer)
            .copied()
            .map_or(0.0, f64::from);
        let scale = (low, ((high - low) / (LEVELS - 1.0)).max(floor(low)));
        self.scale = Some(scale);
        let first = std::mem::replace(&mut self.first, Ring::new(1));
        for value in first.iter() {
            self.advance(Self::level(f64::from(value), scale));
            self.count_now();
        }
    }
}

impl Detector for Context {
    const RESOLUTION: f64 = 0.02;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let (Some(scale), Some(value)) = (self.scale, values.first()) else {
            return Reading::SILENT;
        };
        let level = Self::level(*value, scale);
        let before = self.levels[0];
        self.advance(level);
        let (mut newness, mut weights) = (0.0, 0.0);
        for (order, places) in self.places().enumerate() {
            let weight = 1.0 / (order as f64 + 1.0);
            newness += weight / (1.0 + f64::from(self.count(places)));
            weights += weight;
        }
        Reading::of(
            newness / weights,
            side(f64::from(level) - f64::from(before)),
        )
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if self.scale.is_some() {
            self.count_now();
        } else if let Some(value) = values.first() {
            self.first.push(*value as f32);
            if self.first.is_full() {
                self.settle();
            }
        }
    }
}

impl State for Context {
    fn save(&self, to: &mut Writer) {
        to.flag(self.scale.is_some());
        let (low, height) = self.scale.unwrap_or_default();
        to.f64(low);
        to.f64(height);
        self.first.save(to);
        to.u32s(&self.levels);
        to.length(self.held);
        to.bytes(&self.counts);
        to.u32(self.learned);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let is_settled = from.flag()?;
        let scale = (from.f64()?, from.f64()?);
        self.scale = is_settled.then_some(scale);
        self.first.load(from)?;
        let levels = from.u32s(ORDERS)?;
        let damaged = Error::Damaged("a sequence of levels is cut off");
        self.levels = levels.try_into().map_err(|_| damaged.clone())?;
        self.held = from.length(ORDERS)?;
        self.counts = from.bytes(2 * COUNTERS)?;
        if self.counts.len() != 2 * COUNTERS {
            return Err(damaged);
        }
        self.learned = from.u32()?;
        if self.scale.is_some() {
            self.first = Ring::new(1);
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.first.heap_bytes() + self.counts.capacity()
    }
}
