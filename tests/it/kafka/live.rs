//! The whole program from topic to topic while its cluster changes: a broker that dies, one that
//! freezes for longer than a transaction lives, partitions that are added.

use std::time::{Duration, Instant};

use rdkafka::Message as _;

use super::rig::{PATIENCE, Put, consume, produce, value};
use crate::program::{Place, Running};
use crate::servers::kafka::Kafka;

/// How long a frozen broker answers nothing: more than the transactions of the sink live.
const FROZEN: Duration = Duration::from_secs(3);

struct Pipeline<'a> {
    kafka: &'a Kafka,
    from: String,
    to: String,
    place: Place,
    script: String,
}

impl<'a> Pipeline<'a> {
    /// Rows of one topic into another; the sink's delivery is what it is when nothing is said.
    fn new(kafka: &'a Kafka, source: &str, sink: &str) -> Self {
        let (from, to) = (kafka.topic("live-in", 1), kafka.topic("live-out", 1));
        let at = &kafka.bootstrap;
        let script = format!(
            "SET pipeline.checkpoint_interval = '200ms';\n\
             SET pipeline.mode = 'streaming';\n\
             CREATE SOURCE s (id BIGINT) WITH (connector = 'kafka', bootstrap_servers = '{at}', \
             topic = '{from}', discovery_interval = '200ms'{source});\n\
             CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '{at}', \
             topic = '{to}'{sink}) AS SELECT id FROM s;\n"
        );
        let place = Place::new();
        Self {
            kafka,
            from,
            to,
            place,
            script,
        }
    }

    fn start(&self) -> Running {
        self.place.start(&self.script, &["--state", "state"])
    }

    fn put(&self, partition: i32, ids: std::ops::Range<u32>) {
        let rows = ids.map(|id| Put {
            partition,
            ..value(format!(r#"{{"id":{id}}}"#))
        });
        let rows: Vec<Put> = rows.collect();
        produce(&self.kafka.client(), &self.from, &rows);
    }

    /// The numbers that a reader of committed records finds, in the order of the topic.
    fn read(&self) -> Vec<u32> {
        let number = |value: &[u8]| {
            let row: serde_json::Value = serde_json::from_slice(value).unwrap();
            u32::try_from(row["id"].as_u64().unwrap()).unwrap()
        };
        consume(&self.kafka.client(), &self.to)
            .iter()
            .map(|message| number(message.payload().unwrap()))
            .collect()
    }

    fn until(&self, running: &mut Running, rows: usize) {
        let what = format!("{rows} rows");
        running.until(PATIENCE, &what, || self.read().len() >= rows);
    }

    fn stop(&self, running: Running) -> String {
        running.signal("INT");
        running.wait().ok().err
    }
}

/// Waits until the program has said something.
fn said(running: &mut Running, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !running.said().contains(words) {
        let said = running.said();
        assert!(running.is_running(), "it has ended:\n{said}");
        assert!(Instant::now() < deadline, "no {words:?} in:\n{said}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_broker_that_dies_and_one_that_freezes_lose_and_repeat_nothing() {
    let kafka = Kafka::start();
    let pipeline = Pipeline::new(&kafka, "", ", transaction_timeout = '1 second'");
    pipeline.put(0, 0..1_000);
    let mut running = pipeline.start();
    pipeline.until(&mut running, 1_000);

    kafka.down();
    said(&mut running, "trying again");
    kafka.up();
    pipeline.put(0, 1_000..2_000);
    pipeline.until(&mut running, 2_000);

    // Each time in another moment of an epoch.
    for round in 2..5 {
        pipeline.put(0, round * 1_000..round * 1_000 + 1_000);
        std::thread::sleep(Duration::from_millis(u64::from(round) * 60));
        kafka.freeze();
        std::thread::sleep(FROZEN);
        kafka.thaw();
        pipeline.until(&mut running, round as usize * 1_000 + 1_000);
    }
    let said = pipeline.stop(running);
    assert!(said.contains("kafka answers again"), "{said}");
    assert_eq!(pipeline.read(), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_program_that_is_killed_writes_each_row_once_when_nothing_is_said() {
    let kafka = Kafka::shared();
    let pipeline = Pipeline::new(kafka, "", "");
    let mut running = pipeline.start();
    for round in 0..4 {
        pipeline.put(0, round * 1_000..round * 1_000 + 1_000);
        pipeline.until(&mut running, round as usize * 1_000 + 1);
        pipeline.put(0, round * 1_000 + 900_000..round * 1_000 + 900_500);
        running.kill();
        running = pipeline.start();
    }
    pipeline.until(&mut running, 6_000);
    pipeline.stop(running);
    let rows = (0..4).flat_map(|round| {
        let first = round * 1_000;
        (first..first + 1_000).chain(900_000 + first..900_500 + first)
    });
    assert_eq!(pipeline.read(), rows.collect::<Vec<_>>());
}

#[test]
fn partitions_that_are_added_are_read_whether_it_runs_or_not() {
    let kafka = Kafka::shared();
    let pipeline = Pipeline::new(kafka, ", start = 'latest'", "");
    // What is there before is not asked for.
    pipeline.put(0, 900..910);
    let mut running = pipeline.start();
    let epochs = || pipeline.place.files("state/checkpoints/manifests").len();
    running.until(PATIENCE, "a checkpoint", || epochs() > 2);
    pipeline.put(0, 0..10);
    pipeline.until(&mut running, 10);
    kafka.grow(&pipeline.from, 2);
    pipeline.put(1, 10..20);
    pipeline.until(&mut running, 20);
    pipeline.stop(running);

    // New since: a partition with records, and more records of the old ones.
    kafka.grow(&pipeline.from, 4);
    pipeline.put(2, 20..30);
    pipeline.put(0, 30..40);
    let mut running = pipeline.start();
    pipeline.until(&mut running, 40);
    pipeline.put(3, 40..50);
    pipeline.until(&mut running, 50);
    pipeline.stop(running);
    let mut read = pipeline.read();
    read.sort_unstable();
    assert_eq!(read, (0..50).collect::<Vec<_>>());
}
