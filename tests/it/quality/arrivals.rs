//! Rules over how rows come, beside the same in plain code: rows are in no order, in one file or in several.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Told, results};
use crate::program::Place;

const SECOND: i64 = 1_000_000;
const WINDOW: i64 = 600 * SECOND;
const BOUND: i64 = 60 * SECOND;
const START: i64 = 1_767_225_600_000_000;
const KINDS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
struct Row {
    id: usize,
    k: &'static str,
    ts: Option<i64>,
    seen: i64,
}

/// What is told of a row.
#[derive(Debug, Clone)]
struct Came {
    k: &'static str,
    late: Option<bool>,
    disordered: Option<bool>,
    time: Option<i64>,
}

fn file(rng: &mut StdRng, count: usize, from: i64) -> Vec<Row> {
    let mut newest = from;
    let mut row = |id: usize| {
        newest += rng.random_range(0..90) * SECOND;
        let behind = match rng.random_range(0..4) {
            0 => rng.random_range(0..300) * SECOND,
            1 => rng.random_range(0..60) * SECOND,
            _ => 0,
        };
        Row {
            id: from as usize / 7 + id,
            k: KINDS[rng.random_range(0..2)],
            ts: rng.random_bool(0.95).then_some(newest - behind),
            seen: newest + rng.random_range(0..40) * SECOND,
        }
    };
    (0..count).map(&mut row).collect()
}

fn text(time: i64) -> String {
    let time = arrow::temporal_conversions::timestamp_us_to_datetime(time).unwrap();
    time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn csv(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let ts = row.ts.map_or_else(String::new, text);
        format!("{},{},{ts},{}\n", row.id, row.k, text(row.seen))
    };
    let lines: String = rows.iter().map(line).collect();
    format!("id,k,ts,seen\n{lines}")
}

/// How the rows of a file come that begins when the watermark is there.
fn came(rows: &[Row], reached: i64) -> Vec<Came> {
    let mut newest = i64::MIN / 2;
    let row = |row: &Row| {
        let behind = (newest - BOUND).max(reached);
        let told = Came {
            k: row.k,
            late: row.ts.map(|ts| ts < behind),
            disordered: row.ts.map(|ts| ts < newest),
            time: row.ts.map(|ts| ts.max(behind)),
        };
        newest = newest.max(row.ts.unwrap_or(newest));
        told
    };
    rows.iter().map(row).collect()
}

const RULES: &str = "
    CONSTRAINT late EXPECT (late_ratio() < 0.12),
    CONSTRAINT ordered EXPECT (out_of_order_ratio() < 0.3) PER (k),
    CONSTRAINT often EXPECT (late_ratio() FILTER (WHERE k = 'a') < 0.1 AND out_of_order_ratio() < 0.4)
        SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' MINUTE)),
    CONSTRAINT busy EXPECT (late_ratio() < 0.1) WHEN (k = 'b') EVERY INTERVAL '10' MINUTE,
    CONSTRAINT alike EXPECT (late_ratio()) = (SELECT 0.1 * 1) TOLERANCE 50%,
    CONSTRAINT far EXPECT (watermark_lag() > INTERVAL '1' DAY OR count(*) = 0) ON VIOLATION FAIL UPDATE,
    CONSTRAINT past EXPECT (extract(epoch FROM watermark_lag()) < 2 * prev OR prev IS NULL) WITH prev => HISTORY(1)";

/// A rule beside them that compares whole rows, and needs a step of its own.
const KEYED: &str = ", CONSTRAINT once EXPECT UNIQUE (*) ON VIOLATION QUARANTINE";

fn ratio<'a>(told: impl Iterator<Item = &'a Option<bool>>) -> Option<f64> {
    let known: Vec<bool> = told.filter_map(|told| *told).collect();
    let found = known.iter().filter(|found| **found).count();
    (!known.is_empty()).then(|| found as f64 / known.len() as f64)
}

fn told(rule: &str, segment: Option<&str>, pane: Option<i64>, passed: Option<bool>) -> Told {
    Told {
        rule: rule.to_owned(),
        segment: segment.map(|k| format!("{{\"k\":\"{k}\"}}")),
        pane: pane.map(|start| (start, start + WINDOW)),
        passed,
        counts: match passed {
            Some(true) => [1, 0, 0],
            Some(false) => [1, 1, 0],
            None => [0, 0, 1],
        },
    }
}

fn late<'a>(rows: impl Iterator<Item = &'a Came>) -> Option<f64> {
    ratio(rows.map(|row| &row.late).collect::<Vec<_>>().into_iter())
}

fn disordered<'a>(rows: impl Iterator<Item = &'a Came>) -> Option<f64> {
    ratio(
        rows.map(|row| &row.disordered)
            .collect::<Vec<_>>()
            .into_iter(),
    )
}

fn windows(rows: &[&Came]) -> Vec<i64> {
    let mut windows: Vec<i64> = rows
        .iter()
        .filter_map(|row| Some(row.time?.div_euclid(WINDOW) * WINDOW))
        .collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

fn within<'a>(rows: &'a [&Came], start: i64) -> impl Iterator<Item = &'a Came> + Clone {
    let inside = move |row: &&&Came| {
        row.time
            .is_some_and(|time| (start..start + WINDOW).contains(&time))
    };
    rows.iter().filter(inside).copied()
}

/// What the rules find of rows, but for the lag by the clock.
fn expected(rows: &[Came]) -> Vec<Told> {
    let all: Vec<&Came> = rows.iter().collect();
    let ratio = late(rows.iter());
    let mut due = vec![
        told("late", None, None, ratio.map(|ratio| ratio < 0.12)),
        told(
            "alike",
            None,
            None,
            ratio.map(|ratio| (0.05..=0.15).contains(&ratio)),
        ),
    ];
    for k in KINDS {
        let of: Vec<&Came> = all.iter().filter(|row| row.k == k).copied().collect();
        if !of.is_empty() {
            let ratio = disordered(of.iter().copied());
            due.push(told(
                "ordered",
                Some(k),
                None,
                ratio.map(|ratio| ratio < 0.3),
            ));
        }
    }
    for start in windows(&all) {
        let of = within(&all, start);
        let one = late(of.clone().filter(|row| row.k == "a")).map(|ratio| ratio < 0.1);
        let two = disordered(of).map(|ratio| ratio < 0.4);
        let both = match (one, two) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        due.push(told("often", None, Some(start), both));
    }
    let busy: Vec<&Came> = all.iter().filter(|row| row.k == "b").copied().collect();
    let panes = windows(&busy);
    if let (Some(first), Some(last)) = (panes.first(), panes.last()) {
        for start in (*first..=*last).step_by(WINDOW as usize) {
            let ratio = late(within(&busy, start));
            due.push(told(
                "busy",
                None,
                Some(start),
                ratio.map(|ratio| ratio < 0.1),
            ));
        }
    }
    due.sort_by(|a, b| a.partial_cmp(b).unwrap());
    due
}

fn found(place: &Place) -> Vec<Told> {
    let mut found = results(&place.path().join("state"));
    found.retain(|told| !["far", "past", "lag"].contains(&told.rule.as_str()));
    found.sort_by(|a, b| a.partial_cmp(b).unwrap());
    found
}

fn script(way: &str, more: &str) -> String {
    format!(
        "{way} SET pipeline.state = 'state';
         CREATE SOURCE orders (
             id BIGINT, k VARCHAR, ts TIMESTAMP, seen TIMESTAMP,
             WATERMARK FOR ts AS ts - INTERVAL '60 seconds', {RULES} {more}
         ) WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
         CREATE SINK out WITH (connector = 'blackhole') AS SELECT id FROM orders;"
    )
}

#[test]
fn verdicts_are_those_of_plain_code() {
    let mut rng = StdRng::seed_from_u64(20_261_123);
    for case in 0..12 {
        let files = rng.random_range(1..4);
        let count = [0, 1, 40, 90][rng.random_range(0..4)];
        let rows: Vec<Vec<Row>> = (0..files)
            .map(|number| file(&mut rng, count, START + number * 20 * BOUND))
            .collect();
        let all: Vec<Came> = rows
            .iter()
            .flat_map(|rows| came(rows, i64::MIN / 2))
            .collect();
        let due = expected(&all);
        let keyed = if case % 2 == 0 { KEYED } else { "" };
        for mode in ["batch", "streaming"] {
            let (parallelism, batch) = (rng.random_range(1..4), [1, 7, 8192][case % 3]);
            let way = format!(
                "SET pipeline.mode = '{mode}'; SET pipeline.parallelism = {parallelism};
                 SET pipeline.batch_rows = {batch};"
            );
            let place = Place::new();
            for (number, rows) in rows.iter().enumerate() {
                place.write(&format!("in/{number}.csv"), csv(rows));
            }
            let summary = place
                .run(&script(&way, keyed), &["--summary", "json"])
                .ok()
                .summary();
            let mut told = found(&place);
            told.retain(|told| told.rule != "once");
            assert_eq!(told, due, "case {case}: {way}");
            assert_eq!(summary["adds_up"], true);
        }
    }
}

/// The lag behind a column of the rows is the same in each run.
#[test]
fn the_lag_is_that_of_the_newest_row() {
    let mut rng = StdRng::seed_from_u64(7);
    for case in 0..6 {
        let rows = file(&mut rng, 50, START);
        let newest = rows.iter().filter_map(|row| row.ts).max().unwrap();
        let seen = rows.iter().map(|row| row.seen).max().unwrap();
        let lag = (seen - (newest - BOUND)) / SECOND;
        for (most, passed) in [(lag, false), (lag + 1, true)] {
            let rule = format!(
                ", CONSTRAINT lag EXPECT (watermark_lag(seen) < INTERVAL '{most}' SECOND) ON VIOLATION WARN"
            );
            for mode in ["batch", "streaming"] {
                let place = Place::new();
                place.write("in/a.csv", csv(&rows));
                let batch = [1, 7, 8192][case % 3];
                let way =
                    format!("SET pipeline.mode = '{mode}'; SET pipeline.batch_rows = {batch};");
                place.run(&script(&way, &rule), &[]).ok();
                let told = results(&place.path().join("state"));
                let told: Vec<_> = told.iter().filter(|told| told.rule == "lag").collect();
                assert_eq!(told.len(), 1);
                assert_eq!(told[0].passed, Some(passed), "{mode}, {most} s");
            }
        }
    }
}

/// What a source has given in an earlier run has moved its watermark: a file that is found later may be late as a
/// whole.
#[test]
fn a_later_file_is_behind_the_watermark_of_the_source() {
    let place = Place::new();
    let mut rng = StdRng::seed_from_u64(11);
    let first = file(&mut rng, 40, START);
    let second = file(&mut rng, 30, START + 5 * BOUND);
    let script = script(
        "SET pipeline.mode = 'streaming'; SET pipeline.batch_rows = 4;",
        "",
    );
    place.write("in/1.csv", csv(&first));
    place.run(&script, &[]).ok();
    place.write("in/2.csv", csv(&second));
    place.run(&script, &[]).ok();
    let reached = first.iter().filter_map(|row| row.ts).max().unwrap() - BOUND;
    let mut all = came(&first, i64::MIN / 2);
    all.extend(came(&second, reached));
    let due = expected(&all)
        .into_iter()
        .filter(|told| told.pane.is_none());
    let told = results(&place.path().join("state"));
    for due in due {
        let last = told
            .iter()
            .filter(|told| told.rule == due.rule && told.segment == due.segment)
            .collect::<Vec<_>>();
        assert!(last.iter().any(|told| **told == due), "{due:?} in {last:?}");
    }
}
