//! How far a column has moved since its last profile.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Profile;
use super::column::Shape;

/// Bins of equal weight in the earlier profile.
const BINS: usize = 10;
/// Points at which two distributions are compared.
const POINTS: usize = 200;
/// Values that are compared; the rest counts as one.
const VALUES_MAX: usize = 50;
/// Values that are told as new or lost at most.
const TOLD_MAX: usize = 10;
/// The share below which an empty bin counts: a logarithm needs one.
pub(crate) const LEAST: f64 = 1e-4;

/// The distance of two profiles of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// The population stability index: below 0.1 little has changed, above 0.25 much.
    pub(crate) psi: f64,
    /// The Jensen-Shannon distance, from 0 to 1.
    pub(crate) js: f64,
    /// The greatest distance of the cumulative distributions; of numbers and times only.
    pub(crate) ks: Option<f64>,
    /// Values that come often now and did not come before.
    pub(crate) new_values: Vec<String>,
    /// Values that came often before and do not come now.
    pub(crate) lost_values: Vec<String>,
}

impl Drift {
    /// Compares a profile with an earlier one; `None` if one of them has no value.
    pub(crate) fn between(before: &Profile, now: &Profile, shape: Shape) -> Option<Self> {
        let filled = |profile: &Profile| profile.counts.rows > profile.counts.nulls;
        if !filled(before) || !filled(now) {
            return None;
        }
        let by_number = matches!(shape, Shape::Number | Shape::Time);
        let (expected, found) = match by_number {
            true => by_quantiles(before, now),
            false => by_values(before, now),
        };
        let exact = before.values.is_exact() && now.values.is_exact();
        let only = |first: &Profile, other: &Profile| -> Vec<String> {
            let known: BTreeSet<String> = other
                .values
                .top(usize::MAX)
                .into_iter()
                .map(|(v, _)| v)
                .collect();
            let all = first
                .values
                .top(VALUES_MAX)
                .into_iter()
                .map(|(value, _)| value);
            all.filter(|value| exact && !by_number && !known.contains(value))
                .take(TOLD_MAX)
                .collect()
        };
        Some(Self {
            psi: psi(&expected, &found),
            js: js(&expected, &found),
            ks: by_number.then(|| ks(before, now)),
            new_values: only(now, before),
            lost_values: only(before, now),
        })
    }
}

/// Shares in bins between the quantiles of the earlier profile.
fn by_quantiles(before: &Profile, now: &Profile) -> (Vec<f64>, Vec<f64>) {
    let mut edges: Vec<f64> = (1..BINS)
        .filter_map(|bin| before.numbers.quantile(bin as f64 / BINS as f64))
        .collect();
    edges.dedup();
    let shares = |profile: &Profile| {
        let ranks = edges.iter().map(|edge| profile.numbers.share_to(*edge));
        let ends = ranks.chain([1.0]);
        let mut below = 0.0;
        ends.map(|rank| rank - std::mem::replace(&mut below, rank))
            .collect()
    };
    (shares(before), shares(now))
}

/// Shares of the values that come most often in either, and of all others.
fn by_values(before: &Profile, now: &Profile) -> (Vec<f64>, Vec<f64>) {
    let shares = |profile: &Profile| -> BTreeMap<String, f64> {
        let all = (profile.counts.rows - profile.counts.nulls) as f64;
        let top = profile.values.top(VALUES_MAX).into_iter();
        top.map(|(value, count)| (value, count as f64 / all))
            .collect()
    };
    let (first, second) = (shares(before), shares(now));
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let of = |shares: &BTreeMap<String, f64>| {
        let mut bins: Vec<f64> = names
            .iter()
            .map(|name| shares.get(*name).copied().unwrap_or(0.0))
            .collect();
        bins.push((1.0 - bins.iter().sum::<f64>()).max(0.0));
        bins
    };
    (of(&first), of(&second))
}

/// The population stability index.
pub(crate) fn psi(expected: &[f64], found: &[f64]) -> f64 {
    let pairs = expected.iter().zip(found);
    pairs
        .map(|(expected, found)| (expected.max(LEAST), found.max(LEAST)))
        .map(|(expected, found)| (found - expected) * (found / expected).ln())
        .sum()
}

/// The Jensen-Shannon distance.
pub(crate) fn js(expected: &[f64], found: &[f64]) -> f64 {
    let part = |p: f64, middle: f64| {
        if p > 0.0 {
            p * (p / middle).log2()
        } else {
            0.0
        }
    };
    let pairs = expected.iter().zip(found);
    let divergence: f64 = pairs
        .map(|(p, q)| {
            let middle = f64::midpoint(*p, *q);
            f64::midpoint(part(*p, middle), part(*q, middle))
        })
        .sum();
    divergence.max(0.0).sqrt()
}

fn ks(before: &Profile, now: &Profile) -> f64 {
    let points = [before, now].into_iter().flat_map(|profile| {
        (0..=POINTS).filter_map(|point| profile.numbers.quantile(point as f64 / POINTS as f64))
    });
    points
        .map(|point| (before.numbers.share_to(point) - now.numbers.share_to(point)).abs())
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    fn numbers(from: i32, to: i32) -> Profile {
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values((from..to).map(f64::from)));
        let mut profile = Profile::new().unwrap();
        profile.add(&values).unwrap();
        profile
    }

    fn texts(values: &[&str]) -> Profile {
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let mut profile = Profile::new().unwrap();
        profile.add(&values).unwrap();
        profile
    }

    #[test]
    fn numbers_that_move_drift() {
        let same = Drift::between(&numbers(0, 1_000), &numbers(0, 1_000), Shape::Number).unwrap();
        assert!(
            same.psi < 0.02 && same.js < 0.1 && same.ks.unwrap() < 0.03,
            "{same:?}"
        );
        let half = Drift::between(&numbers(0, 1_000), &numbers(500, 1_500), Shape::Number).unwrap();
        assert!((half.ks.unwrap() - 0.5).abs() < 0.04, "{half:?}");
        assert!(half.psi > 1.0 && half.js > 0.4, "{half:?}");
    }

    #[test]
    fn categories_come_and_go() {
        let drift = Drift::between(
            &texts(&["a", "a", "b", "c"]),
            &texts(&["a", "a", "b", "d"]),
            Shape::Text,
        );
        let drift = drift.unwrap();
        assert_eq!(
            (drift.new_values, drift.lost_values),
            (vec!["d".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!(drift.ks, None);
        // A quarter went from one bin to another: 0.25 (1 bit / 2) on each side.
        assert!((drift.js - 0.5).abs() < 1e-9, "{}", drift.js);
        assert_eq!(
            Drift::between(&texts(&[]), &texts(&["a"]), Shape::Text),
            None
        );
    }
}
