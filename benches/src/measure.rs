//! Measures a case: its rows are checked first, then the programs run in turn.

use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::peer::{Check, DRAINS, DuckDb};
use crate::program::{Run, Weir};
use crate::settings::Settings;
use crate::suites::Case;

/// The programs, ready to run.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Weir.
    pub(crate) weir: Weir,
    /// DuckDB, or why it is missing.
    pub(crate) duckdb: Result<DuckDb>,
    runs: u32,
}

/// What a case showed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The comparison of the rows; `None` without a peer to compare with.
    pub(crate) check: Option<Result<Check>>,
    /// Weir's runs.
    pub(crate) weir: Option<Result<Vec<Run>>>,
    /// DuckDB's times, of the faster way to drop its rows.
    pub(crate) duckdb: Option<Result<Vec<Duration>>>,
}

impl Bench {
    /// Finds and starts the programs.
    pub(crate) fn start(settings: &Settings) -> Result<Self> {
        let weir = Weir::find(settings)?;
        Ok(Self {
            weir,
            duckdb: DuckDb::start(settings.cores()),
            runs: settings.runs,
        })
    }

    /// Measures a case; a failure is part of the outcome, so that the others are still measured.
    pub(crate) fn measure(&mut self, case: &Case) -> Outcome {
        let check = self.check(case);
        if matches!(&check, Some(Err(_))) || matches!(&check, Some(Ok(check)) if !check.equal) {
            // A time of a wrong answer does not count.
            return Outcome {
                check,
                ..Outcome::default()
            };
        }
        let mut weir = Ok(Vec::new());
        let mut duckdb = [Ok(Vec::new()), Ok(Vec::new())];
        for _ in 0..self.runs {
            keep(&mut weir, || self.weir.run(case));
            if let Ok(peer) = &mut self.duckdb {
                for (times, drain) in duckdb.iter_mut().zip(DRAINS) {
                    keep(times, || peer.run(&case.duckdb, drain));
                }
            }
        }
        let duckdb = self.duckdb.is_ok().then(|| faster(duckdb));
        Outcome {
            check,
            weir: Some(weir),
            duckdb,
        }
    }

    fn check(&mut self, case: &Case) -> Option<Result<Check>> {
        let peer = self.duckdb.as_mut().ok()?;
        Some(
            self.weir
                .run_to_files(case)
                .and_then(|files| peer.check(&case.duckdb, &files)),
        )
    }
}

/// Runs once more unless it failed before.
fn keep<T>(runs: &mut Result<Vec<T>>, run: impl FnOnce() -> Result<T>) {
    if let Ok(kept) = runs {
        match run() {
            Ok(run) => kept.push(run),
            Err(error) => *runs = Err(error),
        }
    }
}

/// Picks the way with the better median.
fn faster(ways: [Result<Vec<Duration>>; 2]) -> Result<Vec<Duration>> {
    let best = ways.into_iter().reduce(|a, b| match (a, b) {
        (Ok(a), Ok(b)) => Ok(if median(&a) <= median(&b) { a } else { b }),
        (Err(_), Ok(b)) => Ok(b),
        (a, _) => a,
    });
    best.unwrap_or_else(|| Err(Failure::new("no run")))
}

/// The middle of some times; the mean of the two in the middle of an even number.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (*below + *above) / 2,
        (_, Some(time)) => *time,
        (_, None) => Duration::ZERO,
    }
}

/// How far the times are apart, as a share of their median.
pub(crate) fn spread(times: &[Duration]) -> f64 {
    let (least, most) = (times.iter().min(), times.iter().max());
    match (least, most, median(times).as_secs_f64()) {
        (Some(least), Some(most), middle) if middle > 0.0 => {
            (*most - *least).as_secs_f64() / middle
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Vec<Duration> {
        millis.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&times(&[3, 1, 2])), Duration::from_millis(2));
        assert_eq!(median(&times(&[4, 1, 2, 8])), Duration::from_millis(3));
        assert_eq!(median(&[]), Duration::ZERO);
        assert!((spread(&times(&[8, 10, 12])) - 0.4).abs() < 1e-9);
        assert_eq!(spread(&times(&[5])), 0.0);
    }

    #[test]
    fn the_faster_way_counts_and_a_failed_one_does_not() {
        let best = faster([Ok(times(&[5, 5])), Ok(times(&[1, 2]))]).unwrap();
        assert_eq!(best, times(&[1, 2]));
        assert!(faster([Err(Failure::new("x")), Ok(times(&[1]))]).is_ok());
        assert!(faster([Err(Failure::new("x")), Err(Failure::new("y"))]).is_err());
    }
}
