//! Matrix profile of a stream (after Yeh et al., 2016): how far the shape of the last rows is from the nearest shape among
//! those before, each brought to mean 0 and deviation 1. A shape without a near one is a discord.

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::moments::floor;
use crate::ring::Ring;

/// Rows that shapes are looked for in.
const ROWS: usize = 512;
/// Shapes that end so close to the last row that they are nearly the same one are passed over: a share of a shape.
const PASSED_OVER: usize = 2;
/// Shapes before the first score.
const SHAPES_MIN: usize = 32;

/// The last rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MatrixProfile {
    length: usize,
    /// Rows that are looked at together, the newest last.
    shape: Ring,
    /// Rows that were learned.
    known: Ring,
}

/// A shape's sum and sum of squares.
#[derive(Debug, Clone, Copy)]
struct Size {
    mean: f64,
    deviation: f64,
}

impl Size {
    fn of(sum: f64, squares: f64, length: usize) -> Self {
        let mean = sum / length as f64;
        let variance = (squares / length as f64 - mean * mean).max(0.0);
        Self {
            mean,
            deviation: variance.sqrt(),
        }
    }

    /// Whether there is no shape in it, but a level.
    fn is_flat(self) -> bool {
        // Squares of floats of four bytes are right to six digits, their root to three.
        self.deviation <= floor(self.mean) * 1e3
    }
}

impl MatrixProfile {
    /// Looks at so many rows together.
    pub(crate) fn new(length: usize) -> Self {
        let length = length.max(4);
        Self {
            length,
            shape: Ring::new(length),
            known: Ring::new(ROWS),
        }
    }

    /// The distance of the nearest shape, and the value that it has in place of the last one.
    fn nearest(&self) -> Option<(f64, f64)> {
        let length = self.length;
        // Around a value of the series, so that squares don't lose what is small beside it.
        let base = f64::from(self.shape.last()?);
        let shape: Vec<f64> = self.shape.iter().map(|v| f64::from(v) - base).collect();
        let known: Vec<f64> = self.known.iter().map(|v| f64::from(v) - base).collect();
        let usable = known.len().checked_sub(length / PASSED_OVER)?;
        let squares: f64 = shape.iter().map(|v| v * v).sum();
        let own = Size::of(shape.iter().sum(), squares, length);
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut best: Option<(f64, Size, usize)> = None;
        let mut shapes = 0;
        for (end, value) in known.iter().enumerate().take(usable) {
            sum += value;
            squares += value * value;
            let Some(start) = (end + 1).checked_sub(length) else {
                continue;
            };
            if let Some(gone) = start.checked_sub(1).and_then(|gone| known.get(gone)) {
                sum -= gone;
                squares -= gone * gone;
            }
            shapes += 1;
            let of = known.get(start..=end).unwrap_or_default();
            let size = Size::of(sum, squares, length);
            let products = of.iter().zip(&shape).map(|(a, b)| a * b).sum();
            let distance = distance(products, size, own, length);
            if best.is_none_or(|(least, _, _)| distance < least) {
                best = Some((distance, size, end));
            }
        }
        let (distance, size, end) = best.filter(|_| shapes >= SHAPES_MIN)?;
        let last = known.get(end).copied().unwrap_or_default();
        // The nearest shape at the level and in the size of this one.
        let expected = match size.is_flat() {
            true => own.mean,
            false => own.mean + (last - size.mean) / size.deviation * own.deviation,
        };
        Some((distance, base + expected))
    }
}

/// The squared distance of two shapes, over their length: from 0 to 4.
fn distance(products: f64, one: Size, other: Size, length: usize) -> f64 {
    match (one.is_flat(), other.is_flat()) {
        (true, true) => 0.0,
        (true, false) | (false, true) => 2.0,
        (false, false) => {
            let covariance = products / length as f64 - one.mean * other.mean;
            let correlation = covariance / (one.deviation * other.deviation);
            2.0 * (1.0 - correlation.clamp(-1.0, 1.0))
        }
    }
}

impl Detector for MatrixProfile {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let Some(value) = values.first() else {
            return Reading::SILENT;
        };
        self.shape.push(*value as f32);
        if !self.shape.is_full() {
            return Reading::SILENT;
        }
        match self.nearest() {
            Some((distance, expected)) => Reading {
                score: distance.sqrt(),
                expected,
                scale: f64::NAN,
                side: super::side(value - expected),
            },
            None => Reading::SILENT,
        }
    }

    fn learn(&mut self, _time: i64, values: &[f64]) {
        if let Some(value) = values.first() {
            self.known.push(*value as f32);
        }
    }
}

impl State for MatrixProfile {
    fn save(&self, to: &mut Writer) {
        self.shape.save(to);
        self.known.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.shape.load(from)?;
        self.known.load(from)
    }

    fn heap_bytes(&self) -> usize {
        self.shape.heap_bytes() + self.known.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_shape_is_that_of_the_definition() {
        let mut random = crate::random::Random::new(1);
        let mut profile = MatrixProfile::new(8);
        let mut rows: Vec<f64> = Vec::new();
        for row in 0..700_usize {
            let value = f64::from((random.share() + 1e3 + (row % 13) as f64) as f32);
            let reading = profile.judge(0, &[value]);
            profile.learn(0, &[value]);
            rows.push(value);
            let shape = |end: usize| {
                let of = &rows[end + 1 - 8..=end];
                let mean = of.iter().sum::<f64>() / 8.0;
                let deviation = (of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 8.0).sqrt();
                of.iter()
                    .map(|v| (v - mean) / deviation)
                    .collect::<Vec<f64>>()
            };
            if row < 60 {
                continue;
            }
            // The rows before this one, but for the last four.
            let ends = (row.saturating_sub(ROWS) + 7)..(row - 4);
            let own = shape(row);
            let away = ends.map(|end| {
                let squares = shape(end)
                    .iter()
                    .zip(&own)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>();
                (squares / 8.0).sqrt()
            });
            let expected = away.fold(f64::INFINITY, f64::min);
            assert!(
                (reading.score - expected).abs() < 1e-5,
                "{row}: {} {expected}",
                reading.score
            );
        }
    }
}
