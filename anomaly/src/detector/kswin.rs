//! KSWIN (Raab, Heusinger, Schleif, 2020): Kolmogorov and Smirnov's distance between the last rows and those
//! before them. Unlike a test of means it sees a change of the distribution's width or shape.

use super::{Detector, Reading, side};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::ring::Ring;

/// Rows of both parts.
const ROWS: usize = 128;
/// Rows of the newer part.
const NEWER: usize = 32;

/// The last rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kswin {
    rows: Ring,
}

impl Kswin {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        Self {
            rows: Ring::new(ROWS),
        }
    }
}

/// The largest difference of two distribution functions.
fn distance(one: &mut [f32], other: &mut [f32]) -> f64 {
    one.sort_unstable_by(f32::total_cmp);
    other.sort_unstable_by(f32::total_cmp);
    let (mut at, mut opposite, mut most) = (0, 0, 0.0_f64);
    while let (Some(a), Some(b)) = (one.get(at), other.get(opposite)) {
        let value = a.min(*b);
        at += one
            .iter()
            .skip(at)
            .take_while(|known| **known <= value)
            .count();
        opposite += other
            .iter()
            .skip(opposite)
            .take_while(|known| **known <= value)
            .count();
        let shares = (
            at as f64 / one.len() as f64,
            opposite as f64 / other.len() as f64,
        );
        most = most.max((shares.0 - shares.1).abs());
    }
    most
}

impl Detector for Kswin {
    const RESOLUTION: f64 = 0.02;

    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        if let Some(value) = values.first() {
            self.rows.push(*value as f32);
        }
        if !self.rows.is_full() {
            return Reading::SILENT;
        }
        let mut rows: Vec<f32> = self.rows.iter().collect();
        let (older, newer) = rows.split_at_mut(ROWS - NEWER);
        let apart = distance(older, newer);
        let middle = |sorted: &[f32]| sorted.get(sorted.len() / 2).copied().map_or(0.0, f64::from);
        let (before, after) = (middle(older), middle(newer));
        Reading {
            score: apart,
            expected: before,
            scale: f64::NAN,
            side: side(after - before),
        }
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for Kswin {
    fn save(&self, to: &mut Writer) {
        self.rows.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.rows.load(from)
    }

    fn heap_bytes(&self) -> usize {
        self.rows.heap_bytes()
    }
}
