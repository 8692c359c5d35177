//! Feedback on anomalies through `kill -9`: the model of its key takes it once, whatever is killed between the statement,
//! the model and the epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::kills::{Kills, Round, number};
use super::log::{Durable, Log};
use super::stateless::RATE;
use super::{PARTS, rows_for};
use crate::program::{Place, Running};

/// Kills of this pipeline at most, however many the others are given.
const KILLS_MAX: u32 = 10;
/// Series, half of which get feedback.
const KEYS: i64 = 6;

fn script(rows: u64) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (
            seq BIGINT, at TIMESTAMP AS (CAST(to_timestamp_micros(seq * 1000) AS TIMESTAMP)),
            WATERMARK FOR at AS at - INTERVAL '200 milliseconds'
         ) WITH (connector = 'generator', rows = {rows}, rate = {RATE}, splits = {PARTS});
         CREATE VIEW readings AS SELECT seq, at, seq % {KEYS} AS k,
            seq * 7919 % 101 + CASE WHEN seq % 997 = 0 THEN 5000 ELSE 0 END AS value FROM made;
         CREATE ANOMALY MODEL wild ON (SELECT * FROM readings) PARTITION BY k ORDER BY at TARGET value
            METHOD ewma WARMUP 50 DEBOUNCE 10 ROWS MEMORY 1000000000 ROWS;
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet') AS
         SELECT seq, k, a.score AS score, a.p_value AS p FROM (
            SELECT *, ANOMALY(value, MODEL wild) OVER (PARTITION BY k ORDER BY at) AS a FROM readings);"
    )
}

/// The visible rows in their order: by which share of the risk each was judged. A score and its probability tell it:
/// score = surprise / (surprise - log10 risk).
fn factors(folder: &Path) -> BTreeMap<i64, (i64, f64)> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(entry.path()).unwrap());
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let integers = |at: usize| batch.column(at).as_primitive::<Int64Type>();
            let floats = |at: usize| batch.column(at).as_primitive::<Float64Type>();
            let (seq, key, score, p) = (integers(0), integers(1), floats(2), floats(3));
            for row in 0..batch.num_rows() {
                let surprise = -p.value(row).log10();
                let risk = 10_f64.powf(surprise - surprise / score.value(row));
                let judged = (key.value(row), risk / 0.01);
                assert_eq!(
                    found.insert(seq.value(row), judged),
                    None,
                    "a row is there twice"
                );
            }
        }
    }
    found.retain(|_, (_, factor)| factor.is_finite());
    found
}

/// Fails where the risk of a key is not what it was before, or half of it from one row on.
fn check(folder: &Path, said: &BTreeSet<i64>) -> BTreeMap<i64, f64> {
    let mut last: BTreeMap<i64, f64> = BTreeMap::new();
    for (seq, (key, factor)) in factors(folder) {
        let before = last.insert(key, factor).unwrap_or(1.0);
        let is_half = (factor - 0.5).abs() < 1e-3;
        let is_whole = (factor - 1.0).abs() < 1e-3 && before > 0.9;
        assert!(
            is_whole || is_half && said.contains(&key),
            "row {seq} of key {key}: {factor} after {before}"
        );
    }
    last
}

/// An anomaly of each key that has told one, by its id.
fn told(place: &Place) -> BTreeMap<i64, String> {
    let query = "SELECT key, min(id) AS id FROM weir.anomalies GROUP BY key;";
    let ended = place
        .weir(&["sql", "--state", "state", "--format", "json", "-c", query])
        .ok();
    let rows = ended.out.lines().filter(|line| line.starts_with('{'));
    let row = |line: &str| -> (i64, String) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("key").parse().unwrap(), text("id"))
    };
    rows.map(row).collect()
}

#[test]
fn feedback_through_kills() {
    let mut kills = Kills::plan("feedback", number("CHAOS_KILLS", 10).min(KILLS_MAX));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let rows = rows_for(kills.left);
    let out = place.path().join("out");
    let mut said = BTreeSet::new();
    let mut look = |kill: u32, _: &Durable| {
        check(&out, &said);
        // One key more after each kill: what was said is in no model when the next start is killed early.
        let next = told(&place)
            .into_iter()
            .find(|(key, _)| key % 2 == 0 && !said.contains(key));
        if let Some((key, id)) = next.filter(|_| kill > 0) {
            let words = format!("FEEDBACK ON ANOMALY '{id}' FALSE_POSITIVE;");
            place.weir(&["sql", "--state", "state", "-c", &words]).ok();
            said.insert(key);
        }
    };
    if let Round::Undisturbed(running) = kills.round(&place, &script(rows), &log, &mut look) {
        Running::wait(running).ok();
    }
    let durable = log.durable();
    assert!(durable.over, "{durable:?}");
    assert!(!said.is_empty(), "nothing was said");
    let last = check(&out, &said);
    assert_eq!(last.len(), usize::try_from(KEYS).unwrap());
    for (key, factor) in last {
        let expected = if said.contains(&key) { 0.5 } else { 1.0 };
        assert!((factor - expected).abs() < 1e-3, "key {key}: {factor}");
    }
    let query =
        "SELECT count(DISTINCT id) AS n FROM weir.anomalies WHERE feedback = 'false_positive';";
    let ended = place
        .weir(&["sql", "--state", "state", "--format", "json", "-c", query])
        .ok();
    let count = format!("{{\"n\":{}}}", said.len());
    assert!(ended.out.contains(&count), "{}", ended.out);
    log.check_chain();
    kills.tell(rows);
}
