//! Rows through to Parquet on S3: after every kill exactly the prefix that the log implies.

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{Kills, Round, planned};
use super::log::{Durable, Log, per_part};
use super::{PARTS, PIPELINES};
use crate::program::Place;
use crate::servers::minio::Minio;

/// Rows per second: few enough that a run lasts.
pub(crate) const RATE: u64 = 5_000;
/// Rows between two kills, about.
const ROWS_PER_KILL: u64 = RATE / 2;
/// Rows of one round at most, so that the judge has not too much to read after each kill.
const ROWS_MAX: u64 = 200_000;

/// Rows of a round with so many kills to come.
pub(crate) fn rows_for(kills: u32) -> u64 {
    (u64::from(kills.max(1)) * ROWS_PER_KILL).min(ROWS_MAX)
}

/// A stream of so many numbers, with checkpoints.
pub(crate) fn source(rows: u64) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (seq BIGINT) WITH (connector = 'generator', rows = {rows},
            rate = {RATE}, splits = {PARTS});"
    )
}

/// Rows of a generator with what identifies and checks them, into a sink.
pub(crate) fn script(seed: u64, rows: u64, sink: &str) -> String {
    format!(
        "{} CREATE SINK out WITH ({sink}, format = 'parquet') AS
         SELECT part, seq, payload, md5(concat(part, ':', seq, ':', payload)) AS h
         FROM (SELECT seq % {PARTS} AS part, seq / {PARTS} AS seq,
               md5(concat('{seed}:', seq)) AS payload FROM made) numbered;",
        source(rows)
    )
}

/// What the judge is asked: the prefix that a log implies, of so many rows.
pub(crate) fn prefix(seed: u64, rows: u64, durable: &Durable) -> serde_json::Value {
    let name = |part| format!("{part}/{PARTS}");
    json!({
        "check": "rows", "seed": seed, "parts": PARTS,
        "low": per_part(&durable.low, PARTS, name, rows),
        "high": per_part(&durable.high, PARTS, name, rows),
    })
}

#[test]
fn stateless_to_parquet_on_s3() {
    let minio = Minio::shared();
    let mut kills = Kills::plan("stateless", planned(PIPELINES));
    let mut checker = Checker::start();
    let mut total = 0;
    while kills.left > 0 {
        let bucket = minio.bucket();
        let (seed, rows) = (kills.seed, rows_for(kills.left));
        let place = Place::new();
        let log = Log::open(&place.path().join("state"));
        let output = Output::bucket(&minio, &bucket, "out");
        let sink = format!(
            "connector = 's3', path = 's3://{bucket}/out/', {}",
            minio.options()
        );
        let mut look = |kill: u32, durable: &Durable| {
            checker.check(&output, kill, false, prefix(seed, rows, durable));
        };
        let script = script(seed, rows, &sink);
        if let Round::Undisturbed(running) = kills.round(&place, &script, &log, &mut look) {
            running.wait().ok();
        }
        let durable = log.durable();
        assert!(durable.over, "{durable:?}");
        let found = checker.check(&output, kills.done, true, prefix(seed, rows, &durable));
        assert_eq!((found.rows, found.complete), (rows, true));
        log.check_chain();
        log.check_garbage();
        checker.check_clean(&output);
        total += rows;
    }
    kills.tell(total);
}
