//! A stream that watches a folder: new files within a second, windows as the watermark passes, and
//! an end that loses nothing.

use std::time::Duration;

use crate::checker;
use crate::program::{Place, Running};
use crate::servers::minio::Minio;
use crate::servers::proxy::Proxy;

/// How long a start may take in a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);

const SOURCE: &str = "CREATE SOURCE clicks (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
    WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = 'true', on_error = 'fail');\n";

/// Rows with ids and seconds after midnight.
fn csv(rows: impl IntoIterator<Item = (i64, i64)>) -> String {
    let rows = rows.into_iter().map(|(id, second)| {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{id},2026-01-01 {hour:02}:{minute:02}:{second:02}\n")
    });
    format!("id,ts\n{}", rows.collect::<String>())
}

fn start(place: &Place, statements: &str, flags: &[&str]) -> Running {
    let mut all = vec!["--mode", "streaming"];
    all.extend(flags);
    place.start(&format!("{SOURCE}{statements}"), &all)
}

fn visible(place: &Place) -> usize {
    place
        .files("out")
        .iter()
        .filter(|file| file.ends_with(".parquet"))
        .count()
}

#[test]
fn new_files_are_seen_within_a_second() {
    let place = Place::new();
    place.put("in/0.csv", csv([(100, 0)]));
    let script = "CREATE SINK p WITH (connector = 'print') AS SELECT id FROM clicks;";
    let mut running = start(&place, script, &[]);
    wait_for(&mut running, "100", START);
    let mut slowest = Duration::ZERO;
    for number in 1..=5 {
        place.put(&format!("in/{number}.csv"), csv([(100 + number, number)]));
        let took = wait_for(&mut running, &(100 + number).to_string(), START);
        slowest = slowest.max(took);
    }
    running.signal("INT");
    running.wait().ok();
    println!("slowest pick-up: {slowest:?}");
    assert!(
        slowest < Duration::from_secs(1),
        "a new file took {slowest:?}"
    );
}

/// Waits until a word stands in what the program says.
fn wait_for(running: &mut Running, word: &str, limit: Duration) -> Duration {
    let begin = std::time::Instant::now();
    while !running.said().contains(word) {
        assert!(running.is_running(), "ended:\n{}", running.said());
        assert!(
            begin.elapsed() < limit,
            "no {word:?} within {limit:?}:\n{}",
            running.said()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    begin.elapsed()
}

const PER_MINUTE: &str =
    "CREATE SINK minutes WITH (connector = 'file', path = 'out', format = 'parquet',
        roll_interval = '100ms') AS
    SELECT window_start AS minute, count(*) AS clicks, sum(id) AS ids
    FROM TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_start, window_end;";

/// A window comes out when a row after its end has come, and not before.
#[test]
fn windows_close_as_the_watermark_passes() {
    for parallelism in ["1", "3"] {
        let place = Place::new();
        place.put("in/0.csv", csv((0..90).map(|second| (1, second))));
        let mut running = start(&place, PER_MINUTE, &["--parallelism", parallelism]);
        running.until(START, "first minute", || visible(&place) > 0);
        for found in checker::read(&place.path().join("out")) {
            assert_eq!(
                (found.rows(), found.sum("clicks")),
                (1, 60.0),
                "{}",
                found.reader
            );
        }
        let before = visible(&place);
        place.put("in/1.csv", csv((90..121).map(|second| (1, second))));
        running.until(START, "second minute", || visible(&place) > before);
        for found in checker::read(&place.path().join("out")) {
            assert_eq!(
                (found.rows(), found.sum("clicks")),
                (2, 120.0),
                "{}",
                found.reader
            );
            assert_eq!(found.max("minute"), "2026-01-01 00:01:00");
        }
        running.signal("INT");
        running.wait().ok();
    }
}

/// Ctrl-C takes a checkpoint: what was read is written, open windows are kept, and the next start
/// goes on from there.
#[test]
fn interrupt_takes_a_checkpoint_and_the_next_start_goes_on() {
    let place = Place::new();
    let total: i64 = 10_000;
    for file in 0..10 {
        let ids = file * 1_000..(file + 1) * 1_000;
        place.put(&format!("in/{file}.csv"), csv(ids.map(|id| (id, id))));
    }
    let copy = "CREATE SINK all_rows WITH (connector = 'file', path = 'copy', format = 'parquet',
        roll_interval = '100ms') AS SELECT id, ts FROM clicks;";
    let interval = "SET pipeline.checkpoint_interval = '200ms';";
    let script = format!("{interval}{PER_MINUTE}\n{copy}");
    let flags = ["--summary", "json", "--parallelism", "2"];
    let interrupt = || {
        let mut running = start(&place, &script, &flags);
        running.until(START, "first files", || {
            visible(&place) > 0 && !place.files("copy").is_empty()
        });
        running.signal("INT");
        let summary = running.wait().ok().summary();
        assert_eq!(summary["ending"], "stopped", "{summary}");
        assert_eq!(summary["adds_up"], true, "{summary}");
        summary
    };
    let mut read = 0;
    for _ in 0..10 {
        read += interrupt()["rows_in"].as_u64().unwrap();
        for copied in checker::read(&place.path().join("copy")) {
            assert_eq!(copied.rows(), read, "{}", copied.reader);
        }
        if read == total as u64 {
            break;
        }
    }
    assert_eq!(read, total as u64);
    // A row far ahead closes the windows that were open through all of it.
    place.put("in/last.csv", csv([(total, 80_000)]));
    let mut running = start(&place, &script, &flags);
    let counted = || checker::read(&place.path().join("out"));
    running.until(START, "the last window", || {
        counted()
            .iter()
            .all(|found| found.sum("clicks") as i64 == total)
    });
    running.signal("INT");
    running.wait().ok();
    let halves: Vec<String> = ["out", "copy"]
        .iter()
        .flat_map(|folder| place.files(folder))
        .filter(|file| !file.ends_with(".parquet"))
        .collect();
    assert!(halves.is_empty(), "left behind: {halves:?}");
}

/// A second Ctrl-C stops a drain that cannot end, here because the store is away.
#[test]
fn second_interrupt_stops() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let proxy = Proxy::start(minio.host());
    let place = Place::new();
    place.put("in/0.csv", csv((0..100).map(|id| (id, id))));
    let script = format!(
        "CREATE SINK s WITH (connector = 's3', path = 's3://{bucket}/out/', format = 'parquet', \
         roll_interval = '1 hour', {}) AS SELECT id, ts FROM clicks;
         CREATE SINK p WITH (connector = 'print') AS SELECT id + 1000 AS seen FROM clicks;",
        minio.options_at(&proxy.endpoint())
    );
    let mut running = start(&place, &script, &[]);
    wait_for(&mut running, "1099", START);
    proxy.cut();
    running.signal("INT");
    running.until(START, "attempt to write", || proxy.refused() > 0);
    assert!(running.is_running());
    let begin = std::time::Instant::now();
    running.signal("INT");
    let ended = running.wait();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "a second interrupt took {:?}",
        begin.elapsed()
    );
    assert_ne!(ended.code, 0, "{}", ended.err);
    let left = crate::property::read_back(&minio.store(&bucket), "out");
    assert!(left.is_empty());
}

/// A streaming run of input that ends gives the rows of a batch run, and ends.
#[test]
fn streaming_over_files_without_watch_ends() {
    let place = Place::new();
    place.put("in/0.csv", csv((0..200).map(|id| (id, id))));
    let script = format!("{SOURCE}{PER_MINUTE}").replace(", watch = 'true'", "");
    place.run(&script, &["--mode", "streaming"]).ok();
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(
            (found.rows(), found.sum("clicks")),
            (4, 200.0),
            "{}",
            found.reader
        );
    }
}

/// Rows behind the watermark of a closed window are counted, not lost silently.
#[test]
fn late_rows_are_counted() {
    let place = Place::new();
    place.put("in/0.csv", csv([(1, 10), (2, 200), (3, 20), (4, 210)]));
    let script = format!("{SOURCE}{PER_MINUTE}").replace(", watch = 'true'", "");
    let flags = [
        "--mode",
        "streaming",
        "--summary",
        "json",
        "--parallelism",
        "1",
        "--batch-rows",
        "1",
    ];
    let summary = place.run(&script, &flags).ok().summary();
    assert_eq!(summary["sources"][0]["late"].as_u64(), Some(1), "{summary}");
    assert_eq!(summary["adds_up"], true, "{summary}");
    for found in checker::read(&place.path().join("out")) {
        assert_eq!(found.sum("clicks"), 3.0, "{}", found.reader);
    }
}
