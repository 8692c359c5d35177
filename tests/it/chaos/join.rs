//! An interval join to Delta: what is visible is part of the answer, and in the end all of it.

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{Kills, Round, planned};
use super::log::Log;
use super::stateless::rows_for;
use super::{PARTS, PIPELINES};
use crate::program::Place;
use crate::servers::minio::Minio;

/// Rows per second of each side.
const RATE: u32 = 2_500;

/// Rows in event time that are up to 300 ms behind their place.
fn source(name: &str, rows: u64) -> String {
    format!(
        "CREATE SOURCE {name} (seq BIGINT, at TIMESTAMP AS
            (to_timestamp_millis(1767225600000 + seq - (seq * 7919) % 300)),
            WATERMARK FOR at AS at - INTERVAL '300 milliseconds')
         WITH (connector = 'generator', rows = {rows}, rate = {RATE}, splits = {PARTS});"
    )
}

fn script(rows: u64, sink: &str) -> String {
    format!(
        "SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         {} {}
         CREATE SINK out WITH ({sink}) AS
         SELECT a.seq AS a, b.seq AS b FROM a JOIN b ON a.seq % 20 = b.seq % 20 AND b.at BETWEEN
            a.at - INTERVAL '50 milliseconds' AND a.at + INTERVAL '50 milliseconds';",
        source("a", rows),
        source("b", rows)
    )
}

/// The answer: rows whose numbers are alike modulo 20 and whose times are near. No row is 400 places
/// from one that is near in time, so that only those are compared.
fn question(rows: u64) -> serde_json::Value {
    json!({
        "check": "answer",
        "answer": format!(
            "WITH made AS (SELECT id, id - (id * 7919) % 300 AS ms FROM range({rows}) AS n(id)),
                  near AS (SELECT id AS a, ms, id + far AS b FROM made, range(-400, 401, 20) AS d(far))
             SELECT near.a, near.b FROM near JOIN made ON near.b = made.id
             WHERE made.ms BETWEEN near.ms - 50 AND near.ms + 50"
        ),
        "due": "true",
    })
}

/// Where a table is, and what the judge reads of it.
fn table(minio: &Minio, place: &Place, on_s3: bool) -> (String, Output) {
    if on_s3 {
        let bucket = minio.bucket();
        let options = minio.options();
        let sink = format!("connector = 'delta', path = 's3://{bucket}/out', {options}");
        return (sink, Output::delta_in(minio, &bucket, "out"));
    }
    let output = Output::delta(&place.path().join("out"));
    ("connector = 'delta', path = 'out'".to_owned(), output)
}

#[test]
fn interval_join_to_delta() {
    let minio = Minio::shared();
    let mut kills = Kills::plan("join", planned(PIPELINES));
    let mut checker = Checker::start();
    let (all, mut total) = (kills.left, 0);
    for (on_s3, share) in [(true, all.div_ceil(2)), (false, all / 2)] {
        kills.left = share;
        while kills.left > 0 {
            total += round(&mut kills, &mut checker, &minio, on_s3);
        }
    }
    kills.tell(total);
}

/// Kills one run until it is over; gives the rows that it has read.
fn round(kills: &mut Kills, checker: &mut Checker, minio: &Minio, on_s3: bool) -> u64 {
    let rows = rows_for(kills.left);
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let (sink, output) = table(minio, &place, on_s3);
    let script = script(rows, &sink);
    let mut look = |kill: u32, _: &_| {
        checker.check(&output, kill, false, question(rows));
    };
    if let Round::Undisturbed(running) = kills.round(&place, &script, &log, &mut look) {
        running.wait().ok();
    }
    let found = checker.check(&output, kills.done, true, question(rows));
    assert!(found.complete);
    log.check_chain();
    log.check_garbage();
    checker.check_clean(&output);
    2 * rows
}
