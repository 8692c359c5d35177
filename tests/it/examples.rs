//! The shipped examples, run as a new user runs them, their results read by DuckDB and pyarrow and
//! compared with what plain Rust computes from the CSV files.

mod anomalies;

use std::collections::BTreeMap;
use std::path::Path;

use crate::checker;
use crate::program::Place;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Reads `timestamp,value` rows as seconds since 1970 and a number.
fn series(name: &str) -> Vec<(i64, f64)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/data")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let (time, value) = line.split_once(',').unwrap();
            (seconds(time), value.trim().parse().unwrap())
        })
        .collect()
}

/// Turns `2014-07-01 00:30:00` into seconds since 1970, by the calendar's own rule.
fn seconds(text: &str) -> i64 {
    let parts: Vec<i64> = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second] = parts[..] else {
        panic!("no time: {text}")
    };
    let years = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * DAY + hour * HOUR + minute * 60 + second
}

/// Groups values by the start of their window.
fn tumble(rows: &[(i64, f64)], size: i64) -> BTreeMap<i64, Vec<f64>> {
    let mut windows = BTreeMap::<i64, Vec<f64>>::new();
    for (time, value) in rows {
        windows
            .entry(time.div_euclid(size) * size)
            .or_default()
            .push(*value);
    }
    windows
}

fn run(name: &str, mode: &str) -> Place {
    let place = prepare(name);
    run_in(&place, name, mode);
    place
}

fn prepare(name: &str) -> Place {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join("examples/data"))
        .unwrap()
        .flatten()
    {
        let content = std::fs::read(entry.path()).unwrap();
        place.write(
            &format!("examples/data/{}", entry.file_name().to_string_lossy()),
            content,
        );
    }
    let script = std::fs::read(root.join("examples").join(name)).unwrap();
    place.write(&format!("examples/{name}"), script);
    place
}

fn run_in(place: &Place, name: &str, mode: &str) {
    let ended = place
        .weir(&["run", &format!("examples/{name}"), "--mode", mode])
        .ok();
    let said = format!("{}{}", ended.out, ended.err);
    assert!(said.contains("rows"), "no summary:\n{said}");
}

#[track_caller]
fn close(reader: &str, found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-9, "{reader} finds {found}, expected {expected}");
}

fn check_taxi(mode: &str) {
    check_taxi_in(&run("taxi.sql", mode));
}

fn check_taxi_in(place: &Place) {
    let rows = series("nyc_taxi.csv");
    let total: f64 = rows.iter().map(|(_, value)| value).sum();
    let hours = tumble(&rows, HOUR);
    for found in checker::read(&place.path().join("out/taxi/hourly")) {
        assert_eq!(found.rows(), hours.len() as u64, "{}", found.reader);
        close(found.reader, found.sum("passengers"), total);
        close(found.reader, found.sum("readings"), rows.len() as f64);
        assert_eq!(found.count("month"), hours.len() as u64);
        assert_eq!(
            (found.min("month"), found.max("month")),
            ("2014-07", "2015-01")
        );
        assert_eq!(found.min("hour"), "2014-07-01 00:00:00", "{}", found.reader);
    }
    let files = place.files("out/taxi/hourly");
    assert!(
        files.iter().all(|file| file.starts_with("month=20")),
        "{files:?}"
    );
    let days = tumble(&rows, DAY);
    for found in checker::read(&place.path().join("out/taxi/daily")) {
        assert_eq!(found.rows(), days.len() as u64, "{}", found.reader);
        close(found.reader, found.sum("passengers"), total);
        let means: f64 = days
            .values()
            .map(|d| d.iter().sum::<f64>() / d.len() as f64)
            .sum();
        close(found.reader, found.sum("mean_half_hour"), means);
        let busiest: f64 = days
            .values()
            .map(|d| d.iter().copied().fold(f64::MIN, f64::max))
            .sum();
        close(found.reader, found.sum("busiest_half_hour"), busiest);
        let quietest: f64 = days
            .values()
            .map(|d| d.iter().copied().fold(f64::MAX, f64::min))
            .sum();
        close(found.reader, found.sum("quietest_half_hour"), quietest);
    }
}

#[test]
fn taxi_in_batch_is_what_the_csv_says() {
    check_taxi("batch");
}

#[test]
fn taxi_in_streaming_is_what_the_csv_says() {
    check_taxi("streaming");
}

#[test]
fn taxi_twice_is_what_the_csv_says_once() {
    let place = prepare("taxi.sql");
    run_in(&place, "taxi.sql", "batch");
    let first = place.files("out/taxi");
    run_in(&place, "taxi.sql", "batch");
    check_taxi_in(&place);
    let second = place.files("out/taxi");
    assert_eq!(first.len(), second.len(), "{second:?}");
    run_in(&place, "taxi.sql", "streaming");
    check_taxi_in(&place);
    let third = place.files("out/taxi");
    assert!(third.iter().all(|file| !second.contains(file)), "{third:?}");
}

fn check_machine_temperature(mode: &str) {
    let place = run("machine_temperature.sql", mode);
    let rows = series("machine_temperature.csv");
    let mut two_hours = BTreeMap::<i64, Vec<f64>>::new();
    let mut day_so_far = BTreeMap::<(i64, i64), Vec<f64>>::new();
    for (time, value) in &rows {
        let last = time.div_euclid(HOUR / 2) * (HOUR / 2);
        for back in 0..4 {
            two_hours
                .entry(last - back * HOUR / 2)
                .or_default()
                .push(*value);
        }
        let day = time.div_euclid(DAY) * DAY;
        for until in (1..=4)
            .map(|n| day + n * 6 * HOUR)
            .filter(|until| time < until)
        {
            day_so_far.entry((day, until)).or_default().push(*value);
        }
    }
    let max = |values: &Vec<f64>| values.iter().copied().fold(f64::MIN, f64::max);
    let min = |values: &Vec<f64>| values.iter().copied().fold(f64::MAX, f64::min);
    for found in checker::read(&place.path().join("out/machine_temperature/two_hours")) {
        assert_eq!(found.rows(), two_hours.len() as u64, "{}", found.reader);
        close(found.reader, found.sum("readings"), rows.len() as f64 * 4.0);
        let spread: f64 = two_hours
            .values()
            .map(|window| max(window) - min(window))
            .sum();
        close(found.reader, found.sum("spread"), spread);
        let mean = |window: &Vec<f64>| window.iter().sum::<f64>() / window.len() as f64;
        close(
            found.reader,
            found.sum("mean"),
            two_hours.values().map(mean).sum(),
        );
        let celsius = two_hours
            .values()
            .map(|window| (mean(window) - 32.0) / 1.8)
            .sum();
        close(found.reader, found.sum("mean_celsius"), celsius);
    }
    for found in checker::read(&place.path().join("out/machine_temperature/day_so_far")) {
        assert_eq!(found.rows(), day_so_far.len() as u64, "{}", found.reader);
        let readings: usize = day_so_far.values().map(Vec::len).sum();
        close(found.reader, found.sum("readings"), readings as f64);
        let cold: usize = day_so_far
            .values()
            .map(|day| day.iter().filter(|value| **value < 60.0).count())
            .sum();
        close(found.reader, found.sum("cold_readings"), cold as f64);
        close(
            found.reader,
            found.sum("hottest"),
            day_so_far.values().map(max).sum(),
        );
    }
}

#[test]
fn machine_temperature_in_batch_is_what_the_csv_says() {
    check_machine_temperature("batch");
}

#[test]
fn machine_temperature_in_streaming_is_what_the_csv_says() {
    check_machine_temperature("streaming");
}

fn check_quality(mode: &str) {
    let place = run("quality.sql", mode);
    let rows = series("machine_temperature.csv");
    let good: Vec<(i64, f64)> = rows
        .iter()
        .filter(|(_, value)| *value > 30.0)
        .map(|(time, value)| (*time, value.min(105.0)))
        .collect();
    let hours = tumble(&good, HOUR);
    let (whole, odd): (Vec<_>, Vec<_>) = hours.values().partition(|hour| hour.len() == 12);
    let mean = |hour: &&Vec<f64>| hour.iter().sum::<f64>() / hour.len() as f64;
    for found in checker::read(&place.path().join("out/quality/hourly")) {
        assert_eq!(found.rows(), whole.len() as u64, "{}", found.reader);
        close(
            found.reader,
            found.sum("mean"),
            whole.iter().map(mean).sum(),
        );
    }
    let state = place.path().join(".weir/quality/quarantine");
    let low: Vec<f64> = rows
        .iter()
        .map(|row| row.1)
        .filter(|value| *value <= 30.0)
        .collect();
    for found in checker::read(&state.join("machine")) {
        assert_eq!(found.rows(), low.len() as u64, "{}", found.reader);
        close(found.reader, found.sum("value"), low.iter().sum());
        assert_eq!(found.min("_status"), "open");
    }
    for found in checker::read(&state.join("hourly")) {
        assert_eq!(found.rows(), odd.len() as u64, "{}", found.reader);
        close(found.reader, found.sum("mean"), odd.iter().map(mean).sum());
    }
}

#[test]
fn quality_in_batch_is_what_the_csv_says() {
    check_quality("batch");
}

#[test]
fn quality_in_streaming_is_what_the_csv_says() {
    check_quality("streaming");
}

#[test]
fn tweets_join_what_the_csv_files_say() {
    let place = run("tweets.sql", "batch");
    let [amzn, fb, ko] = ["amzn", "fb", "ko"].map(|company| {
        tumble(&series(&format!("tweets_{company}.csv")), HOUR)
            .into_iter()
            .map(|(hour, values)| (hour, values.iter().sum::<f64>()))
            .collect::<BTreeMap<_, _>>()
    });
    let joined: Vec<_> = amzn
        .iter()
        .filter_map(|(hour, a)| Some((*a, *fb.get(hour)?, *ko.get(hour)?)))
        .collect();
    for found in checker::read(&place.path().join("out/tweets")) {
        assert_eq!(found.rows(), joined.len() as u64, "{}", found.reader);
        close(
            found.reader,
            found.sum("amzn"),
            joined.iter().map(|row| row.0).sum(),
        );
        close(
            found.reader,
            found.sum("fb"),
            joined.iter().map(|row| row.1).sum(),
        );
        close(
            found.reader,
            found.sum("ko"),
            joined.iter().map(|row| row.2).sum(),
        );
        let all = joined.iter().map(|(a, f, k)| a + f + k).sum();
        close(found.reader, found.sum("all_tweets"), all);
        assert_eq!(found.count("amzn_leads"), joined.len() as u64);
    }
}
