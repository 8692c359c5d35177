//! Distance of the last rows from the nearest ones before (after KNN-CAD, Burnaev and Ishimtsev, 2016).
//!
//! Examples are a sample of the past that forgets: with each row that is learned, chance decides whether it
//! takes an example's place. All of what is kept is floats of four bytes, a number of examples times
//! the length of the shingle.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::random::Random;

/// Neighbours whose distances are averaged.
const NEAREST: usize = 5;
/// Examples before the first score.
const EXAMPLES_MIN: usize = 16;
/// How many times the number of examples the sample looks back.
const REACH: u64 = 4;

/// Examples of shingles, and the shingle of the last rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbours {
    columns: usize,
    /// Floats of a shingle.
    width: usize,
    examples_max: usize,
    shingle: Vec<f32>,
    examples: Vec<f32>,
    seen: u64,
    random: Random,
    /// The last row's squared distance from its nearest neighbour, per column; not part of the state.
    blame: Vec<f64>,
}

impl Neighbours {
    /// Looks at `rows` rows of `columns` columns together.
    pub(crate) fn new(columns: usize, rows: usize, examples_max: usize, seed: u64) -> Self {
        Self {
            columns,
            width: columns * rows,
            examples_max,
            shingle: Vec::new(),
            examples: Vec::new(),
            seen: 0,
            random: Random::new(seed),
            blame: Vec::new(),
        }
    }

    fn advance(&mut self, values: &[f64]) {
        if self.shingle.len() == self.width {
            self.shingle.copy_within(self.columns.., 0);
            self.shingle.truncate(self.width - self.columns);
        } else if self.shingle.is_empty() {
            self.shingle.reserve_exact(self.width);
        }
        self.shingle
            .extend(values.iter().map(|value| *value as f32));
    }

    fn is_whole(&self) -> bool {
        self.shingle.len() == self.width
    }

    /// Squared distances of the nearest examples, and the nearest of all.
    fn nearest(&self) -> ([f32; NEAREST], Option<&[f32]>) {
        let mut best = [f32::INFINITY; NEAREST];
        let mut nearest = None;
        for example in self.examples.chunks_exact(self.width) {
            let distance = squared(example, &self.shingle);
            if distance < best[NEAREST - 1] {
                if distance < best[0] {
                    nearest = Some(example);
                }
                let place = best.partition_point(|known| *known <= distance);
                best[place..].rotate_right(1);
                best[place] = distance;
            }
        }
        (best, nearest)
    }
}

/// The squared distance of two shingles, in lanes that the compiler can make vectors of.
fn squared(one: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [0.0_f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones
        .remainder()
        .iter()
        .zip(others.remainder())
        .map(|(a, b)| (a - b) * (a - b))
        .sum();
    for (ones, others) in ones.zip(others) {
        for ((lane, a), b) in lanes.iter_mut().zip(ones).zip(others) {
            *lane += (a - b) * (a - b);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

impl Detector for Neighbours {
    /// Distances are in the unit of the values, of which nothing is known.
    const RESOLUTION: f64 = 0.0;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        self.advance(values);
        if !self.is_whole() || self.examples.len() < EXAMPLES_MIN * self.width {
            return Reading::SILENT;
        }
        let (best, nearest) = self.nearest();
        let distance = best.iter().map(|d| f64::from(*d).sqrt()).sum::<f64>() / NEAREST as f64;
        let mut expected = f64::NAN;
        let mut direction = 0;
        if let (Some(nearest), Some(value)) = (nearest, values.first()) {
            let last = &nearest[self.width - self.columns..];
            expected = last.first().copied().map_or(f64::NAN, f64::from);
            direction = side(value - expected);
            if self.columns > 1 {
                let shares = last
                    .iter()
                    .zip(values)
                    .map(|(a, b)| (b - f64::from(*a)).powi(2));
                self.blame = shares.collect();
                (expected, direction) = (f64::NAN, 0);
            }
        }
        Reading {
            score: distance,
            expected,
            scale: 1.0,
            side: direction,
        }
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {
        if !self.is_whole() {
            return;
        }
        self.seen += 1;
        let held = self.examples.len() / self.width;
        if held < self.examples_max {
            if held == 0 {
                self.examples.reserve_exact(self.width * self.examples_max);
            }
            self.examples.extend(&self.shingle);
            return;
        }
        let among = self.seen.min(REACH * self.examples_max as u64);
        let start = self.random.below(among) as usize * self.width;
        if let Some(place) = self.examples.get_mut(start..start + self.width) {
            place.copy_from_slice(&self.shingle);
        }
    }

    fn blame(&self, shares: &mut [f64]) {
        for (share, blame) in shares.iter_mut().zip(&self.blame) {
            *share += blame;
        }
        if self.blame.is_empty() {
            shares.iter_mut().for_each(|share| *share += 1.0);
        }
    }
}

impl State for Neighbours {
    fn save(&self, to: &mut Writer) {
        to.f32s(&self.shingle);
        to.f32s(&self.examples);
        to.u64(self.seen);
        self.random.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let most = self.width * self.examples_max;
        self.shingle = from.f32s(self.width)?;
        let examples = from.f32s(most)?;
        if !examples.len().is_multiple_of(self.width)
            || !self.shingle.len().is_multiple_of(self.columns)
        {
            return Err(Error::Damaged("an example is cut off"));
        }
        self.examples.clear();
        if !examples.is_empty() {
            self.examples.reserve_exact(most);
        }
        self.examples.extend(examples);
        self.seen = from.u64()?;
        self.random.load(from)
    }

    fn heap_bytes(&self) -> usize {
        (self.shingle.capacity() + self.examples.capacity()) * size_of::<f32>()
            + self.blame.capacity() * size_of::<f64>()
    }
}
