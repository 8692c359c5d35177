//! Windows over a topic of Kafka, to Parquet on S3: a window that is visible is whole, there once,
//! and stays.

use std::time::Duration;

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{Kills, Round, planned};
use super::log::Log;
use super::topic::Writing;
use super::{PARTS, PIPELINES};
use crate::program::Place;
use crate::servers::kafka::Kafka;
use crate::servers::minio::Minio;

/// Rows after the last that matters: they move the watermark behind its window. A row takes a
/// millisecond of event time, and may be 300 ms behind its place.
const CLOSING: u64 = 3_000;
/// How long the last run may take to show all.
const END_MAX: Duration = Duration::from_secs(90);

/// The columns of [`Writing`]'s rows.
pub(crate) fn source(kafka: &Kafka, topic: &str) -> String {
    format!(
        "SET pipeline.name = '{topic}';
         SET pipeline.mode = 'streaming';
         SET pipeline.checkpoint_interval = '300 milliseconds';
         SET pipeline.checkpoints_retained = 20;
         CREATE SOURCE made (id BIGINT, part BIGINT, seq BIGINT, ts BIGINT, payload VARCHAR,
            h VARCHAR, at TIMESTAMP AS (to_timestamp_millis(ts)),
            WATERMARK FOR at AS at - INTERVAL '300 milliseconds')
         WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json');",
        kafka.bootstrap
    )
}

/// The answer over so many rows, in DuckDB's words; due are the windows that end early enough.
fn question(rows: u64) -> serde_json::Value {
    let closed = rows.saturating_sub(1_000);
    json!({
        "check": "answer",
        "answer": format!(
            "SELECT make_timestamp((1767225600000 + ms) // 1000 * 1000000) AS window_start,
                id % 10 AS k, count(*) AS n, sum(id)::BIGINT AS total, min(id) AS low, max(id) AS high
             FROM (SELECT id, id - (id * 7919) % 300 AS ms FROM range({rows}) AS numbers(id)) made
             GROUP BY ALL"
        ),
        "due": format!(
            "window_start < make_timestamp((1767225600000 + {closed}) // 1000 * 1000000)"
        ),
    })
}

#[test]
fn window_from_kafka_to_parquet_on_s3() {
    let mut kills = Kills::plan("window", planned(PIPELINES));
    let mut total = 0;
    for share in kills.shares() {
        kills.left = share;
        total += round(&mut kills);
    }
    kills.tell(total);
}

/// Kills one run until no kill is left; gives the rows of the topic.
fn round(kills: &mut Kills) -> u64 {
    let (minio, kafka) = (Minio::shared(), Kafka::shared());
    let mut checker = Checker::start();
    let (bucket, topic) = (minio.bucket(), kafka.topic("windows", PARTS as i32));
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let output = Output::bucket(&minio, &bucket, "out");
    let script = format!(
        "{} CREATE SINK out WITH (connector = 's3', path = 's3://{bucket}/out/', {},
            format = 'parquet') AS
         SELECT window_start, k, count(*) AS n, sum(id) AS total, min(id) AS low, max(id) AS high
         FROM TUMBLE((SELECT id, at, id % 10 AS k FROM made), at, INTERVAL '1 second')
         GROUP BY window_start, window_end, k;",
        source(kafka, &topic),
        minio.options()
    );
    let writing = Writing::start(kafka, &topic, kills.seed);
    let mut look = |kill: u32, _: &_| {
        checker.check(&output, kill, false, question(writing.sent()));
    };
    let Round::Undisturbed(mut running) = kills.round(&place, &script, &log, &mut look) else {
        panic!("a pipeline without end has ended");
    };
    let rows = writing.finish(CLOSING);
    let started = std::time::Instant::now();
    while !checker
        .check(&output, kills.done, false, question(rows))
        .complete
    {
        assert!(running.is_running(), "it has ended:\n{}", running.said());
        assert!(started.elapsed() < END_MAX, "rows are missing");
    }
    running.signal("INT");
    running.wait().ok();
    let found = checker.check(&output, kills.done, true, question(rows));
    assert!(found.complete);
    log.check_chain();
    log.check_garbage();
    checker.check_clean(&output);
    rows
}
