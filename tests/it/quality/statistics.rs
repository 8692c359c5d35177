//! Rules over statistics, references and what was before, beside the same in plain code.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Told, results};
use crate::program::Place;

const WINDOW: i64 = 600_000_000;
const START: i64 = 1_767_225_600_000_000;
const KINDS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
struct Row {
    k: &'static str,
    x: Option<f64>,
    ts: i64,
}

fn rows(rng: &mut StdRng, count: usize, from: i64) -> Vec<Row> {
    let mut ts = from;
    let mut row = || {
        ts += match rng.random_range(0..40) {
            0 => 2 * WINDOW,
            _ => rng.random_range(0..WINDOW / 8),
        };
        let x = f64::from(rng.random_range(0..400)) / 4.0;
        Row {
            k: KINDS[rng.random_range(0..KINDS.len() * 2) % 5 % KINDS.len()],
            x: rng.random_bool(0.9).then_some(x),
            ts,
        }
    };
    (0..count).map(|_| row()).collect()
}

fn csv(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let x = row.x.map_or_else(String::new, |x| x.to_string());
        let time = arrow::temporal_conversions::timestamp_us_to_datetime(row.ts).unwrap();
        format!("{},{x},{}\n", row.k, time.format("%Y-%m-%dT%H:%M:%S%.6f"))
    };
    let lines: String = rows.iter().map(line).collect();
    format!("k,x,ts\n{lines}")
}

const RULES: &str = "
    CONSTRAINT spread EXPECT (entropy(k) > 1.5) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' MINUTE)),
    CONSTRAINT skew EXPECT (skewness(x) > 0) EVERY INTERVAL '10' MINUTE,
    CONSTRAINT high EXPECT (quantile(x, 0.75) < 76) PER (k),
    CONSTRAINT usual EXPECT (mode(k) = 'a') WHEN (x > 50),
    CONSTRAINT near EXPECT (ks(x, REFERENCE base) < 0.4) EVERY INTERVAL '10' MINUTE,
    CONSTRAINT alike EXPECT (l_inf(k, REFERENCE base) < 0.25) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' MINUTE)),
    CONSTRAINT steady EXPECT (count(*) BETWEEN 0.5 * prev AND 2 * prev) WITH prev => HISTORY(2)
        EVERY INTERVAL '10' MINUTE,
    CONSTRAINT trend EXPECT (avg(x) <= 1.1 * usual) WITH usual => AVG(HISTORY(3))
        SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' MINUTE)) PER (k)";

fn script(way: &str) -> String {
    format!(
        "{way} SET pipeline.state = 'state';
         CREATE SOURCE base (k VARCHAR, x DOUBLE, ts TIMESTAMP)
             WITH (connector = 'file', path = 'base.csv', format = 'csv');
         CREATE SOURCE orders (
             k VARCHAR, x DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds', {RULES}
         ) WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
         CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;"
    )
}

fn told(rule: &str, pane: Option<i64>, segment: Option<&str>, passed: Option<bool>) -> Told {
    let counts = match passed {
        Some(true) => [1, 0, 0],
        Some(false) => [1, 1, 0],
        None => [0, 0, 1],
    };
    Told {
        rule: rule.to_owned(),
        segment: segment.map(|k| format!("{{\"k\":\"{k}\"}}")),
        pane: pane.map(|start| (start, start + WINDOW)),
        passed,
        counts,
    }
}

fn numbers(rows: &[&Row]) -> Vec<f64> {
    let mut numbers: Vec<f64> = rows.iter().filter_map(|row| row.x).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn shares(rows: &[&Row]) -> [f64; 4] {
    KINDS.map(|k| rows.iter().filter(|row| row.k == k).count() as f64 / rows.len() as f64)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Whether the sum of the cubes of the distances from the mean is positive; null if they say nothing.
fn skewed(values: &[f64]) -> Option<bool> {
    let mean = mean(values)?;
    let differ = values.iter().any(|x| *x != mean);
    let cubes: f64 = values.iter().map(|x| (x - mean).powi(3)).sum();
    (values.len() > 2 && differ).then_some(cubes > 0.0)
}

fn ks(one: &[f64], two: &[f64]) -> Option<f64> {
    if one.is_empty() || two.is_empty() {
        return None;
    }
    let upto = |of: &[f64], x: f64| of.partition_point(|y| *y <= x) as f64 / of.len() as f64;
    let all = one.iter().chain(two);
    Some(
        all.map(|x| (upto(one, *x) - upto(two, *x)).abs())
            .fold(0.0, f64::max),
    )
}

/// Windows with their rows, also those without between the first and the last.
fn windows<'a>(rows: &[&'a Row]) -> BTreeMap<i64, Vec<&'a Row>> {
    let mut all: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
    let starts = rows.iter().map(|row| row.ts - row.ts.rem_euclid(WINDOW));
    if let (Some(first), Some(last)) = (starts.clone().min(), starts.max()) {
        (first..=last)
            .step_by(WINDOW as usize)
            .for_each(|start| drop(all.insert(start, Vec::new())));
    }
    for row in rows {
        all.entry(row.ts - row.ts.rem_euclid(WINDOW))
            .or_default()
            .push(row);
    }
    all
}

fn expected(rows: &[Row], base: &[Row]) -> Vec<Told> {
    let (rows, base): (Vec<&Row>, Vec<&Row>) = (rows.iter().collect(), base.iter().collect());
    let mut all = Vec::new();
    let mut counts: Vec<f64> = Vec::new();
    for (start, rows) in windows(&rows) {
        let pane = Some(start);
        all.push(told("skew", pane, None, skewed(&numbers(&rows))));
        let near = ks(&numbers(&rows), &numbers(&base)).map(|ks| ks < 0.4);
        all.push(told("near", pane, None, near));
        let count = rows.len() as f64;
        let prev = counts.len().checked_sub(2).map(|at| counts[at]);
        let steady = prev.map(|prev| (0.5 * prev..=2.0 * prev).contains(&count));
        all.push(told("steady", pane, None, steady));
        counts.push(count);
        if rows.is_empty() {
            continue;
        }
        let entropy = shares(&rows).into_iter().filter(|share| *share > 0.0);
        let entropy: f64 = entropy.map(|share| -share * share.log2()).sum();
        all.push(told("spread", pane, None, Some(entropy > 1.5)));
        let pairs = shares(&rows).into_iter().zip(shares(&base));
        let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        all.push(told("alike", pane, None, Some(apart < 0.25)));
    }
    for k in KINDS {
        let of: Vec<&Row> = rows.iter().copied().filter(|row| row.k == k).collect();
        if of.is_empty() {
            continue;
        }
        let sorted = numbers(&of);
        let high = sorted.len().checked_sub(1).map(|last| {
            let place = 0.75 * last as f64;
            let (low, up) = (sorted[place as usize], sorted[place.ceil() as usize]);
            low + (up - low) * place.fract() < 76.0
        });
        all.push(told("high", None, Some(k), high));
        let mut means: Vec<Option<f64>> = Vec::new();
        for (start, rows) in windows(&of)
            .into_iter()
            .filter(|(_, rows)| !rows.is_empty())
        {
            let now = mean(&numbers(&rows));
            let last: Vec<f64> = means.iter().rev().take(3).flatten().copied().collect();
            let passed = now.zip(mean(&last)).map(|(now, usual)| now <= 1.1 * usual);
            all.push(told("trend", Some(start), Some(k), passed));
            means.push(now);
        }
    }
    let some: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.x > Some(50.0))
        .collect();
    let of = |k: &str| some.iter().filter(|row| row.k == k).count();
    let most = KINDS.map(of).into_iter().max();
    let usual = (!some.is_empty()).then(|| Some(of("a")) == most);
    all.push(told("usual", None, None, usual));
    all
}

fn sorted(mut all: Vec<Told>) -> Vec<Told> {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

#[test]
fn verdicts_are_those_of_plain_code() {
    let mut rng = StdRng::seed_from_u64(20_261_123);
    let base = rows(&mut rng, 150, START);
    for case in 0..6 {
        let count = [0, 3, 90, 240][case % 4];
        let rows = rows(&mut rng, count, START);
        let due = sorted(expected(&rows, &base));
        for mode in ["batch", "streaming"] {
            let (parallelism, batch) = (rng.random_range(1..4), [1, 7, 8192][case % 3]);
            let way = format!(
                "SET pipeline.mode = '{mode}'; SET pipeline.parallelism = {parallelism};
                 SET pipeline.batch_rows = {batch};"
            );
            let place = Place::new();
            place.write("base.csv", csv(&base));
            place.write("in/1.csv", csv(&rows));
            place.run(&script(&way), &[]).ok();
            let found = sorted(results(&place.path().join("state")));
            assert_eq!(found, due, "case {case}: {way}");
        }
    }
}

/// A job that goes on from a checkpoint says what one run over all rows says: it knows what was before, and compares
/// with what it was started with.
#[test]
fn a_job_that_goes_on_remembers() {
    let mut rng = StdRng::seed_from_u64(31);
    let base = rows(&mut rng, 100, START);
    let first = rows(&mut rng, 120, START);
    let last = first.iter().map(|row| row.ts).max().unwrap();
    let second = rows(&mut rng, 120, last - last.rem_euclid(WINDOW) + WINDOW);
    let way = "SET pipeline.mode = 'streaming';";
    let windowed = |place: &Place| {
        let all = results(&place.path().join("state")).into_iter();
        // Rules over the table are told once per run, and those of windows without rows once per gap.
        sorted(
            all.filter(|told| ["spread", "alike", "trend"].contains(&&*told.rule))
                .collect(),
        )
    };
    let once = Place::new();
    once.write("base.csv", csv(&base));
    once.write("in/1.csv", csv(&[first.clone(), second.clone()].concat()));
    once.run(&script(way), &[]).ok();
    let twice = Place::new();
    twice.write("base.csv", csv(&base));
    twice.write("in/1.csv", csv(&first));
    twice.run(&script(way), &[]).ok();
    twice.write("base.csv", csv(&base[..1]));
    twice.write("in/2.csv", csv(&second));
    twice.run(&script(way), &[]).ok();
    assert_eq!(windowed(&twice), windowed(&once));
}

/// Each run of a batch job is a verdict about its table.
#[test]
fn a_batch_job_knows_its_earlier_runs() {
    let place = Place::new();
    let script = "
        SET pipeline.name = 'shop';
        CREATE SOURCE orders (k VARCHAR, x DOUBLE, ts TIMESTAMP,
            CONSTRAINT steady EXPECT (count(*) BETWEEN 0.8 * prev AND 1.2 * prev) WITH prev => HISTORY(1),
            CONSTRAINT growth EXPECT ((count(*) - prev) / prev < 0.5) WITH prev => MIN(HISTORY(2)) PER (k)
        ) WITH (connector = 'file', path = 'orders.csv', format = 'csv');
        CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;";
    let mut rng = StdRng::seed_from_u64(7);
    for count in [10, 11, 30, 29] {
        let mut rows = rows(&mut rng, count, START);
        rows.iter_mut().for_each(|row| row.k = "a");
        place.write("orders.csv", csv(&rows));
        place.run(script, &[]).ok();
    }
    let query =
        "SELECT rule, passed, observed FROM weir.quality_results ORDER BY rule, recorded_at";
    let said = place
        .weir(&["sql", "--format", "csv", "-c", query])
        .ok()
        .out;
    let said: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(
        said,
        [
            r#"growth,,"{""count(*)"":10,""prev"":null}""#,
            r#"growth,true,"{""count(*)"":11,""prev"":10.0}""#,
            r#"growth,false,"{""count(*)"":30,""prev"":10.0}""#,
            r#"growth,false,"{""count(*)"":29,""prev"":11.0}""#,
            r#"steady,,"{""count(*)"":10,""prev"":null}""#,
            r#"steady,true,"{""count(*)"":11,""prev"":10.0}""#,
            r#"steady,false,"{""count(*)"":30,""prev"":11.0}""#,
            r#"steady,true,"{""count(*)"":29,""prev"":30.0}""#,
        ]
    );
}

/// A stored profile is a reference, and one that is missing is told before anything runs.
#[test]
fn a_stored_profile_is_a_reference() {
    let place = Place::new();
    let script = |rows: &str| {
        format!(
            "SET pipeline.name = 'shop';
             CREATE SOURCE orders (k VARCHAR, x DOUBLE, ts TIMESTAMP,
                 CONSTRAINT like_before EXPECT (psi(x, REFERENCE baseline) < 0.2 AND chi2(k, REFERENCE baseline) > 0.01
                     AND welch_p(x, REFERENCE baseline) > 0.01)
             ) WITH (connector = 'file', path = '{rows}', format = 'csv');
             CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;"
        )
    };
    let mut rng = StdRng::seed_from_u64(8);
    let base = rows(&mut rng, 3_000, START);
    let mut moved = rows(&mut rng, 3_000, START);
    place.write("base.csv", csv(&base));
    place.write("same.csv", csv(&rows(&mut rng, 3_000, START)));
    moved
        .iter_mut()
        .for_each(|row| row.x = row.x.map(|x| x + 30.0));
    place.write("moved.csv", csv(&moved));
    let ended = place.run(&script("same.csv"), &[]);
    ended.fails_with("E0103", &["baseline", "PROFILE TABLE"]);
    let profile = "SET pipeline.name = 'shop';
        CREATE SOURCE base (k VARCHAR, x DOUBLE, ts TIMESTAMP)
            WITH (connector = 'file', path = 'base.csv', format = 'csv');
        PROFILE TABLE base INTO baseline;";
    place.run(profile, &[]).ok();
    for (rows, passed) in [("same.csv", "true"), ("moved.csv", "false")] {
        place.run(&script(rows), &[]).ok();
        let query = "SELECT passed FROM weir.quality_results ORDER BY recorded_at DESC LIMIT 1";
        let said = place
            .weir(&["sql", "--format", "csv", "-c", query])
            .ok()
            .out;
        assert_eq!(said.lines().last(), Some(passed), "{rows}");
    }
}
