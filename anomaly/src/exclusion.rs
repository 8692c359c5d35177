//! Times whose rows are neither judged nor learned from: known incidents, maintenance, holidays.

use crate::error::{Error, Result};

/// Ranges of time at most.
pub const RANGES_MAX: usize = 10_000;

/// Ranges of time, in order and apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Exclusions {
    ranges: Vec<(i64, i64)>,
}

impl Exclusions {
    /// Takes ranges in any order, with their first and last times; they may overlap.
    pub fn new(ranges: impl IntoIterator<Item = (i64, i64)>) -> Result<Self> {
        let mut sorted: Vec<(i64, i64)> = ranges.into_iter().take(RANGES_MAX + 1).collect();
        if sorted.len() > RANGES_MAX {
            return Err(Error::Setting("excluded ranges", "at most 10,000"));
        }
        sorted.retain(|(from, to)| from <= to);
        sorted.sort_unstable();
        let mut ranges: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (from, to) in sorted {
            match ranges.last_mut() {
                Some((_, last)) if *last >= from => *last = (*last).max(to),
                _ => ranges.push((from, to)),
            }
        }
        Ok(Self { ranges })
    }

    /// Whether a time is in a range.
    pub fn contains(&self, time: i64) -> bool {
        let before = self.ranges.partition_point(|(from, _)| *from <= time);
        let range = before
            .checked_sub(1)
            .and_then(|place| self.ranges.get(place));
        range.is_some_and(|(_, to)| time <= *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_and_include_their_ends() {
        let excluded = Exclusions::new([(10, 20), (15, 30), (50, 50), (9, 8)]).unwrap();
        let inside: Vec<i64> = (0..60).filter(|time| excluded.contains(*time)).collect();
        let expected: Vec<i64> = (10..=30).chain([50]).collect();
        assert_eq!(inside, expected);
        assert!(!Exclusions::default().contains(0));
        assert!(Exclusions::new((0..20_000).map(|time| (2 * time, 2 * time))).is_err());
    }
}
