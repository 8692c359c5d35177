//! What moves time forward in the whole program: partitions without rows, partitions that are far
//! ahead, and the clock.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use super::rig::{PATIENCE, Put, produce, value};
use crate::program::{Place, Running};
use crate::servers::kafka::Kafka;

/// Checkpoints after which what was going to be read has been read.
const EPOCHS: u64 = 5;

/// A pipeline over a topic with two partitions.
struct Pipeline<'a> {
    kafka: &'a Kafka,
    topic: String,
    place: Place,
    script: String,
}

impl<'a> Pipeline<'a> {
    /// `#` in the statements stands for where the source `s` is.
    fn new(name: &str, statements: &str) -> Self {
        let kafka = Kafka::shared();
        let topic = kafka.topic(name, 2);
        let options = format!(
            "WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}')",
            kafka.bootstrap
        );
        let script = format!(
            "SET pipeline.mode = 'streaming';\nSET pipeline.checkpoint_interval = '100ms';\n{}",
            statements.replace('#', &options)
        );
        Self {
            kafka,
            topic,
            place: Place::new(),
            script,
        }
    }

    fn start(&self, flags: &[&str]) -> Running {
        let mut all = vec!["--state", "state", "--summary", "json"];
        all.extend(flags);
        self.place.start(&self.script, &all)
    }

    /// Puts rows with these numbers and seconds after midnight into a partition.
    fn put(&self, partition: i32, rows: impl IntoIterator<Item = (i64, i64)>) {
        let rows = rows.into_iter().map(|(id, second)| {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            Put {
                partition,
                ..value(format!(
                    r#"{{"id":{id},"ts":"2026-01-01T{hour:02}:{minute:02}:{second:02}"}}"#
                ))
            }
        });
        let rows: Vec<Put> = rows.collect();
        produce(&self.kafka.client(), &self.topic, &rows);
    }

    /// What a sink shows.
    fn shown(&self, sink: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for file in self.place.files(sink) {
            if file.starts_with('_') || !file.ends_with(".json") {
                continue;
            }
            let text = std::fs::read_to_string(self.place.path().join(sink).join(file)).unwrap();
            rows.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        rows
    }

    fn sum(&self, sink: &str, column: &str) -> i64 {
        let rows = self.shown(sink);
        rows.iter().map(|row| row[column].as_i64().unwrap()).sum()
    }

    /// Waits for some more checkpoints.
    fn pass_epochs(&self, running: &mut Running) {
        let newest = || {
            let files = self.place.files("state/checkpoints/manifests");
            let numbers = files.iter().filter_map(|file| {
                let digits: String = file.chars().filter(char::is_ascii_digit).collect();
                digits.parse::<u64>().ok()
            });
            numbers.max().unwrap_or(0)
        };
        let before = newest();
        running.until(PATIENCE, "checkpoints", || newest() >= before + EPOCHS);
    }
}

fn stop(running: Running) -> Value {
    running.signal("INT");
    let summary = running.wait().ok().summary();
    assert_eq!(summary["adds_up"], true, "{summary}");
    summary
}

const COUNTS: &str = "
    CREATE SOURCE s (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts) #;
    CREATE SINK copy WITH (connector = 'file', path = 'copy', format = 'json') AS SELECT id FROM s;
    CREATE SINK counts WITH (connector = 'file', path = 'counts', format = 'json') AS
    SELECT window_start, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '10 seconds')
    GROUP BY window_start, window_end;";

#[test]
fn a_partition_without_rows_holds_the_watermark_back() {
    let pipeline = Pipeline::new("silent", COUNTS);
    pipeline.put(0, (0..100).map(|id| (id, id)));
    let mut running = pipeline.start(&[]);
    running.until(PATIENCE, "all rows", || pipeline.shown("copy").len() == 100);
    pipeline.pass_epochs(&mut running);
    assert_eq!(pipeline.shown("counts"), [Value::Null; 0]);
    // It speaks: windows close as far as it has come.
    pipeline.put(1, [(500, 50)]);
    running.until(PATIENCE, "five windows", || {
        pipeline.sum("counts", "n") == 50
    });
    pipeline.pass_epochs(&mut running);
    assert_eq!(pipeline.shown("counts").len(), 5);
    stop(running);
}

#[test]
fn a_partition_that_is_idle_does_not() {
    for parallelism in ["1", "2"] {
        let script = format!("SET pipeline.idle_timeout = '300ms';{COUNTS}");
        let pipeline = Pipeline::new("idle", &script);
        pipeline.put(0, (0..100).map(|id| (id, id)));
        let mut running = pipeline.start(&["--parallelism", parallelism]);
        running.until(PATIENCE, "nine windows", || {
            pipeline.sum("counts", "n") == 90
        });
        // What it says then may be late, or not yet.
        pipeline.put(1, [(500, 5), (501, 95)]);
        running.until(PATIENCE, "its rows", || pipeline.shown("copy").len() == 102);
        pipeline.put(0, [(100, 120)]);
        running.until(PATIENCE, "ten windows", || {
            pipeline.sum("counts", "n") == 101
        });
        let summary = stop(running);
        assert_eq!(summary["sources"][0]["late"], 1, "{summary}");
        let letters = &summary["dead_letters"][0];
        assert_eq!(
            (&letters["reason"], &letters["rows"]),
            (&"late".into(), &1.into())
        );
        assert_eq!(pipeline.shown("counts").len(), 10);
    }
}

/// Rows that a partition may be read ahead: those of a batch are not taken apart.
const BATCH: i64 = 10;

#[test]
fn a_partition_that_is_far_ahead_waits() {
    for (drift, parallelism) in [(None, "1"), (Some(60), "1"), (Some(60), "2")] {
        let setting = drift.map(|drift| format!("SET pipeline.max_drift = '{drift} seconds';"));
        let script = format!(
            "{} CREATE SOURCE s (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts) #;
             CREATE SINK copy WITH (connector = 'file', path = 'copy', format = 'json')
             AS SELECT id FROM s;",
            setting.unwrap_or_default()
        );
        let pipeline = Pipeline::new("ahead", &script);
        // A row a second, and a partition that is far behind.
        pipeline.put(0, (0..2_000).map(|id| (id, id)));
        pipeline.put(1, [(100_000, 0)]);
        let flags = [
            "--parallelism",
            parallelism,
            "--batch-rows",
            &BATCH.to_string(),
        ];
        let mut running = pipeline.start(&flags);
        let fast = || {
            let rows = pipeline.shown("copy");
            let ids = rows.iter().map(|row| row["id"].as_i64().unwrap());
            let mut ids: Vec<i64> = ids.filter(|id| *id < 100_000).collect();
            ids.sort_unstable();
            ids
        };
        if let Some(drift) = drift {
            for slow in [0, 1_000] {
                pipeline.put(1, [(100_000 + slow, slow)]);
                let enough = usize::try_from(slow + drift).unwrap();
                running.until(PATIENCE, "rows within the drift", || fast().len() >= enough);
                pipeline.pass_epochs(&mut running);
                let read = i64::try_from(fast().len()).unwrap();
                assert!(
                    read <= slow + drift + BATCH,
                    "{read} seconds are read, but the other is at {slow}"
                );
            }
            pipeline.put(1, [(200_000, 10_000)]);
        }
        running.until(PATIENCE, "all rows", || fast().len() >= 2_000);
        stop(running);
        assert_eq!(fast(), (0..2_000).collect::<Vec<_>>());
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

#[test]
fn windows_of_the_clock_close_by_themselves_and_count_each_row_once() {
    let begin = now();
    let pipeline = Pipeline::new(
        "clock",
        "CREATE SOURCE s (id BIGINT, pt TIMESTAMP AS PROCTIME()) #;
         CREATE SINK counts WITH (connector = 'file', path = 'counts', format = 'json') AS
         SELECT to_unixtime(window_start) AS start, to_unixtime(window_end) AS stop, count(*) AS n
         FROM TUMBLE(s, pt, INTERVAL '1 second') GROUP BY window_start, window_end;",
    );
    let put = |count| pipeline.put(0, (0..count).map(|id| (id, 0)));
    let until = |running: &mut Running, rows| {
        running.until(PATIENCE, "all counts", || {
            pipeline.sum("counts", "n") >= rows
        });
    };
    put(100);
    let mut running = pipeline.start(&[]);
    // No row comes after these: it is the clock that closes their windows.
    until(&mut running, 100);
    put(50);
    running.kill();
    let mut running = pipeline.start(&[]);
    put(25);
    until(&mut running, 175);
    // Those of a window that is open when it stops are in the checkpoint.
    put(10);
    stop(running);
    let mut running = pipeline.start(&[]);
    put(5);
    until(&mut running, 190);
    let summary = stop(running);
    assert_eq!(summary["sources"][0]["late"], 0, "{summary}");
    let mut windows = BTreeMap::new();
    for row in pipeline.shown("counts") {
        let [start, stop, n] = ["start", "stop", "n"].map(|column| row[column].as_i64().unwrap());
        assert_eq!(stop, start + 1);
        assert!((begin..=now()).contains(&start), "{row} since {begin}");
        assert_eq!(windows.insert(start, n), None, "{row} is there twice");
    }
    assert_eq!(windows.values().sum::<i64>(), 190);
}
