//! The anomalies of the shipped series, against models that are used directly over the CSV files.

use std::sync::Arc;

use weir_anomaly::{Config, Direction, Exclusions, Method, Model, Season};

use super::{DAY, HOUR, close, run, seconds, series, tumble};
use crate::checker;
use crate::program::Place;

/// The values that a model calls anomalies, each with its time in seconds and its score.
fn anomalies(config: Config, rows: &[(i64, Vec<f64>)]) -> Vec<(i64, f64)> {
    let mut model = Model::new(Arc::new(config)).unwrap();
    let mut found = Vec::new();
    for (time, values) in rows {
        let verdict = model.observe(time * 1_000_000, values);
        if verdict.is_anomaly {
            found.push((*time, verdict.score));
        }
    }
    found
}

fn check_anomalies(mode: &str) {
    let place = run("anomalies.sql", mode);
    let mut config = Config::new(Method::Seasonal);
    config.season = Season::Time(7 * DAY * 1_000_000);
    config.sensitivity = 0.999;
    (config.warmup_rows, config.warmup_time) = (0, 14 * DAY * 1_000_000);
    (config.debounce_rows, config.debounce_time) = (0, 12 * HOUR * 1_000_000);
    let rows = series("nyc_taxi.csv").into_iter();
    let rows: Vec<_> = rows.map(|(time, value)| (time, vec![value])).collect();
    let expected = anomalies(config, &rows);
    assert_eq!(expected.len(), 6);
    for found in checker::read(&place.path().join("out/anomalies/taxi")) {
        assert_eq!(found.rows(), 6, "{}", found.reader);
        let scores = expected.iter().map(|(_, score)| score).sum();
        close(found.reader, found.sum("score"), scores);
        assert_eq!(found.min("timestamp"), "2014-09-01 00:00:00");
        assert_eq!(found.max("timestamp"), "2015-01-01 01:00:00");
    }
    let mut config = Config::new(Method::Forest);
    (config.columns, config.sensitivity) = (2, 0.995);
    (config.warmup_rows, config.warmup_time) = (0, 7 * DAY * 1_000_000);
    (config.debounce_rows, config.debounce_time) = (0, 2 * DAY * 1_000_000);
    let hours = tumble(&series("machine_temperature.csv"), HOUR);
    let rows = hours.iter().map(|(hour, values)| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        (hour + HOUR, vec![mean, most - least])
    });
    let expected = anomalies(config, &rows.collect::<Vec<_>>());
    let shutdown = seconds("2013-12-16 16:00:00");
    assert!(expected.iter().any(|(hour, _)| *hour == shutdown));
    for found in checker::read(&place.path().join("out/anomalies/machine")) {
        assert_eq!(found.rows(), expected.len() as u64, "{}", found.reader);
        let scores: f64 = expected.iter().map(|(_, score)| score).sum();
        // The mean of an hour differs in its last digit by how it is summed.
        assert!(
            (found.sum("score") - scores).abs() < 1e-6,
            "{}",
            found.reader
        );
        assert_eq!(found.max("hour"), "2014-02-08 05:00:00");
    }
    check_model(&place);
}

/// What the model has kept, as another process reads it.
fn check_model(place: &Place) {
    let mut config = Config::new(Method::Seasonal);
    config.season = Season::Time(7 * DAY * 1_000_000);
    (config.sensitivity, config.direction) = (0.999, Direction::Down);
    (config.warmup_rows, config.warmup_time) = (0, 28 * DAY * 1_000_000);
    (config.debounce_rows, config.debounce_time) = (0, 2 * DAY * 1_000_000);
    let excluded = ["2014-09-01 00:00:00", "2014-09-02 00:00:00"].map(|t| seconds(t) * 1_000_000);
    config.exclude = Exclusions::new([(excluded[0], excluded[1])]).unwrap();
    let nights = tumble(&series("nyc_taxi.csv"), 6 * HOUR);
    let rows = nights.iter().map(|(night, values)| {
        let end = night + 6 * HOUR;
        (end, vec![values.iter().sum::<f64>()])
    });
    let expected = anomalies(config, &rows.collect::<Vec<_>>());
    assert!((2..20).contains(&expected.len()), "{expected:?}");
    let query = "SELECT 'found', count(*), sum(extract(epoch FROM time)) FROM weir.anomalies \
                 WHERE model = 'quiet_nights' AND key IS NULL AND direction = 'down' AND value < lower";
    let said = place.weir(&["sql", "-c", query]).ok().out;
    let times: i64 = expected.iter().map(|(time, _)| time).sum();
    let line = said
        .lines()
        .find(|line| line.starts_with("| found"))
        .unwrap();
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    assert_eq!(cells[2], expected.len().to_string(), "{said}");
    assert_eq!(cells[3].parse::<f64>().unwrap(), times as f64, "{said}");
}

#[test]
fn anomalies_in_batch_are_those_of_models_used_directly() {
    check_anomalies("batch");
}

#[test]
fn anomalies_in_streaming_are_those_of_models_used_directly() {
    check_anomalies("streaming");
}
