//! Models through `kill -9`: each row has one verdict, and it is that of a model that nothing ever disturbed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_anomaly::{Config, Method, Model};

use super::kills::{Kills, Round, number};
use super::log::{Durable, Log};
use super::stateless::RATE;
use super::{PARTS, rows_for};
use crate::program::{Place, Running};

/// Kills of this pipeline at most, however many the others are given.
const KILLS_MAX: u32 = 20;

fn script(rows: u64) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (
            seq BIGINT, at TIMESTAMP AS (CAST(to_timestamp_micros(seq * 1000) AS TIMESTAMP)),
            WATERMARK FOR at AS at - INTERVAL '200 milliseconds'
         ) WITH (connector = 'generator', rows = {rows}, rate = {RATE}, splits = {PARTS});
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'parquet') AS
         SELECT seq, a.is_anomaly AS hit, a.score AS score FROM (
            SELECT seq, ANOMALY(seq * 7919 % 101 + CASE WHEN seq % 997 = 0 THEN 5000 ELSE 0 END,
                METHOD 'ewma', WARMUP 50, DEBOUNCE 10 ROWS) OVER (PARTITION BY seq % 7 ORDER BY at) AS a
            FROM made);"
    )
}

/// What models say that are used directly, by the number of the row.
fn expected(rows: i64) -> BTreeMap<i64, (bool, f64)> {
    let mut config = Config::new(Method::Ewma);
    (config.warmup_rows, config.debounce_rows) = (50, 10);
    let config = Arc::new(config);
    let model = |_| Model::new(Arc::clone(&config)).unwrap();
    let mut models: Vec<Model> = (0..7).map(model).collect();
    let verdict = |seq: i64| {
        let wild = if seq % 997 == 0 { 5000 } else { 0 };
        let value = (seq * 7919 % 101 + wild) as f64;
        let verdict = models[usize::try_from(seq % 7).unwrap()].observe(seq * 1000, &[value]);
        (seq, (verdict.is_anomaly, verdict.score))
    };
    (0..rows).map(verdict).collect()
}

/// The rows in the visible files; fails when one is there twice, or says what it should not.
fn check(folder: &Path, kill: u32, expected: &BTreeMap<i64, (bool, f64)>) -> usize {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(entry.path()).unwrap());
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            let hits = batch.column(1).as_boolean();
            let scores = batch.column(2).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let (seq, said) = (numbers.value(row), (hits.value(row), scores.value(row)));
                assert_eq!(expected.get(&seq), Some(&said), "kill {kill}: row {seq}");
                assert_eq!(
                    found.insert(seq, ()),
                    None,
                    "kill {kill}: row {seq} is there twice"
                );
            }
        }
    }
    found.len()
}

#[test]
fn verdicts_through_kills() {
    let mut kills = Kills::plan("anomaly", number("CHAOS_KILLS", 20).min(KILLS_MAX));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let rows = rows_for(kills.left);
    let expected = expected(rows as i64);
    assert!(expected.values().filter(|(hit, _)| *hit).count() > 5);
    let out = place.path().join("out");
    let mut look = |kill: u32, _: &Durable| {
        check(&out, kill, &expected);
    };
    if let Round::Undisturbed(running) = kills.round(&place, &script(rows), &log, &mut look) {
        Running::wait(running).ok();
    }
    let durable = log.durable();
    assert!(durable.over, "{durable:?}");
    assert_eq!(check(&out, kills.done, &expected), expected.len());
    log.check_chain();
    kills.tell(rows);
}
