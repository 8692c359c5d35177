//! Materialized views of a running pipeline, read by other programs from its checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Place, Running};

/// How long anything may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const SCRIPT: &str = "
    SET pipeline.checkpoint_interval = '100ms';
    SET pipeline.checkpoints_retained = '500';
    SET pipeline.mode = 'streaming';
    CREATE SOURCE clicks (id BIGINT, page BIGINT)
        WITH (connector = 'file', path = 'in/*.csv', format = 'csv', watch = 'true', poll_interval = '50ms');
    CREATE MATERIALIZED VIEW pages AS SELECT page, count(*) AS clicks, sum(id) AS ids FROM clicks GROUP BY page;
    CREATE MATERIALIZED VIEW ids AS SELECT id FROM clicks WHERE id >= 0;
";

/// The page of a row: all come again in the files up to the fifth, one of them in later ones.
fn page(file: i64, row: i64) -> i64 {
    if file < 6 { (file * 7 + row) % 5 } else { 0 }
}

/// Rows of one file.
fn csv(file: i64) -> String {
    let rows = (0..50).map(|row| format!("{},{}\n", file * 50 + row, page(file, row)));
    format!("id,page\n{}", rows.collect::<String>())
}

fn start(place: &Place) -> Running {
    place.start(SCRIPT, &["--state", "state", "--parallelism", "2"])
}

/// The rows of a query over the views.
fn query(place: &Place, sql: &str) -> Vec<Value> {
    let words = ["sql", "--state", "state", "--format", "json", "-c", sql];
    let ended = place.weir(&words).ok();
    let lines = ended.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a reader has who applies the changes that a subscription gives.
fn folded(said: &str) -> BTreeMap<i64, i64> {
    let mut rows = BTreeMap::new();
    let mut last = 0;
    for line in said.lines().filter(|line| line.starts_with('{')) {
        // The last line may be half there.
        let Ok(row) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let (page, ids) = (
            row["page"].as_i64().unwrap(),
            row["double"].as_i64().unwrap(),
        );
        let epoch = row["_epoch"].as_i64().unwrap();
        assert!(epoch >= last, "epoch {epoch} after {last}");
        last = epoch;
        match row["_op"].as_str().unwrap() {
            "insert" | "update_after" => {
                assert_eq!(rows.insert(page, ids), None, "page {page} is there already");
            }
            _ => assert_eq!(rows.remove(&page), Some(ids), "page {page} was not so"),
        }
    }
    rows
}

/// All views that one query reads are of one epoch, however often the pipeline goes on.
#[test]
fn another_program_reads_the_last_committed_epoch() {
    let place = Place::new();
    place.put("in/0.csv", csv(0));
    let mut running = start(&place);
    let newest = || place.files("state/checkpoints/manifests").len();
    running.until(PATIENCE, "a checkpoint", || newest() > 2);
    let (mut seen, mut files) = (0, 1);
    while seen < 500 {
        assert!(running.is_running(), "ended:\n{}", running.said());
        if files < 10 {
            place.put(&format!("in/{files}.csv"), csv(files));
            files += 1;
        }
        let found = query(
            &place,
            "SELECT (SELECT sum(clicks) FROM pages) AS a, (SELECT count(*) FROM ids) AS b,
                    (SELECT sum(ids) FROM pages) AS c, (SELECT sum(id) FROM ids) AS d",
        );
        let [row] = found.as_slice() else {
            panic!("one row, not {found:?}");
        };
        let (a, b) = (row["a"].as_i64().unwrap_or(0), row["b"].as_i64().unwrap());
        assert_eq!((a, &row["c"]), (b, &row["d"]), "{row}");
        assert!(b >= seen, "{seen} rows were there, now {b}");
        seen = b;
    }
    let shown = query(&place, "SHOW MATERIALIZED VIEWS");
    assert_eq!(shown.len(), 2, "{shown:?}");
    running.signal("INT");
    running.wait().ok();
    let left = query(&place, "SELECT * FROM ids ORDER BY id");
    assert_eq!(left.len(), 500);
}

/// More rows than half of the budget holds: they are on disk while the pipeline runs, when it is
/// started again, and while they are read.
#[test]
fn a_view_larger_than_memory_is_kept_and_read() {
    let place = Place::new();
    let script = "
        SET pipeline.mode = 'streaming';
        SET pipeline.checkpoint_interval = '1s';
        CREATE SOURCE clicks (id BIGINT, page BIGINT)
            WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
        CREATE MATERIALIZED VIEW ids AS SELECT id, page FROM clicks;
    ";
    let rows = 100_000_i64;
    for run in 0..3 {
        let lines = (run * rows..(run + 1) * rows).map(|id| format!("{id},{}\n", id % 7));
        let csv = format!("id,page\n{}", lines.collect::<String>());
        place.put(&format!("in/{run}.csv"), csv);
        let words = [
            "--state",
            "state",
            "--parallelism",
            "2",
            "--memory",
            "16MiB",
        ];
        place.start(script, &words).wait().ok();
        let words = [
            "sql", "--state", "state", "--memory", "16MiB", "--format", "json", "-c",
        ];
        let sql = "SELECT count(*) AS n, sum(id) AS s, min(id) AS a, max(id) AS z FROM ids";
        let found = place.weir(&[&words[..], &[sql]].concat()).ok().out;
        let n = (run + 1) * rows;
        let expected = serde_json::json!({"n": n, "s": n * (n - 1) / 2, "a": 0, "z": n - 1});
        assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), expected);
    }
}

/// A subscription goes on through crashes of the pipeline, and misses and repeats nothing.
#[test]
fn a_subscription_follows_the_pipeline_through_crashes() {
    let place = Place::new();
    place.put("in/0.csv", csv(0));
    let mut running = start(&place);
    let newest = || place.files("state/checkpoints/manifests").len();
    running.until(PATIENCE, "a checkpoint", || newest() > 2);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    let sql = "SUBSCRIBE TO (SELECT page, ids * 2 AS double FROM pages WHERE page < 4)";
    command.args(["sql", "--state", "state", "--format", "json", "-c", sql]);
    let mut reader = place.spawn(command);
    let follow = |running: &mut Running, reader: &mut Running, files: i64| {
        let mut sums = BTreeMap::new();
        for file in 0..files {
            for row in 0..50 {
                *sums.entry(page(file, row)).or_insert(0) += 2 * (file * 50 + row);
            }
        }
        sums.remove(&4);
        let begin = std::time::Instant::now();
        while folded(&reader.said()) != sums {
            assert!(running.is_running(), "ended:\n{}", running.said());
            assert!(reader.is_running(), "ended:\n{}", reader.said());
            assert!(
                begin.elapsed() < PATIENCE,
                "{files} files: {sums:?} is not\n{}",
                reader.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    follow(&mut running, &mut reader, 1);
    for file in 1..6 {
        place.put(&format!("in/{file}.csv"), csv(file));
        follow(&mut running, &mut reader, file + 1);
    }
    // The second crash finds what the first one left and only one page has changed since.
    for file in 6..8 {
        running.signal("KILL");
        drop(running);
        place.put(&format!("in/{file}.csv"), csv(file));
        running = start(&place);
        follow(&mut running, &mut reader, file + 1);
    }
    let pages = query(&place, "SELECT page FROM pages");
    assert_eq!(pages.len(), 5, "{pages:?}");
    reader.signal("INT");
    reader.wait().ok();
    running.signal("INT");
    running.wait().ok();
}

/// What a subscription cannot follow, and names that nobody keeps.
#[test]
fn what_cannot_be_read_is_told() {
    let place = Place::new();
    place.put("in/0.csv", csv(0));
    let mut running = start(&place);
    let newest = || place.files("state/checkpoints/manifests").len();
    running.until(PATIENCE, "a checkpoint", || newest() > 2);
    let sql = |text: &str| place.weir(&["sql", "--state", "state", "-c", text]);
    sql("SUBSCRIBE TO (SELECT count(*) FROM pages)").fails(2, "E0109", &["choose, compute"]);
    sql("SELECT * FROM pagez").fails(2, "E0103", &["pages"]);
    sql("DROP MATERIALIZED VIEW pages").fails(2, "E0107", &["pages"]);
    running.signal("INT");
    running.wait().ok();
}
