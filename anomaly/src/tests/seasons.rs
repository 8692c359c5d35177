//! Series with a day and a week: what each of them says alone is wrong.

use std::sync::Arc;

use super::{gaussian, model, plain};
use crate::{Config, Method, Model, SEASONS_MAX, Season, Verdict};

/// Seconds between two rows, and of the seasons.
const STEP: i64 = 600;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
/// Rows of a week.
const ROWS: usize = (WEEK / STEP) as usize;
const WEEKS: usize = 10;
/// The rows of a day at which a job runs, and at which one fails to.
const JOB: usize = 18;
const FAILS: usize = (WEEKS - 1) * ROWS + 2 * 144 + JOB;

/// A curve of the day, a short job each night, and weekends with little to do.
fn value(row: usize) -> f64 {
    let of_day = row % 144;
    let of_week = row % ROWS;
    let curve = (of_day as f64 / 144.0 * std::f64::consts::TAU).sin() * 10.0;
    let job = if of_day == JOB { 25.0 } else { 0.0 };
    let weekend = if of_week >= 5 * 144 { -15.0 } else { 0.0 };
    100.0 + curve + job + weekend
}

fn judge(method: Method, season: Season) -> Vec<Verdict> {
    let mut model = model(Config {
        season,
        sensitivity: 0.9999,
        ..plain(method)
    });
    let noise = gaussian(5, WEEKS * ROWS);
    let rows = noise.iter().enumerate();
    rows.map(|(row, noise)| {
        let job = if row == FAILS { -25.0 } else { 0.0 };
        model.observe(row as i64 * STEP, &[value(row) + noise + job])
    })
    .collect()
}

fn both() -> Season {
    Season::of_times(vec![WEEK, DAY]).unwrap()
}

/// Whether the job that fails is found, and how many other rows of the last three weeks are told.
fn found(verdicts: &[Verdict]) -> (bool, usize) {
    let last = verdicts.iter().enumerate().skip((WEEKS - 3) * ROWS);
    let told: Vec<usize> = last
        .filter(|(_, verdict)| verdict.is_anomaly)
        .map(|(row, _)| row)
        .collect();
    let others = told.iter().filter(|row| **row != FAILS).count();
    (told.contains(&FAILS), others)
}

#[test]
fn two_seasons_know_what_one_does_not() {
    for method in [Method::Seasonal, Method::HoltWinters, Method::Stl] {
        let (is_found, others) = found(&judge(method, both()));
        assert!(is_found, "{method:?}");
        assert!(others <= 6, "{method:?}: {others} others");
    }
}

#[test]
fn one_season_alone_is_wrong_about_the_other() {
    // The day does not know the weekend, and the slots of the week are too wide for a row.
    for season in [Season::Time(DAY), Season::Time(WEEK)] {
        let (is_found, others) = found(&judge(Method::Seasonal, season));
        assert!(!is_found || others > 20, "{season:?}: {others} others");
    }
}

/// What is expected is the sum of all seasons, at any time of them.
#[test]
fn what_is_expected_has_all_seasons_in_it() {
    for method in [Method::Seasonal, Method::Stl] {
        let verdicts = judge(method, both());
        let last = verdicts.iter().enumerate().skip((WEEKS - 1) * ROWS);
        let errors = last.filter(|(row, _)| *row != FAILS);
        let errors: Vec<f64> = errors
            .map(|(row, verdict)| (verdict.expected - value(row)).abs())
            .collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(mean < 2.0, "{method:?}: {mean}");
    }
}

#[test]
fn a_restored_model_goes_on_as_the_saved_one() {
    for method in [
        Method::Auto,
        Method::Seasonal,
        Method::HoltWinters,
        Method::Stl,
        Method::Esd,
    ] {
        let config = Arc::new(Config {
            season: both(),
            ..plain(method)
        });
        let mut whole = Model::new(Arc::clone(&config)).unwrap();
        let mut other = Model::new(Arc::clone(&config)).unwrap();
        let noise = gaussian(9, 4 * ROWS);
        for (row, noise) in noise.iter().enumerate() {
            if row % 700 == 350 {
                other = Model::restore(Arc::clone(&config), &other.snapshot()).unwrap();
            }
            let (time, values) = (row as i64 * STEP, [value(row) + noise]);
            let (one, two) = (whole.observe(time, &values), other.observe(time, &values));
            assert_eq!(
                format!("{one:?}"),
                format!("{two:?}"),
                "{method:?}, row {row}"
            );
        }
        assert!(whole.snapshot() == other.snapshot(), "{method:?}");
    }
}

#[test]
fn seasons_that_do_not_nest_are_refused() {
    assert_eq!(Season::of_times(vec![DAY, DAY]).unwrap(), Season::Time(DAY));
    assert!(Season::of_times(Vec::new()).is_err());
    assert!(Season::of_times((1..=SEASONS_MAX as i64 + 1).collect()).is_err());
    for season in [
        Season::of_times(vec![DAY, 5 * 3_600]).unwrap(),
        Season::Times([DAY, 0, 0, 0]),
        Season::Times([0, DAY, WEEK, 0]),
        Season::Times([WEEK, DAY, 0, 0]),
    ] {
        let config = Config {
            season,
            ..plain(Method::Seasonal)
        };
        assert!(config.check().is_err(), "{season:?}");
    }
}
