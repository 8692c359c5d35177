//! When rows can still match, decided from times alone: which bucket a row is kept in, which buckets
//! of the other side it may match, and when the watermark ends them. Pure.

use std::ops::RangeInclusive;

use super::spec::{JoinKind, Side};

/// Parts that the range of an interval join is cut into: more parts hold dead rows for less time,
/// fewer parts are searched for each row.
const RANGE_PARTS: i64 = 4;
/// The least width of a part, in microseconds, so that a narrow range has no bucket per row.
const WIDTH_MIN: i64 = 1_000_000;

/// The condition on time of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// Both rows are of the same window; the time of a row is the window's end.
    Window,
    /// `right + lower <= left <= right + upper`, in microseconds.
    Interval {
        lower: i64,
        upper: i64,
        /// The width of a bucket.
        width: i64,
    },
    /// None: rows are kept for ever, in one bucket.
    Forever,
}

impl Timing {
    /// The condition of an interval join.
    pub(super) fn interval(lower: i64, upper: i64) -> Self {
        let width = (upper.saturating_sub(lower) / RANGE_PARTS).max(WIDTH_MIN);
        Self::Interval {
            lower,
            upper,
            width,
        }
    }

    /// The bucket of a time.
    pub(super) fn bucket(self, time: i64) -> i64 {
        match self {
            Self::Window => time,
            Self::Forever => 0,
            Self::Interval { width, .. } => time.div_euclid(width),
        }
    }

    /// The first and last time of a bucket.
    fn times(self, bucket: i64) -> (i64, i64) {
        match self {
            Self::Window | Self::Forever => (bucket, bucket),
            Self::Interval { width, .. } => {
                let first = bucket.saturating_mul(width);
                (first, first.saturating_add(width - 1))
            }
        }
    }

    /// The buckets of the other side that rows in a bucket of this side may match.
    pub(super) fn partners(self, side: Side, bucket: i64) -> RangeInclusive<i64> {
        let Self::Interval { .. } = self else {
            return bucket..=bucket;
        };
        let (first, last) = self.times(bucket);
        let (from, to) = self.reach(side);
        self.bucket(first.saturating_add(from))..=self.bucket(last.saturating_add(to))
    }

    /// How far from a row's time the times of its matches lie, from and to.
    fn reach(self, side: Side) -> (i64, i64) {
        match (self, side) {
            (Self::Window | Self::Forever, _) => (0, 0),
            (Self::Interval { lower, upper, .. }, Side::Left) => {
                (upper.saturating_neg(), lower.saturating_neg())
            }
            (Self::Interval { lower, upper, .. }, Side::Right) => (lower, upper),
        }
    }

    /// Whether a row of a side and one of the other may match.
    pub(super) fn fits(self, side: Side, time: i64, other: i64) -> bool {
        let (from, to) = self.reach(side);
        match self {
            Self::Window | Self::Forever => true,
            Self::Interval { .. } => {
                time.saturating_add(from) <= other && other <= time.saturating_add(to)
            }
        }
    }

    /// Whether a row comes too late at a watermark: its window is closed, or rows that it could
    /// have matched may be gone.
    pub(super) fn is_late(self, time: i64, watermark: i64) -> bool {
        match self {
            Self::Forever => false,
            Self::Window => time <= watermark,
            Self::Interval { .. } => time < watermark,
        }
    }

    /// Whether no row that is not late can match one of this bucket.
    pub(super) fn is_over(self, side: Side, bucket: i64, watermark: i64) -> bool {
        let (_, last) = self.times(bucket);
        let (_, to) = self.reach(side);
        match self {
            Self::Forever => false,
            Self::Window => last <= watermark,
            Self::Interval { .. } => watermark == i64::MAX || last.saturating_add(to) < watermark,
        }
    }

    /// The least time that is in any later result, of either side: a new row may match one that is
    /// older than the watermark, and a row without a match comes out when its bucket is over.
    pub(super) fn output_watermark(self, kind: JoinKind, watermark: i64) -> i64 {
        let Self::Interval {
            lower,
            upper,
            width,
        } = self
        else {
            return watermark;
        };
        if watermark == i64::MAX || watermark == i64::MIN {
            return watermark;
        }
        // New left rows match right ones from `-upper` on, new right rows left ones from `lower`.
        let mut back = 0.max(upper).max(lower.saturating_neg());
        for (side, to) in [(Side::Left, lower.saturating_neg()), (Side::Right, upper)] {
            if kind.keeps_unmatched(side) {
                back = back.max(to.saturating_add(width));
            }
        }
        watermark.saturating_sub(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings() -> Vec<(i64, i64, Timing)> {
        let bounds = [(-7, 5), (0, 0), (3, 9), (-9, -3), (-40, 0), (0, 40)];
        let timing = |(lower, upper)| {
            [1, 4, 10].map(|width| {
                let timing = Timing::Interval {
                    lower,
                    upper,
                    width,
                };
                (lower, upper, timing)
            })
        };
        bounds.into_iter().flat_map(timing).collect()
    }

    #[test]
    fn rows_that_match_are_in_partner_buckets() {
        for (lower, upper, timing) in timings() {
            for left in -60..60_i64 {
                for right in -60..60_i64 {
                    let matches = right + lower <= left && left <= right + upper;
                    assert_eq!(timing.fits(Side::Left, left, right), matches);
                    assert_eq!(timing.fits(Side::Right, right, left), matches);
                    if matches {
                        let (l, r) = (timing.bucket(left), timing.bucket(right));
                        assert!(timing.partners(Side::Left, l).contains(&r));
                        assert!(timing.partners(Side::Right, r).contains(&l));
                    }
                }
            }
        }
    }

    #[test]
    fn a_bucket_that_is_over_has_no_later_match_and_others_may() {
        for (_, _, timing) in timings() {
            for side in Side::BOTH {
                for watermark in -30..30_i64 {
                    for time in -60..60_i64 {
                        let bucket = timing.bucket(time);
                        let mut later = (watermark..120).filter(|t| timing.fits(side, time, *t));
                        let over = timing.is_over(side, bucket, watermark);
                        assert!(!(over && later.next().is_some()), "{timing:?} {time}");
                        // The last time of a bucket decides.
                        let last = timing.times(bucket).1;
                        let mut later = (watermark..200).filter(|t| timing.fits(side, last, *t));
                        assert_eq!(over, later.next().is_none(), "{timing:?} {side:?} {time}");
                    }
                }
            }
        }
    }

    #[test]
    fn results_are_not_older_than_the_output_watermark() {
        for (_, _, timing) in timings() {
            let out = timing.output_watermark(JoinKind::Full, 100);
            for new in 100..160_i64 {
                for old in 0..160_i64 {
                    for side in Side::BOTH {
                        if timing.fits(side, new, old) {
                            assert!(old >= out, "{timing:?} {old} {out}");
                        }
                        let alive = !timing.is_over(side, timing.bucket(old), 100);
                        assert!(!alive || old >= out, "{timing:?} {side:?} {old} {out}");
                    }
                }
            }
        }
    }
}
