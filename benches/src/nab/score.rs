//! The scoring of the Numenta Anomaly Benchmark: what rows' scores are worth, given the windows in
//! which an anomaly counts as found.
//!
//! After Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms" (2015). That the
//! reference detector of the benchmark gets its published score is a test.

use std::ops::RangeInclusive;

/// Rows at the start of a series that don't count, as a share of its rows.
const PROBATION_SHARE: f64 = 0.15;
/// And at most so many.
const PROBATION_ROWS_MAX: usize = 750;
/// Window lengths behind a window's end from which on a detection costs all of `fp`.
const FAR_BEHIND: f64 = 3.0;

/// What hits and misses are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Profile {
    /// What the benchmark calls it.
    pub(crate) name: &'static str,
    /// A window that is found at its left end.
    tp: f64,
    /// A detection outside of windows.
    fp: f64,
    /// A window that is missed.
    missed: f64,
}

/// The benchmark's profiles.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile {
        name: "standard",
        tp: 1.0,
        fp: 0.11,
        missed: 1.0,
    },
    Profile {
        name: "low false positives",
        tp: 1.0,
        fp: 0.22,
        missed: 1.0,
    },
    Profile {
        name: "low false negatives",
        tp: 1.0,
        fp: 0.11,
        missed: 2.0,
    },
];

/// Rows of a series that don't count.
pub(crate) fn probation(rows: usize) -> usize {
    ((rows as f64 * PROBATION_SHARE) as usize).min(PROBATION_ROWS_MAX)
}

/// A row that counts.
#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    /// The sigmoid at its place: above 0 in a window, below 0 outside.
    worth: f64,
    /// The window it is in, numbered over all series.
    window: Option<usize>,
}

impl Point {
    /// What a detection here adds to what was found so far.
    fn gain(&self, profile: &Profile, found: &mut [Option<f64>]) -> f64 {
        match self.window.and_then(|window| found.get_mut(window)) {
            Some(earlier) => {
                let worth = profile.tp * self.worth;
                let had = earlier.unwrap_or(-profile.missed);
                if worth > had {
                    *earlier = Some(worth);
                }
                (worth - had).max(0.0)
            }
            None => profile.fp * self.worth,
        }
    }
}

/// The rows of some series, ready to be scored.
#[derive(Debug, Default)]
pub(crate) struct Scored {
    points: Vec<Point>,
    windows: usize,
}

impl Scored {
    /// Adds a series: a score per row, and windows by the numbers of their first and last row.
    pub(crate) fn add(&mut self, scores: &[f64], windows: &[RangeInclusive<usize>]) {
        let mut coming = windows.iter().enumerate().peekable();
        // The last row and the length of the window before.
        let mut before: Option<(usize, usize)> = None;
        for (row, score) in scores.iter().enumerate() {
            while coming.peek().is_some_and(|(_, w)| *w.end() < row) {
                before = coming
                    .next()
                    .map(|(_, w)| (*w.end(), w.end() - w.start() + 1));
            }
            let inside = coming.peek().filter(|(_, w)| w.contains(&row));
            let worth = match (inside, before) {
                (Some((_, window)), _) => {
                    let length = (window.end() - window.start() + 1) as f64;
                    let place = -((window.end() - row + 1) as f64) / length;
                    sigmoid(place) / sigmoid(-1.0)
                }
                (None, Some((end, length))) => sigmoid((row - end) as f64 / (length as f64 - 1.0)),
                (None, None) => -1.0,
            };
            let window = inside.map(|(index, _)| self.windows + index);
            if row >= probation(scores.len()) {
                self.points.push(Point {
                    score: *score,
                    worth,
                    window,
                });
            }
        }
        self.windows += windows.len();
    }

    /// The score of a profile, with the threshold that gives the most, and that threshold.
    pub(crate) fn best(&mut self, profile: &Profile) -> (f64, f64) {
        self.sort();
        let windows = self.windows.max(1) as f64;
        let mut best = (0.0, f64::INFINITY);
        self.sweep(profile, |gain, threshold| {
            if gain / windows > best.0 {
                best = (gain / windows, threshold);
            }
        });
        best
    }

    /// The score of a profile when rows from a threshold on are detections.
    pub(crate) fn at(&self, profile: &Profile, threshold: f64) -> f64 {
        self.gain_at(profile, threshold) / self.windows.max(1) as f64
    }

    /// The same as a sum of what the windows are worth, 100 each: it adds up over series.
    pub(crate) fn gain_at(&self, profile: &Profile, threshold: f64) -> f64 {
        let detections = self.points.iter().filter(|point| point.score >= threshold);
        let mut found = vec![None::<f64>; self.windows];
        let gain: f64 = detections
            .map(|point| point.gain(profile, &mut found))
            .sum();
        100.0 * gain / (profile.tp + profile.missed)
    }

    fn sort(&mut self) {
        self.points.sort_by(|a, b| b.score.total_cmp(&a.score));
    }

    /// Lowers the threshold row by row, and tells the gain whenever it has passed all rows of a value.
    fn sweep(&self, profile: &Profile, mut tell: impl FnMut(f64, f64)) {
        // 0 is null, every window missed.
        let mut total = 0.0;
        let mut found = vec![None::<f64>; self.windows];
        for (index, point) in self.points.iter().enumerate() {
            total += point.gain(profile, &mut found);
            let next = self.points.get(index + 1);
            if next.is_none_or(|next| next.score != point.score) {
                tell(100.0 * total / (profile.tp + profile.missed), point.score);
            }
        }
    }
}

/// 1 far before 0, 0 at 0, -1 far behind.
fn sigmoid(place: f64) -> f64 {
    if place > FAR_BEHIND {
        return -1.0;
    }
    2.0 / (1.0 + (5.0 * place).exp()) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_at_the_left_end_is_all_and_a_false_alarm_costs() {
        let standard = &PROFILES[0];
        let mut scores = vec![0.0; 1_000];
        scores[500] = 1.0;
        let mut perfect = Scored::default();
        perfect.add(&scores, &[500..=600]);
        assert_eq!(perfect.best(standard), (100.0, 1.0));

        // Before any window a false alarm costs 0.11 of the 2 between perfect and null.
        scores[300] = 1.0;
        let mut with_alarm = Scored::default();
        with_alarm.add(&scores, &[500..=600]);
        assert!((with_alarm.at(standard, 1.0) - 94.5).abs() < 1e-9);

        // On probation nothing counts.
        scores[300] = 0.0;
        scores[100] = 1.0;
        let mut early = Scored::default();
        early.add(&scores, &[500..=600]);
        assert_eq!(early.at(standard, 1.0), 100.0);
    }

    #[test]
    fn nothing_found_is_null_and_all_found_late_is_little() {
        let mut scores = vec![0.0; 1_000];
        let mut none = Scored::default();
        none.add(&scores, &[500..=600]);
        assert_eq!(none.at(&PROFILES[0], 0.5), 0.0);
        scores[600] = 1.0;
        let mut late = Scored::default();
        late.add(&scores, &[500..=600]);
        let found = late.at(&PROFILES[0], 0.5);
        assert!((50.0..52.0).contains(&found), "{found}");
    }
}
