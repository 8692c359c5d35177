//! Choosing parameters and saying what the choice is worth: on each fold of the files they are chosen anew on the
//! other files, and scored on the fold that the choice did not see.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::score::{Profile, Scored};
use super::series::Series;

/// Folds of the files.
const FOLDS: usize = 5;
/// Times that the files are shuffled and divided anew.
const SHUFFLES: usize = 20;
/// Rows after an anomaly in which there is no other, and sensitivities, that are compared.
const DEBOUNCES: [usize; 7] = [50, 75, 100, 125, 150, 200, 250];
const SENSITIVITIES: [f64; 8] = [0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998, 0.999];

/// What is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub(crate) sensitivity: f64,
    pub(crate) debounce: usize,
}

/// What a choice is worth on files that it was not made on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validated {
    /// The choice that is best on all files.
    pub(crate) best: Choice,
    pub(crate) best_score: f64,
    /// Mean over the shuffles of the score that all folds together have, and its extremes.
    pub(crate) mean: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Standard deviation of the scores of single folds.
    pub(crate) fold_deviation: f64,
}

/// What each choice gains on each file.
struct Gains {
    choices: Vec<Choice>,
    /// Per choice and file.
    gains: Vec<Vec<f64>>,
    /// The number of windows of each file: 100 points each are to be had.
    windows: Vec<f64>,
}

impl Gains {
    /// What a choice gains on some files, and their windows. Files without windows can only lose.
    fn on(&self, choice: usize, files: &[usize]) -> (f64, f64) {
        let gains = self.gains.get(choice).map_or(&[][..], Vec::as_slice);
        let won = files.iter().filter_map(|file| gains.get(*file)).sum();
        let windows = files
            .iter()
            .filter_map(|file| self.windows.get(*file))
            .sum();
        (won, windows)
    }

    fn best_on(&self, files: &[usize]) -> usize {
        let worth = |choice: &usize| self.on(*choice, files).0;
        let all = 0..self.choices.len();
        all.max_by(|a, b| worth(a).total_cmp(&worth(b)))
            .unwrap_or(0)
    }
}

/// Compares choices by the probabilities that a detector gives each row of each series.
pub(crate) fn validate(
    all: &[Series],
    probabilities: &[Vec<f64>],
    warmup: usize,
    profile: &Profile,
) -> Validated {
    let pairs = |sensitivity: f64| {
        DEBOUNCES.map(|debounce| Choice {
            sensitivity,
            debounce,
        })
    };
    let choices: Vec<Choice> = SENSITIVITIES.into_iter().flat_map(pairs).collect();
    let of_choice = |choice: &Choice| {
        let pairs = all.iter().zip(probabilities);
        pairs
            .map(|(series, p)| gain(series, p, choice, warmup, profile))
            .collect()
    };
    let gains = Gains {
        gains: choices.iter().map(of_choice).collect(),
        choices,
        windows: all.iter().map(|s| s.windows.len() as f64).collect(),
    };
    let mut files: Vec<usize> = (0..all.len()).collect();
    let best = gains.best_on(&files);
    let (won, windows) = gains.on(best, &files);
    let mut random = StdRng::seed_from_u64(1);
    let (mut totals, mut folds) = (Vec::new(), Vec::new());
    for _ in 0..SHUFFLES {
        files.shuffle(&mut random);
        let mut total = 0.0;
        for fold in files.chunks(files.len().div_ceil(FOLDS).max(1)) {
            let others = files.iter().copied().filter(|file| !fold.contains(file));
            let chosen = gains.best_on(&others.collect::<Vec<_>>());
            let (gained, possible) = gains.on(chosen, fold);
            if possible > 0.0 {
                folds.push(gained / possible);
            }
            total += gained;
        }
        totals.push(total / windows.max(1.0));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let middle = mean(&folds);
    let squares: Vec<f64> = folds.iter().map(|fold| (fold - middle).powi(2)).collect();
    Validated {
        best: gains.choices.get(best).copied().unwrap_or(NO_CHOICE),
        best_score: won / windows.max(1.0),
        mean: mean(&totals),
        least: totals.iter().copied().fold(f64::INFINITY, f64::min),
        most: totals.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        fold_deviation: mean(&squares).sqrt(),
    }
}

/// Where there is nothing to choose from.
const NO_CHOICE: Choice = Choice {
    sensitivity: 0.995,
    debounce: 0,
};

/// Points of a file above null, in hundredths of what one window is worth.
fn gain(
    series: &Series,
    probabilities: &[f64],
    choice: &Choice,
    warmup: usize,
    profile: &Profile,
) -> f64 {
    let alarms = alarms(probabilities, choice, warmup);
    let mut scored = Scored::default();
    scored.add(&alarms, &series.windows);
    scored.gain_at(profile, 1.0)
}

/// 1 where the operator would tell an anomaly, 0 elsewhere.
fn alarms(probabilities: &[f64], choice: &Choice, warmup: usize) -> Vec<f64> {
    let mut quiet = 0;
    let risk = 1.0 - choice.sensitivity;
    let alarm = |(row, p): (usize, &f64)| {
        if quiet > 0 {
            quiet -= 1;
            return 0.0;
        }
        if row < warmup || *p > risk {
            return 0.0;
        }
        quiet = choice.debounce;
        1.0
    };
    probabilities.iter().enumerate().map(alarm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nab::score::PROFILES;

    #[test]
    fn a_detector_that_sees_all_and_nothing_else_is_validated_as_such() {
        let series = Series {
            windows: vec![500..=600],
            ..Series::default()
        };
        let mut p = vec![1.0; 1_000];
        p[500] = 1e-6;
        let all = vec![series; 10];
        let validated = validate(&all, &vec![p; 10], 100, &PROFILES[0]);
        assert!((validated.mean - 100.0).abs() < 1e-9 && validated.fold_deviation < 1e-9);
        let blind = validate(&all, &vec![vec![1.0; 1_000]; 10], 100, &PROFILES[0]);
        assert_eq!((blind.best_score, blind.mean), (0.0, 0.0));
    }

    #[test]
    fn an_alarm_is_followed_by_silence_and_none_comes_in_the_warmup() {
        let choice = Choice {
            sensitivity: 0.99,
            debounce: 3,
        };
        let found = alarms(&[0.001; 10], &choice, 2);
        assert_eq!(found, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
