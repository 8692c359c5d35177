//! ADWIN (Bifet and Gavaldà, 2007): a window of the past that shrinks when two parts of it have means that
//! chance does not explain. Buckets of doubled sizes hold it in the logarithm of its length.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::moments::Moments;

/// Buckets of a size.
const PER_SIZE: usize = 5;
/// Sizes: the window holds at most 5 * 2^16 values.
const SIZES: usize = 16;
/// A value counts as one so many deviations from the mean at most, or one wild value would hide all changes.
const CLIP: f64 = 8.0;
/// Over how many values that mean and deviation forget.
const CLIP_MEMORY: u32 = 1_000;
/// Values before any is clipped.
const CLIP_FROM: u32 = 16;
/// Values on each side of a cut at least.
const SIDE_MIN: f64 = 8.0;
/// The confidence of a cut.
const CONFIDENCE: f64 = 0.002;

/// Values that were added up: their number as a power of two, sum and sum of squared deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    size: u32,
    mean: f64,
    squares: f64,
}

impl Bucket {
    fn count(&self) -> f64 {
        f64::from(1_u32 << self.size)
    }

    fn with(&self, other: &Self) -> Self {
        let away = self.mean - other.mean;
        Self {
            size: self.size + 1,
            mean: f64::midpoint(self.mean, other.mean),
            squares: self.squares + other.squares + away * away * self.count() / 2.0,
        }
    }
}

/// The buckets, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adwin {
    moments: Moments,
    buckets: Vec<Bucket>,
}

/// What the best cut of a window says.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    /// The difference of the means, as a share of what chance explains.
    score: f64,
    /// The mean after it without the mean before it.
    change: f64,
    mean_before: f64,
}

impl Adwin {
    /// An empty window.
    pub(crate) fn new() -> Self {
        Self {
            moments: Moments::default(),
            buckets: Vec::new(),
        }
    }

    fn add(&mut self, value: f64) {
        self.buckets.push(Bucket {
            size: 0,
            mean: value,
            squares: 0.0,
        });
        for size in 0..SIZES as u32 {
            let of_size = self
                .buckets
                .iter()
                .filter(|bucket| bucket.size == size)
                .count();
            if of_size <= PER_SIZE {
                break;
            }
            let Some(oldest) = self.buckets.iter().position(|bucket| bucket.size == size) else {
                break;
            };
            if size + 1 == SIZES as u32 {
                self.buckets.remove(oldest);
                break;
            }
            let second = self.buckets.remove(oldest + 1);
            if let Some(first) = self.buckets.get_mut(oldest) {
                *first = first.with(&second);
            }
        }
    }

    fn best_cut(&self) -> Cut {
        let count: f64 = self.buckets.iter().map(Bucket::count).sum();
        let mean = self.buckets.iter().map(|b| b.mean * b.count()).sum::<f64>() / count.max(1.0);
        let squares: f64 = self
            .buckets
            .iter()
            .map(|b| b.squares + b.count() * (b.mean - mean).powi(2))
            .sum();
        let variance = squares / count.max(1.0);
        let width = (2.0 * count.max(2.0).ln() / CONFIDENCE).ln();
        let mut best = Cut::default();
        let (mut before, mut sum) = (0.0, 0.0);
        for bucket in &self.buckets {
            before += bucket.count();
            sum += bucket.mean * bucket.count();
            let after = count - before;
            if before < SIDE_MIN || after < SIDE_MIN {
                continue;
            }
            let harmonic = 1.0 / (1.0 / before + 1.0 / after);
            let chance = (2.0 / harmonic * variance * width).sqrt() + crate::moments::floor(mean);
            let mean_before = sum / before;
            let change = (mean * count - sum) / after - mean_before;
            let score = change.abs() / chance;
            if score > best.score {
                best = Cut {
                    score,
                    change,
                    mean_before,
                };
            }
        }
        best
    }
}

impl Detector for Adwin {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first() else {
            return Reading::SILENT;
        };
        let reach = CLIP * self.moments.deviation();
        let mean = self.moments.mean();
        let is_known = self.moments.count() >= CLIP_FROM;
        self.add(if is_known {
            value.clamp(mean - reach, mean + reach)
        } else {
            *value
        });
        self.moments.add(*value, CLIP_MEMORY);
        let best = self.best_cut();
        let mut cut = best;
        while cut.score > 1.0 && self.buckets.len() > 1 {
            self.buckets.remove(0);
            cut = self.best_cut();
        }
        Reading {
            score: best.score,
            expected: best.mean_before,
            scale: f64::NAN,
            side: side(best.change),
        }
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for Adwin {
    fn save(&self, to: &mut Writer) {
        self.moments.save(to);
        to.length(self.buckets.len());
        for bucket in &self.buckets {
            to.u32(bucket.size);
            to.f64(bucket.mean);
            to.f64(bucket.squares);
        }
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.moments.load(from)?;
        let count = from.length((PER_SIZE + 1) * SIZES)?;
        self.buckets.clear();
        for _ in 0..count {
            let size = from.u32()?;
            if size >= SIZES as u32 {
                return Err(Error::Damaged("a bucket is too large"));
            }
            self.buckets.push(Bucket {
                size,
                mean: from.f64()?,
                squares: from.f64()?,
            });
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}
