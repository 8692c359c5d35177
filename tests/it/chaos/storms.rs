//! A store that is in a storm: it refuses calls, breaks connections, loses answers, and is away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{FLAGS, Kills, number};
use super::log::Log;
use super::stateless::{RATE, prefix, script};
use crate::program::{Place, RUN_TIME_MAX, Running};
use crate::servers::http::Call;
use crate::servers::minio::Minio;
use crate::servers::storm::{Fault, Storm};

/// The share of calls that something happens to.
const SHARE: f64 = 0.25;
/// How long the storm goes on, and then how long the store is away, in seconds, when `CHAOS_STORM`
/// and `CHAOS_OUTAGE` say nothing.
const SECONDS: (u32, u32) = (6, 8);
/// The longest wait for an epoch when all is well or well again, in a debug build on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How much more memory may be resident at the end of an outage than before it: rows wait in
/// writers, whose part of `--memory` is 64 MB.
const GROWTH_MAX: u64 = 96 << 20;

/// Flags of a run whose state is in the bucket.
fn flags(state: &str) -> Vec<&str> {
    let mut flags = FLAGS.to_vec();
    flags[1] = state;
    flags
}

/// The environment from which the state's store is opened.
fn variables<'a>(minio: &'a Minio, endpoint: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", &minio.key),
        ("AWS_SECRET_ACCESS_KEY", &minio.secret),
    ]
}

fn seconds(name: &str, default: u32) -> Duration {
    Duration::from_secs(number(name, default).into())
}

/// State and files are both in the store: manifests by conditional create, objects that are put and
/// copied, listings, reads, removals.
#[test]
fn store_in_a_storm_loses_and_doubles_nothing() {
    let (storm_time, outage) = (
        seconds("CHAOS_STORM", SECONDS.0),
        seconds("CHAOS_OUTAGE", SECONDS.1),
    );
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let kills = Kills::plan("storm", 0);
    let mut checker = Checker::start();
    let storm = Storm::start(minio.host(), kills.seed);
    let place = Place::new();
    // Enough that it goes on reading after the outage, on a busy machine too.
    let rows = RATE * (storm_time + outage).as_secs() + 14 * RATE;
    let endpoint = storm.endpoint();
    let sink = format!(
        "connector = 's3', path = 's3://{bucket}/out/', {}",
        minio.options_at(&endpoint)
    );
    let state = format!("s3://{bucket}/state");
    let log = Log::in_bucket(&minio, &bucket, "state");
    let mut running = place.start_with(
        &script(kills.seed, rows, &sink),
        &flags(&state),
        &variables(&minio, &endpoint),
    );
    running.until(WAIT_MAX, "second epoch", || log.newest() >= 2);
    storm.blow(SHARE);
    std::thread::sleep(storm_time);
    running.until(WAIT_MAX, "epoch in the storm", || log.newest() > 2);
    storm.blow(0.0);
    let before = running.resident();
    storm.go_away();
    std::thread::sleep(outage);
    let grown = running.resident().saturating_sub(before);
    storm.blow(SHARE / 5.0);
    storm.come_back();
    assert!(running.is_running(), "it has ended:\n{}", running.said());
    let newest = log.newest();
    let back = Instant::now();
    running.until(WAIT_MAX, "epoch after the outage", || log.newest() > newest);
    let resumed = back.elapsed();
    // What came in the meantime is read and written then.
    let ended = running.wait_for(RUN_TIME_MAX + 2 * (storm_time + outage));
    let ended = ended.ok();
    for word in ["has not answered for", "answers again"] {
        assert!(ended.err.contains(word), "no {word:?} in:\n{}", ended.err);
    }
    assert!(grown < GROWTH_MAX, "{grown} bytes more in the outage");
    let durable = log.durable();
    assert!(durable.over);
    log.check_chain();
    let output = Output::bucket(&minio, &bucket, "out");
    let found = checker.check(&output, 0, true, prefix(kills.seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
    println!(
        "storm: {rows} rows, none lost, none doubled; {storm_time:?} of storm, {outage:?} of outage, \
         next epoch {:.1} s after it, {} MB more resident; calls that met a fault: {}",
        resumed.as_secs_f64(),
        grown >> 20,
        storm.told()
    );
}

/// Files of more than one part: uploads are begun, sent, completed and aborted in the storm.
#[test]
fn uploads_in_a_storm_are_whole() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let kills = Kills::plan("uploads", 0);
    let mut checker = Checker::start();
    let storm = Storm::start(minio.host(), kills.seed);
    storm.blow(SHARE);
    let (place, rows) = (Place::new(), 60_000);
    let script = format!(
        "CREATE SOURCE made (seq BIGINT) WITH (connector = 'generator', rows = {rows});
         CREATE SINK out WITH (connector = 's3', path = 's3://{bucket}/out/', {},
            format = 'parquet', compression = 'none', row_group_rows = 5000, roll_size = '10MB') AS
         SELECT seq, repeat(md5(CAST(seq AS VARCHAR)), 20) AS filler FROM made;",
        minio.options_at(&storm.endpoint())
    );
    place
        .run(&script, &["--parallelism", "2", "--mode", "batch"])
        .ok();
    let question = json!({
        "check": "answer",
        "answer": format!(
            "SELECT id AS seq, repeat(md5(id::VARCHAR), 20) AS filler FROM range({rows}) AS n(id)"
        ),
        "due": "true",
    });
    let output = Output::bucket(&minio, &bucket, "out");
    let found = checker.check(&output, 0, true, question);
    assert_eq!((found.rows, found.complete), (rows, true));
    let met: BTreeSet<Call> = storm.faults().keys().map(|(call, _)| *call).collect();
    for call in [Call::Begin, Call::Part, Call::Complete] {
        assert!(met.contains(&call), "{call:?} met no fault: {met:?}");
    }
    println!(
        "uploads: {rows} rows; calls that met a fault: {}",
        storm.told()
    );
}

/// An outage that is longer than the retries: the job ends with a code, and another start goes on.
#[test]
fn outage_longer_than_the_retries_ends_the_job_and_loses_nothing() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let kills = Kills::plan("outage", 0);
    let mut checker = Checker::start();
    let storm = Storm::start(minio.host(), kills.seed);
    let (place, rows) = (Place::new(), 6 * RATE);
    let sink = format!(
        "connector = 's3', path = 's3://{bucket}/out/', retry_timeout = '3 seconds', {}",
        minio.options_at(&storm.endpoint())
    );
    let script = script(kills.seed, rows, &sink);
    let output = Output::bucket(&minio, &bucket, "out");
    let log = Log::open(&place.path().join("state"));
    let mut running: Running = place.start(&script, &FLAGS);
    running.until(WAIT_MAX, "second epoch", || log.newest() >= 2);
    storm.go_away();
    running
        .wait()
        .fails(1, "E0206", &[&bucket, "has not answered for"]);
    let asked = prefix(kills.seed, rows, &log.durable());
    checker.check(&output, 0, false, asked);
    storm.come_back();
    place.start(&script, &FLAGS).wait().ok();
    let durable = log.durable();
    assert!(durable.over);
    log.check_chain();
    let found = checker.check(&output, 0, true, prefix(kills.seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
}

/// The proxy itself: each fault is what it is called.
#[test]
fn storms_have_all_faults() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let storm = Storm::start(minio.host(), 1);
    storm.blow(1.0);
    let url = format!("{}/{bucket}", storm.endpoint());
    let mut answers = BTreeSet::new();
    for _ in 0..60 {
        answers.insert(ask(&url));
    }
    let all = ["200", "429", "503", "cut short", "nothing"];
    assert_eq!(answers.iter().map(String::as_str).collect::<Vec<_>>(), all);
    let faults: BTreeSet<Fault> = storm.faults().keys().map(|(_, fault)| *fault).collect();
    assert_eq!(faults.len(), 7, "{faults:?}");
}

/// Asks for the health of the server, and says what comes back.
fn ask(url: &str) -> String {
    use std::io::{Read as _, Write as _};
    let host = url.strip_prefix("http://").unwrap();
    let host = host.split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let asked = "GET /minio/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut text = Vec::new();
    let sent = stream.write_all(asked.as_bytes());
    let read = sent.and_then(|()| stream.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    match text.split_whitespace().nth(1) {
        Some(status) if text.contains("\r\n\r\n") => status.to_owned(),
        Some(_) => "cut short".to_owned(),
        None => {
            drop(read);
            "nothing".to_owned()
        }
    }
}
