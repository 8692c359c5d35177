//! Rows per second of the micro-benchmarks: the median of several runs on one thread, here and now.
//!
//! criterion is not used: it would change features of libraries that all crates share.

use std::time::{Duration, Instant};

use crate::work::{self, Micro, Result};
use crate::{micros, say};

/// How long each is run about, and how often at least.
const TIME: Duration = Duration::from_secs(2);
const RUNS_MIN: usize = 5;

/// Times all whose name has `only` in it.
pub(crate) fn all(only: Option<&str>) -> Result<()> {
    say(&format!(
        "{:24}{:>12}{:>10}{:>8}",
        "", "M rows/s", "ns/row", "spread"
    ));
    for micro in micros::all() {
        if only.is_none_or(|only| micro.name.contains(only)) {
            time(micro)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "real time is measured")]
fn time(micro: &Micro) -> Result<()> {
    let prepared = (micro.prepare)()?;
    prepared.check(prepared.start()?()?)?;
    let begin = Instant::now();
    let mut runs = Vec::new();
    while runs.len() < RUNS_MIN || begin.elapsed() < TIME {
        let run = prepared.start()?;
        let start = Instant::now();
        let given = work::measured(run)?;
        runs.push(start.elapsed().as_secs_f64());
        prepared.check(given)?;
    }
    runs.sort_by(f64::total_cmp);
    let at = |share: usize| {
        runs.get(runs.len() * share / 4)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let (rows, median) = (prepared.rows as f64, at(2));
    say(&format!(
        "{:24}{:>12.2}{:>10.1}{:>7.0}%",
        micro.name,
        rows / median / 1e6,
        median / rows * 1e9,
        100.0 * (at(3) - at(1)) / median,
    ));
    Ok(())
}
