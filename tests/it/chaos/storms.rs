//! A store that is in a storm: connections reset at random, answers lost, and an outage. State and
//! files are both there.

use std::time::Duration;

use super::checker::{Checker, Output};
use super::kills::{FLAGS, Kills};
use super::log::Log;
use super::stateless::{prefix, script};
use crate::program::Place;
use crate::servers::minio::Minio;
use crate::servers::proxy::Proxy;

/// Times that all connections are broken, wherever they are in a call.
const RESETS: u32 = 20;
/// How long the store is away after that.
const OUTAGE: Duration = Duration::from_secs(5);

#[test]
fn store_in_a_storm_loses_and_doubles_nothing() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let proxy = Proxy::start(minio.host());
    let mut kills = Kills::plan("storm", 0);
    let mut checker = Checker::start();
    let place = Place::new();
    let (seed, rows) = (kills.seed, 60_000);
    let sink = format!(
        "connector = 's3', path = 's3://{bucket}/out/', {}",
        minio.options_at(&proxy.endpoint())
    );
    let mut running = place.start(&script(seed, rows, &sink), &FLAGS);
    let log = Log::open(&place.path().join("state"));
    running.until(Duration::from_secs(60), "second epoch", || {
        log.newest() >= 2
    });
    for _ in 0..RESETS {
        // What was asked is done: only the answer is lost. MinIO itself loses the parts of an upload
        // when the connection breaks while it completes it (docs/limits.md).
        proxy.lose_answers();
        proxy.restore();
        std::thread::sleep(kills.moment(Duration::from_millis(200)));
    }
    proxy.lose_answers();
    std::thread::sleep(OUTAGE);
    proxy.restore();
    running.wait().ok();
    let durable = log.durable();
    assert!(durable.over);
    let output = Output::bucket(&minio, &bucket, "out");
    let found = checker.check(&output, 0, true, prefix(seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
}
