//! Spectral residual (Ren et al., KDD 2019): what is left of the last rows when the smooth part of their
//! spectrum is taken away stands out.

use std::f64::consts::TAU;

use super::{Detector, Reading};
use crate::codec::{Reader, State, Writer};
use crate::error::Result;
use crate::ring::Ring;

/// Points of the transform.
const POINTS: usize = 64;
/// Points after the newest row, with the mean of as many rows before it: the end of the transform is not to be
/// trusted. Put there by its slope, as in the paper, they would be part of a spike and hide it.
const BEYOND: usize = 5;
/// Rows of the transform.
const ROWS: usize = POINTS - BEYOND;
/// Frequencies on each side that a smooth spectrum is the mean of.
const SMOOTH: usize = 1;
/// Points that the saliency is compared with.
const COMPARED: usize = 21;

/// The last rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spectral {
    rows: Ring,
}

impl Spectral {
    /// No row has been seen.
    pub(crate) fn new() -> Self {
        Self {
            rows: Ring::new(ROWS),
        }
    }

    fn extended(&self) -> [(f64, f64); POINTS] {
        let mut points = [(0.0, 0.0); POINTS];
        let values: Vec<f64> = self.rows.iter().map(f64::from).collect();
        let before = values.iter().rev().skip(1).take(BEYOND);
        let beyond = before.sum::<f64>() / BEYOND as f64;
        let all = values.iter().copied().chain([beyond; BEYOND]);
        for (point, value) in points.iter_mut().zip(all) {
            point.0 = value;
        }
        points
    }
}

/// The discrete Fourier transform, in place; `turn` is -1 there and 1 back.
fn transform(points: &mut [(f64, f64); POINTS], turn: f64) {
    let bits = POINTS.trailing_zeros();
    for at in 0..POINTS {
        let to = at.reverse_bits() >> (usize::BITS - bits);
        if to > at {
            points.swap(at, to);
        }
    }
    let mut half = 1;
    while half < POINTS {
        for place in 0..half {
            let (sine, cosine) = (turn * TAU / 2.0 * place as f64 / half as f64).sin_cos();
            let mut at = place;
            while at + half < POINTS {
                let (one, other) = (points[at], points[at + half]);
                let turned = (
                    other.0 * cosine - other.1 * sine,
                    other.0 * sine + other.1 * cosine,
                );
                points[at] = (one.0 + turned.0, one.1 + turned.1);
                points[at + half] = (one.0 - turned.0, one.1 - turned.1);
                at += 2 * half;
            }
        }
        half *= 2;
    }
}

/// The saliency of each point.
fn saliency(points: &mut [(f64, f64); POINTS]) {
    transform(points, -1.0);
    let largest = points
        .iter()
        .map(|(re, im)| re.hypot(*im))
        .fold(0.0, f64::max);
    let least = (largest * 1e-9).max(f64::MIN_POSITIVE);
    let logs: Vec<f64> = points
        .iter()
        .map(|(re, im)| re.hypot(*im).max(least).ln())
        .collect();
    for (at, point) in points.iter_mut().enumerate() {
        let around = at.saturating_sub(SMOOTH)..=(at + SMOOTH).min(POINTS - 1);
        let near = logs.get(around).unwrap_or_default();
        let smooth = near.iter().sum::<f64>() / near.len().max(1) as f64;
        let log = logs.get(at).copied().unwrap_or(smooth);
        // The residual's amplitude with the phase as it was.
        let scale = (log - smooth).exp() / point.0.hypot(point.1).max(least);
        *point = (point.0 * scale, point.1 * scale);
    }
    transform(points, 1.0);
}

impl Detector for Spectral {
    fn judge(&mut self, _time: i64, values: &[f64]) -> Reading {
        let before = self.rows.last();
        if let Some(value) = values.first() {
            self.rows.push(*value as f32);
        }
        if !self.rows.is_full() {
            return Reading::SILENT;
        }
        let mut points = self.extended();
        saliency(&mut points);
        let of = |(re, im): &(f64, f64)| re.hypot(*im);
        let newest = points.get(ROWS - 1).map_or(0.0, of);
        let compared = points
            .get(ROWS - 1 - COMPARED..ROWS - 1)
            .unwrap_or_default();
        let mean = compared.iter().map(of).sum::<f64>() / COMPARED as f64;
        let score = ((newest - mean) / mean.max(1e-12)).max(0.0);
        let change = values.first().copied().unwrap_or(0.0) - before.map_or(0.0, f64::from);
        Reading::of(
            if score.is_finite() { score } else { 0.0 },
            super::side(change),
        )
    }

    fn learn(&mut self, _time: i64, _values: &[f64]) {}
}

impl State for Spectral {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_that_of_its_definition_and_goes_back() {
        let mut random = crate::random::Random::new(1);
        let mut points = [(0.0, 0.0); POINTS];
        points.iter_mut().for_each(|point| point.0 = random.share());
        let given = points;
        transform(&mut points, -1.0);
        for (k, point) in points.iter().enumerate() {
            let angle = |n: usize| -TAU * (k * n) as f64 / POINTS as f64;
            let re: f64 = given
                .iter()
                .enumerate()
                .map(|(n, p)| p.0 * angle(n).cos())
                .sum();
            let im: f64 = given
                .iter()
                .enumerate()
                .map(|(n, p)| p.0 * angle(n).sin())
                .sum();
            assert!((re - point.0).abs() < 1e-9 && (im - point.1).abs() < 1e-9);
        }
        transform(&mut points, 1.0);
        for (one, other) in points.iter().zip(&given) {
            assert!((one.0 / POINTS as f64 - other.0).abs() < 1e-9);
        }
    }
}
