//! A big input in a small budget. The issue's figure is 5 GB in 256 MB (`docs/guide.md` has the
//! command); a debug build takes a tenth of it, so that the test ends in reasonable time, in a budget
//! that leaves room for its own code, which alone is resident with more than 100 MB.
//!
//! Keyed state of about ten times the budget goes to disk: the peak stays far below what it is with
//! memory for all of it.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::checker;
use crate::program::Place;

const ROWS: i64 = 4_000_000;
const ROWS_PER_BATCH: i64 = 50_000;
/// 2026-01-01T00:00:00Z in microseconds.
const START: i64 = 1_767_225_600_000_000;

/// Writes about 450 MB of Parquet: plain, so that its bytes are the bytes of the rows.
fn write_input(place: &Place) -> u64 {
    std::fs::create_dir_all(place.path().join("in")).unwrap();
    let path = place.path().join("in/big.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(500_000))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for first in (0..ROWS).step_by(ROWS_PER_BATCH as usize) {
        let ids = first..first + ROWS_PER_BATCH;
        let text = ids
            .clone()
            .map(|id| format!("{:0>88}", (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
            (
                "ts",
                Arc::new(TimestampMicrosecondArray::from_iter_values(
                    ids.clone().map(|id| START + id * 10_000),
                )),
            ),
            ("payload", Arc::new(StringArray::from_iter_values(text))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(&path).unwrap();
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn big_input_in_a_small_budget() {
    let place = Place::new();
    let size = write_input(&place);
    assert!(size > 400_000_000, "{size}");
    let script = "CREATE SOURCE big (id BIGINT, ts TIMESTAMP, payload VARCHAR,
            WATERMARK FOR ts AS ts - INTERVAL '1 second')
            WITH (connector = 'file', path = 'in/big.parquet', format = 'parquet');
        CREATE SINK copy WITH (connector = 'file', path = 'copy', format = 'parquet') AS
            SELECT id, ts, payload FROM big WHERE id % 4 <> 0;
        CREATE SINK minutes WITH (connector = 'file', path = 'minutes', format = 'parquet') AS
            SELECT window_start, id % 10 AS key, count(*) AS n, max(payload) AS last
            FROM TUMBLE(big, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, id % 10;";
    for mode in ["batch", "streaming"] {
        let flags = ["--mode", mode, "--memory", "192MB", "--summary", "json"];
        let summary = place.run(script, &flags).ok().summary();
        let peak = summary["memory"]["peak"]
            .as_u64()
            .expect("Linux tells the peak");
        println!("{mode}: {size} bytes in, peak {peak} bytes resident");
        assert!(
            peak < 384_000_000,
            "{mode}: peak {peak} bytes with a budget of 192 MB"
        );
        for found in checker::read(&place.path().join("copy")) {
            assert_eq!(found.rows(), 3 * ROWS as u64 / 4, "{}", found.reader);
        }
        for found in checker::read(&place.path().join("minutes")) {
            assert_eq!(found.sum("n"), ROWS as f64, "{}", found.reader);
        }
        for folder in ["copy", "minutes"] {
            std::fs::remove_dir_all(place.path().join(folder)).unwrap();
        }
    }
}

/// What a debug build takes with hardly any state (180 to 230 MB), with room for batches on their
/// way, of which sessions take most; the state itself would be more than twice as much, and so would
/// be what a join finds, if it were in memory at once.
const FIXED: u64 = 330_000_000;
const BUDGET: u64 = 32_000_000;

/// Runs a script of keyed state in a small budget. The batches are small: their rows are wide.
fn run_in_small_budget(place: &Place, script: &str) {
    let memory = BUDGET.to_string();
    let flags = [
        "--memory",
        &memory,
        "--parallelism",
        "2",
        "--batch-rows",
        "1024",
        "--state",
        "state",
        "--summary",
        "json",
    ];
    let summary = place.run(script, &flags).ok().summary();
    let peak = summary["memory"]["peak"]
        .as_u64()
        .expect("Linux tells the peak");
    println!("peak {peak} bytes resident");
    assert!(
        peak < FIXED + BUDGET * 115 / 100,
        "peak {peak} bytes with a budget of {BUDGET}"
    );
}

#[test]
fn groups_of_ten_times_the_budget() {
    let place = Place::new();
    let script = "SET pipeline.mode = 'streaming';
        SET pipeline.checkpoint_interval = '1h';
        CREATE SOURCE facts (seq BIGINT, ts TIMESTAMP,
            key BIGINT AS (seq * 2654435761 % 130000),
            text VARCHAR AS (repeat(md5(CAST(seq AS VARCHAR)), 16)))
            WITH (connector = 'generator', rows = '260000');
        CREATE MATERIALIZED VIEW total AS
            SELECT count(*) AS keys, sum(n) AS facts, min(n) AS least, max(n) AS most,
                sum(length(last)) AS letters
            FROM (SELECT key, count(*) AS n, max(text) AS last FROM facts GROUP BY key);";
    run_in_small_budget(&place, script);
    let words = ["sql", "--state", "state", "--format", "json", "-c"];
    let found = place.weir(&[&words[..], &["SELECT * FROM total"]].concat());
    let expected =
        r#"{"keys":130000,"facts":260000,"least":2,"most":2,"letters":66560000}"#.to_owned();
    assert_eq!(found.ok().out.trim(), expected);
}

const PAIRS: u64 = 200_000;

/// A source of wide rows, one each millisecond, whose keys are all numbers in an order of their own.
fn wide(name: &str, factor: u64, rows: u64, keys: u64) -> String {
    format!(
        "CREATE SOURCE {name} (seq BIGINT, ts TIMESTAMP, key BIGINT AS (seq * {factor} % {keys}),
            text VARCHAR AS (repeat(md5(CAST(seq AS VARCHAR)), 16)),
            WATERMARK FOR ts AS ts - INTERVAL '1 second')
            WITH (connector = 'generator', rows = '{rows}', interval = '1ms');"
    )
}

/// Joins two streams of 110 MB each in the small budget.
fn join_in_small_budget(settings: &str, from: &str) {
    let place = Place::new();
    let script = format!(
        "SET pipeline.mode = 'streaming'; {settings} {} {}
        CREATE SINK joined WITH (connector = 'file', path = 'joined', format = 'parquet') AS
            SELECT a.key, a.seq AS left_seq, b.seq AS right_seq, a.text AS left_text, b.text,
                CASE WHEN (a.text = b.text) = (a.seq = b.seq) THEN 1 ELSE 0 END AS right_text
            {from};",
        wide("a", 2_654_435_761, PAIRS, PAIRS),
        wide("b", 40_503, PAIRS, PAIRS)
    );
    run_in_small_budget(&place, &script);
    // Each number comes once on each side, and each key pairs two of them.
    let sum = (PAIRS * (PAIRS - 1) / 2) as f64;
    for found in checker::read(&place.path().join("joined")) {
        assert_eq!(found.rows(), PAIRS, "{}", found.reader);
        assert_eq!(found.sum("key"), sum, "{}", found.reader);
        assert_eq!(found.sum("left_seq"), sum, "{}", found.reader);
        assert_eq!(found.sum("right_seq"), sum, "{}", found.reader);
        assert_eq!(found.sum("right_text"), PAIRS as f64, "{}", found.reader);
    }
}

const NO_CHECKPOINT: &str = "SET pipeline.checkpoint_interval = '1h';";
const CHECKPOINTS: &str = "SET pipeline.checkpoint_interval = '3s';";

#[test]
fn joined_rows_of_ten_times_the_budget() {
    join_in_small_budget(NO_CHECKPOINT, "FROM a JOIN b ON a.key = b.key");
}

#[test]
fn rows_of_an_interval_of_ten_times_the_budget() {
    join_in_small_budget(
        CHECKPOINTS,
        "FROM a JOIN b ON a.key = b.key
            AND a.ts BETWEEN b.ts - INTERVAL '1 hour' AND b.ts + INTERVAL '1 hour'",
    );
}

#[test]
fn joined_rows_of_a_window_of_ten_times_the_budget() {
    join_in_small_budget(
        CHECKPOINTS,
        "FROM TUMBLE(a, ts, INTERVAL '1 day') a JOIN TUMBLE(b, ts, INTERVAL '1 day') b
            ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.key = b.key",
    );
}

/// Aggregates of 130 MB in windows in the small budget.
fn windows_in_small_budget(windows: &str) {
    let place = Place::new();
    let script = format!(
        "SET pipeline.mode = 'streaming'; {CHECKPOINTS} {}
        CREATE SINK result WITH (connector = 'file', path = 'result', format = 'parquet') AS
            SELECT key, count(*) AS n, max(text) AS last FROM {windows}
            GROUP BY window_start, window_end, key;",
        wide("facts", 2_654_435_761, 2 * PAIRS, PAIRS)
    );
    run_in_small_budget(&place, &script);
    for found in checker::read(&place.path().join("result")) {
        assert_eq!(found.rows(), PAIRS, "{}", found.reader);
        assert_eq!(found.sum("n"), 2.0 * PAIRS as f64, "{}", found.reader);
        let sum = (PAIRS * (PAIRS - 1) / 2) as f64;
        assert_eq!(found.sum("key"), sum, "{}", found.reader);
    }
}

#[test]
fn a_window_of_ten_times_the_budget() {
    windows_in_small_budget("TUMBLE(facts, ts, INTERVAL '1 day')");
}

#[test]
fn sessions_of_ten_times_the_budget() {
    windows_in_small_budget("SESSION(facts, ts, INTERVAL '2 hours', key)");
}
