//! Rules over tables and windows of random rows, beside the same rules in plain code.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Told, results};
use crate::program::Place;

const MINUTE: i64 = 60_000_000;
const START: i64 = 1_767_225_600_000_000;

#[derive(Debug)]
struct Row {
    amount: Option<i64>,
    currency: &'static str,
    ts: i64,
}

fn rows(rng: &mut StdRng, count: usize) -> Vec<Row> {
    let mut ts = START;
    let mut row = || {
        // Now and then nothing comes for some windows.
        ts += match rng.random_range(0..20) {
            0 => rng.random_range(0..20) * MINUTE,
            _ => rng.random_range(0..MINUTE),
        };
        Row {
            amount: rng.random_bool(0.9).then(|| rng.random_range(-2..30)),
            currency: ["EUR", "USD", "GBP"][rng.random_range(0..3)],
            ts,
        }
    };
    (0..count).map(|_| row()).collect()
}

fn csv(rows: &[Row]) -> String {
    let mut text = "amount,currency,ts\n".to_owned();
    for row in rows {
        let amount = row
            .amount
            .map_or_else(String::new, |amount| amount.to_string());
        let time = arrow::temporal_conversions::timestamp_us_to_datetime(row.ts).unwrap();
        text.push_str(&format!(
            "{amount},{},{}\n",
            row.currency,
            time.format("%Y-%m-%dT%H:%M:%S%.6f")
        ));
    }
    text
}

const RULES: &str = "
    CONSTRAINT enough EXPECT (count(*) BETWEEN 20 AND 60),
    CONSTRAINT complete EXPECT (completeness(amount) >= 0.9) WHEN (currency <> 'GBP'),
    CONSTRAINT mostly EXPECT (amount > 0) MOSTLY 0.9 PER (currency),
    CONSTRAINT strict EXPECT (amount > 0) MOSTLY 90% ON UNKNOWN VIOLATE,
    CONSTRAINT mean EXPECT (sum(amount) > 40) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' MINUTE)) PER (currency),
    CONSTRAINT volume EXPECT (count(*) >= 3) EVERY INTERVAL '5' MINUTE,
    CONSTRAINT known EXPECT DISTINCT (currency) IN ('EUR', 'USD'),
    CONSTRAINT both EXPECT DISTINCT (currency) CONTAINS ('EUR', 'USD', 'EUR'),
    CONSTRAINT three EXPECT DISTINCT (currency) = ('EUR', 'USD', 'GBP'),
    CONSTRAINT shape EXPECT SCHEMA (amount BIGINT, ts TIMESTAMP),
    CONSTRAINT whole EXPECT SCHEMA (amount BIGINT, ts TIMESTAMP) STRICT,
    CONSTRAINT top EXPECT NO ROWS (SELECT amount FROM this WHERE amount > 28),
    CONSTRAINT self EXPECT SAME ROWS AS orders,
    CONSTRAINT total EXPECT (sum(amount)) = (SELECT 11 * count(*) FROM orders) TOLERANCE 20%,
    CONSTRAINT fresh EXPECT FRESH (ts, INTERVAL '1000' DAY) PER (currency)";

fn verdict(rule: &str, passed: Option<bool>) -> Told {
    let counts = match passed {
        Some(true) => [1, 0, 0],
        Some(false) => [1, 1, 0],
        None => [0, 0, 1],
    };
    Told {
        rule: rule.to_owned(),
        segment: None,
        pane: None,
        passed,
        counts,
    }
}

/// A rule over rows of which a share has to hold.
fn share(rule: &str, rows: &[&Row], unknown_violates: bool) -> Told {
    let known: Vec<i64> = rows.iter().filter_map(|row| row.amount).collect();
    let (mut asked, mut unknown) = (known.len() as i64, (rows.len() - known.len()) as i64);
    let mut broken = known.iter().filter(|amount| **amount <= 0).count() as i64;
    if unknown_violates {
        (asked, broken, unknown) = (asked + unknown, broken + unknown, 0);
    }
    Told {
        passed: (asked > 0).then_some((asked - broken) as f64 >= 0.9 * asked as f64),
        counts: [asked, broken, unknown],
        ..verdict(rule, None)
    }
}

fn in_segment(told: Told, currency: &str) -> Told {
    Told {
        segment: Some(format!("{{\"currency\":\"{currency}\"}}")),
        ..told
    }
}

fn expected(rows: &[Row]) -> Vec<Told> {
    let all: Vec<&Row> = rows.iter().collect();
    let mut told = vec![
        verdict("enough", Some((20..=60).contains(&rows.len()))),
        share("strict", &all, true),
        verdict("shape", Some(true)),
        verdict("whole", Some(false)),
        verdict("self", Some(true)),
        verdict("top", Some(!rows.iter().any(|row| row.amount > Some(28)))),
    ];
    let asked = rows.iter().filter(|row| row.currency != "GBP");
    let (known, asked) = (
        asked.clone().filter(|row| row.amount.is_some()).count(),
        asked.count(),
    );
    let complete = known as f64 / asked as f64 >= 0.9;
    told.push(verdict("complete", (asked > 0).then_some(complete)));
    let found: BTreeSet<&str> = rows.iter().map(|row| row.currency).collect();
    told.push(verdict("known", Some(!found.contains("GBP"))));
    told.push(verdict(
        "both",
        Some(found.contains("EUR") && found.contains("USD")),
    ));
    told.push(verdict("three", Some(found.len() == 3)));
    let sum: i64 = rows.iter().filter_map(|row| row.amount).sum();
    let other = 11 * rows.len() as i64;
    let near = (sum - other).abs() as f64 <= 0.2 * other as f64;
    let any = rows.iter().any(|row| row.amount.is_some());
    told.push(verdict("total", any.then_some(near)));
    for currency in &found {
        let of: Vec<&Row> = rows
            .iter()
            .filter(|row| row.currency == *currency)
            .collect();
        told.push(in_segment(share("mostly", &of, false), currency));
        told.push(in_segment(verdict("fresh", Some(true)), currency));
    }
    told.extend(windows(rows));
    told
}

/// The verdicts over windows.
fn windows(rows: &[Row]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut sums: BTreeMap<(i64, &str), Option<i64>> = BTreeMap::new();
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for row in rows {
        let start = row.ts - row.ts.rem_euclid(10 * MINUTE);
        let sum = sums.entry((start, row.currency)).or_default();
        if let Some(amount) = row.amount {
            *sum = Some(sum.unwrap_or(0) + amount);
        }
        *counts
            .entry(row.ts - row.ts.rem_euclid(5 * MINUTE))
            .or_default() += 1;
    }
    for ((start, currency), sum) in sums {
        let one = verdict("mean", sum.map(|sum| sum > 40));
        told.push(in_segment(
            Told {
                pane: Some((start, start + 10 * MINUTE)),
                ..one
            },
            currency,
        ));
    }
    let bounds = counts
        .keys()
        .next()
        .copied()
        .zip(counts.keys().last().copied());
    if let Some((first, last)) = bounds {
        for start in (first..=last).step_by(5 * MINUTE as usize) {
            let count = counts.get(&start).copied().unwrap_or(0);
            told.push(Told {
                pane: Some((start, start + 5 * MINUTE)),
                ..verdict("volume", Some(count >= 3))
            });
        }
    }
    told
}

fn script(way: &str) -> String {
    format!(
        "{way} SET pipeline.state = 'state';
         CREATE SOURCE orders (
             amount BIGINT, currency VARCHAR, ts TIMESTAMP,
             WATERMARK FOR ts AS ts - INTERVAL '5 seconds', {RULES}
         ) WITH (connector = 'file', path = 'orders.csv', format = 'csv');
         CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;"
    )
}

#[test]
fn verdicts_are_those_of_plain_code() {
    let mut rng = StdRng::seed_from_u64(20_261_122);
    for case in 0..10 {
        let count = [0, 1, 30, 80][rng.random_range(0..4)];
        let rows = rows(&mut rng, count);
        let mut due = expected(&rows);
        if rows.is_empty() {
            // No sum is nothing to compare with.
            due.retain(|told| told.rule != "total");
            due.push(verdict("total", None));
        }
        due.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for mode in ["batch", "streaming"] {
            let (parallelism, batch) = (rng.random_range(1..4), [1, 7, 8192][case % 3]);
            let way = format!(
                "SET pipeline.mode = '{mode}'; SET pipeline.parallelism = {parallelism};
                 SET pipeline.batch_rows = {batch};"
            );
            let place = Place::new();
            place.write("orders.csv", csv(&rows));
            let summary = place
                .run(&script(&way), &["--summary", "json"])
                .ok()
                .summary();
            let mut told = results(&place.path().join("state"));
            told.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert_eq!(told, due, "case {case}: {way}");
            assert_eq!(summary["adds_up"], true);
        }
    }
}

#[test]
fn a_table_is_judged_again_when_it_grows() {
    let place = Place::new();
    let rows = rows(&mut StdRng::seed_from_u64(5), 60);
    let script = script("SET pipeline.mode = 'streaming';").replace("orders.csv", "in/*.csv");
    place.write("in/1.csv", csv(&rows[..15]));
    place.run(&script, &[]).ok();
    place.write("in/2.csv", csv(&rows[15..50]));
    place.run(&script, &[]).ok();
    let told = results(&place.path().join("state"));
    let enough = told.iter().filter(|told| told.rule == "enough");
    let mut passed: Vec<_> = enough.map(|told| told.passed).collect();
    passed.sort();
    assert_eq!(passed, [Some(false), Some(true)]);
    // Nothing has come: nothing is said.
    place.run(&script, &[]).ok();
    let again = results(&place.path().join("state"));
    assert_eq!(again.iter().filter(|told| told.rule == "enough").count(), 2);
}

#[test]
fn a_rule_over_many_rows_ends_the_job() {
    let place = Place::new();
    let rows = rows(&mut StdRng::seed_from_u64(7), 30);
    place.write("orders.csv", csv(&rows));
    for mode in ["batch", "streaming"] {
        let script = format!(
            "SET pipeline.mode = '{mode}'; SET pipeline.state = 'state/{mode}';
             CREATE SOURCE orders (amount BIGINT, currency VARCHAR, ts TIMESTAMP,
                 CONSTRAINT many EXPECT (count(*) > 1000) ON VIOLATION FAIL UPDATE)
             WITH (connector = 'file', path = 'orders.csv', format = 'csv');
             CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet')
             AS SELECT * FROM orders;"
        );
        let ended = place.run(&script, &[]);
        ended.fails_with("E0304", &["many", "count(*)", "30"]);
        // Nothing becomes visible but what has ended it.
        let found = results(&place.path().join("state").join(mode));
        let found: Vec<_> = found
            .iter()
            .map(|told| (&*told.rule, told.passed, told.counts))
            .collect();
        assert_eq!(found, [("many", Some(false), [1, 1, 0])]);
        // What was prepared for an epoch that never came may lie in the folder that readers pass over.
        let mut shown = place.files("out");
        shown.retain(|file| !file.starts_with("_temporary/"));
        assert!(shown.is_empty(), "{shown:?}");
    }
}

#[test]
fn what_is_not_normal_is_told() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/nyc_taxi.csv");
    for mode in ["batch", "streaming"] {
        let script = format!(
            "SET pipeline.mode = '{mode}'; SET pipeline.state = 'state';
             CREATE SOURCE taxi (
                 \"timestamp\" TIMESTAMP NOT NULL, value BIGINT NOT NULL,
                 WATERMARK FOR \"timestamp\" AS \"timestamp\" - INTERVAL '30 minutes',
                 CONSTRAINT usual EXPECT NORMAL (sum(value), METHOD 'seasonal', SEASONALITY weekly, SENSITIVITY 0.999,
                     WARMUP 4 WEEKS, DEBOUNCE 2 DAYS) EVERY INTERVAL '6' HOUR
             ) WITH (connector = 'file', path = '{}', format = 'csv');
             CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM taxi;",
            data.display()
        );
        let place = Place::new();
        place.run(&script, &[]).ok();
        let told = results(&place.path().join("state"));
        // Four weeks of four windows a day are learned from first.
        assert_eq!(
            told.iter().filter(|told| told.passed.is_none()).count(),
            112
        );
        let days = told.iter().filter(|told| told.passed == Some(false));
        let day = |told: &Told| {
            told.pane
                .map(|(start, _)| (start - START).div_euclid(24 * 60 * MINUTE))
        };
        let mut days: Vec<_> = days.filter_map(day).collect();
        days.sort_unstable();
        // Labor Day, Thanksgiving, Christmas of 2014, and New Year: days before 2026.
        assert_eq!(days, [-4140, -4053, -4025, -4018], "{mode}");
    }
}
