//! Rules over the last rows, beside the same in plain code: the last verdict is that of all rows, in batch, in
//! streaming, and in streaming that was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Told, results};
use crate::program::Place;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_767_225_600_000_000;
const KINDS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
struct Row {
    k: &'static str,
    x: Option<i64>,
    ts: i64,
}

fn rows(rng: &mut StdRng, count: usize) -> Vec<Row> {
    let mut at = START;
    let mut row = || {
        at += rng.random_range(0..20) * SECOND;
        Row {
            k: KINDS[rng.random_range(0..3)],
            x: rng.random_bool(0.9).then(|| rng.random_range(0..100)),
            ts: at - rng.random_range(0..5) * SECOND,
        }
    };
    (0..count).map(|_| row()).collect()
}

fn csv(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let time = arrow::temporal_conversions::timestamp_us_to_datetime(row.ts).unwrap();
        let x = row.x.map_or_else(String::new, |x| x.to_string());
        format!("{},{x},{}\n", row.k, time.format("%Y-%m-%dT%H:%M:%S%.6f"))
    };
    let lines: String = rows.iter().map(line).collect();
    format!("k,x,ts\n{lines}")
}

const RULES: &str = "
    CONSTRAINT some EXPECT (avg(x) < 50) SCOPE LAST (20 ROWS),
    CONSTRAINT each EXPECT (max(x) - min(x) < 80) SCOPE LAST (7 ROWS) PER (k),
    CONSTRAINT lately EXPECT (count(*) >= 12 AND sum(x) > 500) SCOPE LAST (INTERVAL '2' MINUTE),
    CONSTRAINT mostly EXPECT (x > 30) MOSTLY 0.7 SCOPE LAST (INTERVAL '3' MINUTE) PER (k) WHEN (k <> 'c'),
    CONSTRAINT none EXPECT (avg(x) > 0) SCOPE LAST (5 ROWS) WHEN (x > 1000)";

/// The rows from the last to the first.
fn last<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.ts, row.x));
    rows.reverse();
    rows
}

fn told(rule: &str, k: Option<&str>, passed: Option<bool>) -> Told {
    Told {
        rule: rule.to_owned(),
        segment: k.map(|k| format!("{{\"k\":\"{k}\"}}")),
        pane: None,
        passed,
        counts: match passed {
            Some(true) => [1, 0, 0],
            Some(false) => [1, 1, 0],
            None => [0, 0, 1],
        },
    }
}

/// Rules by name and segment, with what they say at the end. Ties are told apart by values that the rules see.
fn expected(rows: &[Row]) -> BTreeMap<(String, Option<String>), Told> {
    let all: Vec<&Row> = rows.iter().collect();
    let newest = rows.iter().map(|row| row.ts).max().unwrap_or(START);
    let xs = |rows: &[&Row]| rows.iter().filter_map(|row| row.x).collect::<Vec<i64>>();
    let mut due = Vec::new();
    let twenty = xs(&last(&all)[..all.len().min(20)]);
    let mean = twenty.iter().sum::<i64>() as f64 / twenty.len() as f64;
    due.push(told(
        "some",
        None,
        (!twenty.is_empty()).then_some(mean < 50.0),
    ));
    due.push(told("none", None, None));
    let within = |rows: &[&'_ Row], seconds: i64| -> Vec<Row> {
        let inside = rows.iter().filter(|row| row.ts > newest - seconds * SECOND);
        inside.map(|row| (*row).clone()).collect()
    };
    let lately = within(&all, 120);
    let sum: i64 = lately.iter().filter_map(|row| row.x).sum();
    let has = lately.iter().any(|row| row.x.is_some());
    let passed = match (lately.len() >= 12, has.then_some(sum > 500)) {
        (false, _) | (_, Some(false)) => Some(false),
        (true, told) => told,
    };
    due.push(told("lately", None, passed));
    for k in KINDS {
        let of: Vec<&Row> = all.iter().filter(|row| row.k == k).copied().collect();
        if of.is_empty() {
            continue;
        }
        let seven = xs(&last(&of)[..of.len().min(7)]);
        let spread = seven.iter().max().zip(seven.iter().min());
        due.push(told(
            "each",
            Some(k),
            spread.map(|(most, least)| most - least < 80),
        ));
        let near = within(&of, 180);
        if k != "c" && !near.is_empty() {
            let known: Vec<i64> = near.iter().filter_map(|row| row.x).collect();
            let broken = known.iter().filter(|x| **x <= 30).count() as i64;
            let (asked, open) = (known.len() as i64, (near.len() - known.len()) as i64);
            due.push(Told {
                passed: (asked > 0).then_some((asked - broken) as f64 >= 0.7 * asked as f64),
                counts: [asked, broken, open],
                ..told("mostly", Some(k), None)
            });
        }
    }
    let named = due.into_iter();
    named
        .map(|told| ((told.rule.clone(), told.segment.clone()), told))
        .collect()
}

/// The last word of each rule and segment.
fn last_words(place: &Place) -> BTreeMap<(String, Option<String>), Vec<Told>> {
    let mut words: BTreeMap<_, Vec<Told>> = BTreeMap::new();
    for told in results(&place.path().join("state")) {
        let name = (told.rule.clone(), told.segment.clone());
        words.entry(name).or_default().push(told);
    }
    words
}

fn script(way: &str) -> String {
    format!(
        "{way} SET pipeline.state = 'state';
         CREATE SOURCE orders (
             k VARCHAR, x BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds', {RULES}
         ) WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
         CREATE SINK out WITH (connector = 'blackhole') AS SELECT * FROM orders;"
    )
}

#[test]
fn verdicts_are_those_of_plain_code() {
    let mut rng = StdRng::seed_from_u64(20_261_124);
    for case in 0..8 {
        let count = [0, 1, 40, 150][rng.random_range(0..4)];
        let rows = rows(&mut rng, count);
        let due = expected(&rows);
        for mode in ["batch", "streaming"] {
            let (parallelism, batch) = (rng.random_range(1..4), [1, 7, 8192][case % 3]);
            let way = format!(
                "SET pipeline.mode = '{mode}'; SET pipeline.parallelism = {parallelism};
                 SET pipeline.batch_rows = {batch}; SET pipeline.checkpoint_interval = '1 hour';"
            );
            let place = Place::new();
            let half = rows.len() / 2;
            place.write("in/0.csv", csv(&rows[..half]));
            place.write("in/1.csv", csv(&rows[half..]));
            let summary = place
                .run(&script(&way), &["--summary", "json"])
                .ok()
                .summary();
            assert_eq!(summary["adds_up"], true);
            let told = last_words(&place);
            let told: BTreeMap<_, _> = told
                .into_iter()
                .map(|(name, words)| {
                    assert_eq!(words.len(), 1, "{words:?}");
                    (name, words[0].clone())
                })
                .collect();
            assert_eq!(told, due, "case {case}: {way}");
        }
    }
}

#[test]
fn a_job_that_is_killed_says_the_same_in_the_end() {
    let mut rng = StdRng::seed_from_u64(20_261_125);
    let rows = rows(&mut rng, 20_000);
    let due = expected(&rows);
    let place = Place::new();
    place.write("in/0.csv", csv(&rows));
    let script = script(
        "SET pipeline.mode = 'streaming'; SET pipeline.batch_rows = 16;
         SET pipeline.checkpoint_interval = '50 milliseconds';",
    );
    for wait in [400, 700, 1_000] {
        let running = place.start(&script, &[]);
        std::thread::sleep(Duration::from_millis(wait));
        running.kill();
    }
    place.run(&script, &[]).ok();
    let told = last_words(&place);
    for (name, due) in due {
        let words = &told[&name];
        assert!(words.contains(&due), "{due:?} in {words:?}");
    }
}

#[test]
fn a_rule_over_the_last_rows_ends_the_job() {
    let place = Place::new();
    place.write("in/0.csv", csv(&rows(&mut StdRng::seed_from_u64(3), 50)));
    for mode in ["batch", "streaming"] {
        let way = format!("SET pipeline.mode = '{mode}';");
        let script = script(&way).replace("state';", &format!("state/{mode}';"));
        let script = script.replace("(20 ROWS)", "(20 ROWS) ON VIOLATION FAIL UPDATE");
        let script = script.replace("avg(x) < 50", "avg(x) < 0");
        place
            .run(&script, &[])
            .fails_with("E0304", &["some", "avg(x)"]);
    }
}
