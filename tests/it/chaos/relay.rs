//! Kafka to Kafka, exactly once, for a reader of committed records.

use std::time::{Duration, Instant};

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{Kills, Round, planned};
use super::log::{Durable, Log, per_part};
use super::topic::{Committed, Writing};
use super::{PARTS, PIPELINES};
use crate::program::Place;
use crate::servers::kafka::Kafka;

/// Partitions of the topic that is written.
const OUTPUTS: usize = 2;
/// How long the last run may take to show all.
const END_MAX: Duration = Duration::from_secs(90);

/// What the judge is asked: the prefix of the topic that a log implies.
fn prefix(seed: u64, topic: &str, durable: &Durable) -> serde_json::Value {
    let name = |part| format!("{topic}/{part}");
    json!({
        "check": "rows", "seed": seed, "parts": PARTS,
        "low": per_part(&durable.low, PARTS, name, 0),
        "high": per_part(&durable.high, PARTS, name, 0),
    })
}

#[test]
fn kafka_to_kafka_exactly_once() {
    let mut kills = Kills::plan("relay", planned(PIPELINES));
    let mut total = 0;
    for share in kills.shares() {
        kills.left = share;
        total += round(&mut kills);
    }
    kills.tell(total);
}

/// Kills one run until no kill is left; gives the rows of the topic.
fn round(kills: &mut Kills) -> u64 {
    let kafka = Kafka::shared();
    let seed = kills.seed;
    let mut checker = Checker::start();
    let from = kafka.topic("relay-from", PARTS as i32);
    let to = kafka.topic("relay-to", OUTPUTS as i32);
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let seen = place.path().join("seen");
    let output = Output::folder(&seen);
    let script = format!(
        "{} CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{to}',
            format = 'json', delivery = 'exactly_once') AS
         SELECT part, seq, payload, h FROM made;",
        super::window::source(kafka, &from),
        kafka.bootstrap
    );
    let writing = Writing::start(kafka, &from, seed);
    let mut committed = Committed::new(kafka, &to, OUTPUTS, seen);
    let mut look = |kill: u32, durable: &Durable| {
        committed.read_on();
        checker.check(&output, kill, false, prefix(seed, &from, durable));
    };
    let Round::Undisturbed(mut running) = kills.round(&place, &script, &log, &mut look) else {
        panic!("a pipeline without end has ended");
    };
    let rows = writing.finish(0);
    let started = Instant::now();
    while committed.rows < rows {
        assert!(running.is_running(), "it has ended:\n{}", running.said());
        assert!(started.elapsed() < END_MAX, "rows are missing");
        committed.read_on();
    }
    running.signal("INT");
    running.wait().ok();
    committed.read_on();
    let last = prefix(seed, &from, &log.durable());
    let found = checker.check(&output, kills.done, true, last);
    assert_eq!((found.rows, found.complete), (rows, true));
    log.check_chain();
    log.check_garbage();
    rows
}
