//! The distribution of a column as its profile knows it: exactly while it has few values, else by its sketches.

use super::Profile;
use crate::statistics::{Categories, Distribution, Moments, Numbers};

/// Points at which a sketch is asked for its numbers: it knows ranks to 1.3 % only.
const POINTS: u64 = 1_000;

impl Profile {
    /// How the values are distributed: texts and truths as categories, all else as numbers.
    pub(crate) fn distribution(&self) -> Distribution {
        let known = self.values.top(usize::MAX);
        let count = self.numbers.moments().count;
        if count == 0 || self.patterns.distinct() > 0 {
            let all = self.counts.rows - self.counts.nulls;
            let counted: u64 = known.iter().map(|(_, count)| count).sum();
            let others = (!self.values.is_exact()).then(|| all.saturating_sub(counted));
            return Distribution::Categories(Categories::of(known, others));
        }
        let exact = self.values.is_exact();
        let numbers = known
            .iter()
            .map(|(value, count)| Some((value.parse().ok()?, *count)));
        let numbers: Option<Vec<(f64, u64)>> = numbers.filter(|_| exact).collect();
        let numbers = match numbers {
            Some(numbers) if exact => numbers,
            _ => self.points(count),
        };
        let (mean, deviation) = (self.numbers.mean(), self.numbers.deviation());
        let squares = deviation.unwrap_or(0.0).powi(2) * (count as f64 - 1.0);
        let moments = Moments::of(count, mean.unwrap_or(0.0), squares);
        Distribution::Numbers(Numbers::of(numbers, moments))
    }

    /// Numbers at equal distances of ranks, in place of all.
    fn points(&self, count: u64) -> Vec<(f64, u64)> {
        let points = count.min(POINTS);
        let upto = |point: u64| (u128::from(count) * u128::from(point) / u128::from(points)) as u64;
        let point = |point: u64| {
            let value = self
                .numbers
                .quantile((point as f64 + 0.5) / points as f64)?;
            Some((value, upto(point + 1) - upto(point)))
        };
        (0..points).filter_map(point).collect()
    }
}
