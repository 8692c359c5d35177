//! Each detector finds the kind of anomaly that it is for.

use super::{gaussian, judge, model, plain};
use crate::{Config, Direction, Method, Season};

/// Rows of the series, and the row at which something happens.
const ROWS: usize = 3_000;
const EVENT: usize = 2_500;

/// The first row from the event on that is an anomaly.
fn found(config: Config, values: &[f64]) -> Option<usize> {
    let verdicts = judge(config, values);
    let late = verdicts.iter().enumerate().skip(EVENT);
    late.clone()
        .find(|(_, verdict)| verdict.is_anomaly)
        .map(|(row, _)| row)
}

fn sensitive(method: Method) -> Config {
    Config {
        sensitivity: 0.999,
        ..plain(method)
    }
}

#[test]
fn a_spike_is_found_at_once_and_its_side_told() {
    for method in [
        Method::Auto,
        Method::Ewma,
        Method::RobustZ,
        Method::Iqr,
        Method::Change,
        Method::Rate,
        Method::Seasonal,
        Method::HoltWinters,
        Method::Forest,
        Method::Neighbours,
        Method::Context,
        Method::Extreme,
        Method::Stl,
        Method::Esd,
        Method::Autoregressive,
        Method::Ets,
        Method::Mahalanobis,
    ] {
        for side in [1.0, -1.0] {
            let mut values = gaussian(1, ROWS);
            values[EVENT] = side * 50.0;
            assert_eq!(found(sensitive(method), &values), Some(EVENT), "{method:?}");
            let verdict = &judge(sensitive(method), &values)[EVENT];
            assert_eq!(f64::from(verdict.direction), side, "{method:?}");
            assert!(
                verdict.score > 0.5 && verdict.p_value < 0.001,
                "{verdict:?}"
            );
        }
    }
}

#[test]
fn a_spike_stands_out_of_the_spectrum_and_of_the_half_spaces() {
    for method in [Method::Spectral, Method::HalfSpace] {
        let mut values = gaussian(2, ROWS);
        values[EVENT] = 50.0;
        let config = Config {
            sensitivity: 0.99,
            ..plain(method)
        };
        assert_eq!(found(config, &values), Some(EVENT), "{method:?}");
    }
}

#[test]
fn a_small_lasting_shift_is_found_by_those_that_add_up() {
    let methods = [
        Method::Cusum,
        Method::PageHinkley,
        Method::Adwin,
        Method::Kswin,
    ];
    for method in methods {
        let mut values = gaussian(3, ROWS);
        values[EVENT..].iter_mut().for_each(|value| *value += 2.0);
        let row = found(sensitive(method), &values).unwrap_or(usize::MAX);
        assert!(row < EVENT + 60, "{method:?}: {row}");
    }
}

#[test]
fn the_probability_of_a_new_regime_stays_high_where_one_begins() {
    let mut values = gaussian(3, ROWS);
    values[EVENT..].iter_mut().for_each(|value| *value += 3.0);
    let verdicts = judge(plain(Method::ChangePoint), &values);
    let alarms =
        |rows: std::ops::Range<usize>| verdicts[rows].iter().filter(|v| v.is_anomaly).count();
    assert!(
        alarms(EVENT..EVENT + 20) >= 4,
        "{}",
        alarms(EVENT..EVENT + 20)
    );
    assert!(alarms(1_000..EVENT) < 45, "{}", alarms(1_000..EVENT));
}

#[test]
fn a_wider_distribution_is_found_by_kswin() {
    let mut values = gaussian(4, ROWS);
    values[EVENT..].iter_mut().for_each(|value| *value *= 6.0);
    let row = found(sensitive(Method::Kswin), &values).unwrap_or(usize::MAX);
    assert!(row < EVENT + 100, "{row}");
}

#[test]
fn a_value_at_the_wrong_time_of_the_season_is_found() {
    let season = 48;
    let mut values: Vec<f64> = (0..ROWS)
        .map(|row| ((row % season) as f64 / season as f64 * std::f64::consts::TAU).sin() * 10.0)
        .zip(gaussian(5, ROWS))
        .map(|(seasonal, noise)| seasonal + noise * 0.3)
        .collect();
    // Within the range of the season, but not now.
    values[EVENT] = -values[EVENT];
    for season in [Season::Auto, Season::Rows(48), Season::Time(48 * 60)] {
        for method in [
            Method::Seasonal,
            Method::HoltWinters,
            Method::Stl,
            Method::Esd,
        ] {
            let config = Config {
                season,
                ..sensitive(method)
            };
            assert_eq!(
                found(config.clone(), &values),
                Some(EVENT),
                "{method:?} {season:?}"
            );
            let verdict = &judge(config, &values)[EVENT];
            assert!(
                (verdict.expected + values[EVENT]).abs() < 2.0,
                "{verdict:?}"
            );
            assert!(verdict.lower < verdict.expected && verdict.expected < verdict.upper);
        }
    }
    assert_eq!(found(sensitive(Method::Ewma), &values), None);
}

#[test]
fn bounds_are_where_anomalies_begin() {
    for method in [
        Method::Ewma,
        Method::RobustZ,
        Method::Change,
        Method::Seasonal,
    ] {
        let verdicts = judge(plain(method), &gaussian(6, ROWS));
        for (verdict, value) in verdicts.iter().zip(gaussian(6, ROWS)).skip(200) {
            let outside = value < verdict.lower || value > verdict.upper;
            let close = [verdict.lower, verdict.upper]
                .iter()
                .any(|bound| (value - bound).abs() < 1e-3);
            assert!(
                verdict.is_anomaly == outside || close,
                "{method:?} {value} {verdict:?}"
            );
        }
    }
}

#[test]
fn a_break_of_the_course_is_found_by_forecasts() {
    // A course of order two, and a row that follows another one: its value is as usual as any.
    let mut values = vec![0.0, 0.0];
    for noise in gaussian(12, ROWS - 2) {
        let [before, last] = values.last_chunk().copied().unwrap();
        values.push(1.8 * last - 0.9 * before + noise * 0.1);
    }
    let goes_on = 1.8 * values[EVENT - 1] - 0.9 * values[EVENT - 2];
    values[EVENT] = goes_on - goes_on.signum();
    let verdicts = judge(sensitive(Method::Autoregressive), &values);
    let (found, plain) = (&verdicts[EVENT], judge(sensitive(Method::Ewma), &values));
    assert!(found.is_anomaly && !plain[EVENT].is_anomaly, "{found:?}");
    let errors = verdicts.iter().zip(&values).skip(500).take(1_500);
    let mean = errors
        .map(|(v, value)| (v.expected - value).abs())
        .sum::<f64>()
        / 1_500.0;
    assert!(mean < 0.1, "{mean}: the noise is 0.08 on average");
}

#[test]
fn a_trend_is_followed_by_smoothing() {
    let values: Vec<f64> = (0..ROWS).map(|row| row as f64).collect();
    let values: Vec<f64> = values
        .iter()
        .zip(gaussian(13, ROWS))
        .map(|(t, n)| t + n)
        .collect();
    let verdict = &judge(sensitive(Method::Ets), &values)[EVENT];
    assert!((verdict.expected - EVENT as f64).abs() < 2.0, "{verdict:?}");
}

#[test]
fn a_discord_is_found_whose_values_are_all_usual() {
    let wave = |row: usize| (row as f64 / 32.0 * std::f64::consts::TAU).sin();
    let mut values: Vec<f64> = (0..ROWS).map(wave).collect();
    values
        .iter_mut()
        .zip(gaussian(14, ROWS))
        .for_each(|(value, noise)| *value += noise * 0.03);
    // Half a wave is twice as fast.
    for (at, value) in values[EVENT..EVENT + 16].iter_mut().enumerate() {
        *value = wave(EVENT + 2 * at);
    }
    let row = found(sensitive(Method::MatrixProfile), &values).unwrap_or(usize::MAX);
    assert!(row < EVENT + 20, "{row}");
    assert!(found(sensitive(Method::Ewma), &values).is_none());
}

#[test]
fn rows_far_out_in_some_columns_are_found_by_their_tails() {
    for method in [Method::Ecod, Method::Copod] {
        let mut model = model(Config {
            columns: 4,
            ..plain(method)
        });
        for (row, values) in gaussian(15, 4 * ROWS).chunks(4).enumerate() {
            model.observe(row as i64, values);
        }
        let usual = model.observe(ROWS as i64, &[0.1, -0.2, 0.3, 0.0]);
        assert!(!usual.is_anomaly, "{method:?} {usual:?}");
        let verdict = model.observe(ROWS as i64 + 1, &[0.1, 9.0, 0.2, 7.0]);
        assert!(verdict.is_anomaly, "{method:?} {verdict:?}");
        let shares = &verdict.contribution;
        assert!(shares[1] + shares[3] > 0.7, "{method:?} {shares:?}");
    }
}

#[test]
fn one_direction_is_blind_to_the_other() {
    for method in [
        Method::Ewma,
        Method::RobustZ,
        Method::Neighbours,
        Method::Change,
    ] {
        for (direction, up, down) in [(Direction::Up, true, false), (Direction::Down, false, true)]
        {
            let mut values = gaussian(7, ROWS);
            values[1_000] = 40.0;
            values[2_000] = -40.0;
            let verdicts = judge(
                Config {
                    direction,
                    ..sensitive(method)
                },
                &values,
            );
            assert_eq!(verdicts[1_000].is_anomaly, up, "{method:?}");
            assert_eq!(verdicts[2_000].is_anomaly, down, "{method:?}");
        }
    }
}

#[test]
fn given_bounds_are_certain() {
    let config = Config {
        allowed: (-1.0, 2.0),
        warmup_rows: 0,
        ..plain(Method::Fixed)
    };
    let verdicts = judge(config, &[0.0, 2.0, 2.1, -1.0, -5.0, f64::NAN]);
    let found: Vec<bool> = verdicts.iter().map(|verdict| verdict.is_anomaly).collect();
    assert_eq!(found, [false, false, true, false, true, false]);
    assert_eq!(verdicts[2].direction, 1);
    assert_eq!(verdicts[4].direction, -1);
    assert_eq!((verdicts[0].lower, verdicts[0].upper), (-1.0, 2.0));
}

#[test]
fn the_column_that_is_out_has_the_greatest_share() {
    for method in [
        Method::Auto,
        Method::Ewma,
        Method::Forest,
        Method::Neighbours,
        Method::Mahalanobis,
        Method::Stl,
    ] {
        let mut model = model(Config {
            columns: 3,
            ..sensitive(method)
        });
        let values = gaussian(8, 3 * ROWS);
        for (row, values) in values.chunks(3).enumerate() {
            model.observe(row as i64, values);
        }
        let verdict = model.observe(ROWS as i64, &[0.1, 30.0, -0.2]);
        assert!(verdict.is_anomaly, "{method:?} {verdict:?}");
        let shares = &verdict.contribution;
        assert!(
            (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9,
            "{shares:?}"
        );
        assert!(shares[1] > 0.5, "{method:?} {shares:?}");
    }
}

#[test]
fn values_that_are_usual_alone_but_not_together_are_found_jointly() {
    for method in [Method::Forest, Method::Neighbours, Method::Mahalanobis] {
        // The columns follow each other; one row breaks that within both of their ranges.
        let mut model = model(Config {
            columns: 2,
            shingle: 1,
            ..sensitive(method)
        });
        for (row, value) in gaussian(11, ROWS).into_iter().enumerate() {
            model.observe(row as i64, &[value, value]);
        }
        let verdict = model.observe(ROWS as i64, &[1.5, -1.5]);
        assert!(verdict.p_value < 0.01, "{method:?} {verdict:?}");
    }
}

#[test]
fn a_new_text_is_rare_and_a_usual_one_is_not() {
    let usual = ["red", "green", "blue"];
    let mut colours = model(plain(Method::Rare));
    let mut ids = model(plain(Method::Rare));
    for row in 0..2_000 {
        assert!(
            !colours
                .observe_text(row, Some(usual[row as usize % 3]))
                .is_anomaly
        );
        ids.observe_text(row, Some(&format!("id {row}")));
    }
    assert!(colours.observe_text(2_000, Some("mauve")).is_anomaly);
    assert!(!colours.observe_text(2_001, Some("red")).is_anomaly);
    assert!(!colours.observe_text(2_002, None).is_anomaly);
    // Where all texts are new, a new one is usual.
    assert!(!ids.observe_text(2_000, Some("id 2000")).is_anomaly);
}
