//! Anomalies: the verdicts of a streaming run are those of the batch run over the same rows, whatever the parallelism.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::memory::Memory;
use super::runs::run;
use super::*;

/// Readings of a few devices, out of order within the watermark's bound; some without a value, one without a device.
fn source(seed: u64) -> String {
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rows = String::new();
    for number in 0..400_i64 {
        let device = ["\"a\"", "\"b\"", "\"cc\"", "null"][rng.random_range(0..4)];
        let seconds = 40 + number - rng.random_range(0..20);
        let wild = if rng.random_bool(0.02) { 40.0 } else { 0.0 };
        let value = match rng.random_bool(0.95) {
            true => format!("{:.3}", rng.random_range(0.0..2.0) + wild),
            false => "null".to_owned(),
        };
        let (minute, second) = (seconds / 60, seconds % 60);
        rows.push_str(&format!(
            "{{\"id\": {number}, \"device\": {device}, \"value\": {value}, \"other\": {}, \
             \"word\": \"w{}\", \"ts\": \"2024-01-01T00:{minute:02}:{second:02}\"}}\n",
            number % 7,
            number % 5,
        ));
    }
    format!(
        "CREATE SOURCE readings (
            id BIGINT, device VARCHAR, value DOUBLE, other BIGINT, word VARCHAR, ts TIMESTAMP,
            WATERMARK FOR ts AS ts - INTERVAL '30 seconds'
         ) WITH (connector = 'memory', rows = '{rows}');
         CREATE SINK lake WITH (connector = 'memory');"
    )
}

/// Runs a query in both modes.
fn check_modes(seed: u64, query: &str) {
    block_on(async {
        let source = source(seed);
        let mut batch = session(2);
        execute(&mut batch, &source).await.unwrap();
        let answer = execute(&mut batch, query).await.unwrap();
        let expected = runs::sorted(&answer);
        assert!(!expected.is_empty(), "{query} gives rows");
        for parallelism in 1..=4 {
            let memory = Memory::default();
            let written = Arc::clone(&memory.written);
            let mut session = session_with(parallelism, memory);
            let script =
                format!("{source} SET pipeline.mode = 'streaming'; INSERT INTO lake {query}");
            execute(&mut session, &script).await.unwrap();
            let pipeline = session.pipeline().await;
            let pipeline = pipeline.unwrap_or_else(|e| panic!("{}: {query}", e.report(None)));
            let pipeline = pipeline.unwrap();
            let graph = pipeline.graph.to_string();
            assert!(graph.contains("Anomaly "), "{graph}");
            let found = run(&session, pipeline, &written).await;
            assert_eq!(found, expected, "x{parallelism}: {query}\n{graph}");
        }
    });
}

#[test]
fn a_window_function_says_the_same_in_both_modes() {
    let queries = [
        "SELECT id, ANOMALY(value, METHOD 'ewma', WARMUP 20) OVER (PARTITION BY device ORDER BY ts, id) AS a FROM readings",
        "SELECT id, ANOMALY(value, other, METHOD 'rcf', WARMUP 20, SHINGLE 2) OVER (PARTITION BY device ORDER BY ts, id DESC) AS a FROM readings",
        "SELECT id, ANOMALY(value, WARMUP 30 SECONDS, LEARN EXCEPT ANOMALIES) OVER (ORDER BY ts, id) AS a FROM readings",
        "SELECT id, ANOMALY(word, METHOD rare) OVER (PARTITION BY other % 2, device ORDER BY ts, id) AS a FROM readings WHERE id % 3 > 0",
        "SELECT id, a.score, b.expected FROM (
            SELECT *, ANOMALY(value) OVER (PARTITION BY device ORDER BY ts, id) AS a,
                   ANOMALY(value * 2, METHOD 'robust_z') OVER (PARTITION BY other ORDER BY ts, id) AS b FROM readings)
         WHERE NOT a.warmup OR b.is_anomaly OR id % 2 = 0",
    ];
    for (seed, query) in (0..).zip(queries) {
        check_modes(seed, query);
    }
}

#[test]
fn a_table_function_says_the_same_in_both_modes() {
    check_modes(
        10,
        "SELECT * FROM DETECT_ANOMALIES((SELECT id, ts, device, value, other FROM readings WHERE ts IS NOT NULL),
            time_col => DESCRIPTOR(ts), cols => ARRAY['value', 'other'], group_by => ARRAY['device', 'id'],
            method => 'ewma', warmup => 10)",
    );
}

#[test]
fn windows_are_judged_by_their_start_and_by_their_end() {
    let windows = [
        "TUMBLE(readings, ts, INTERVAL '10 seconds')",
        "HOP(readings, ts, INTERVAL '5 seconds', INTERVAL '15 seconds')",
        "CUMULATE(readings, ts, INTERVAL '5 seconds', INTERVAL '20 seconds')",
    ];
    for (seed, window) in (20..).zip(windows) {
        for time in ["window_start, window_end", "window_end, window_start"] {
            check_modes(
                seed,
                &format!(
                    "SELECT *, ANOMALY(n, METHOD 'ewma', WARMUP 5) OVER (PARTITION BY device ORDER BY {time}) AS a
                     FROM (SELECT window_start, window_end, device, count(*) AS n FROM {window}
                           GROUP BY window_start, window_end, device)"
                ),
            );
        }
    }
}

#[test]
fn judged_rows_have_event_times() {
    check_modes(
        30,
        "SELECT window_start, device, count(*) AS n, max(a.score) AS most FROM TUMBLE((
            SELECT *, ANOMALY(value, METHOD 'ewma', WARMUP 20) OVER (PARTITION BY device ORDER BY ts, id) AS a
            FROM readings), ts, INTERVAL '1 minute')
         GROUP BY window_start, window_end, device",
    );
    check_modes(
        31,
        "SELECT window_start, sum(s) AS s FROM TUMBLE((
            SELECT start AS at, a.score AS s FROM (
                SELECT window_start AS start, ANOMALY(n, METHOD 'ewma', WARMUP 5) OVER (ORDER BY window_start) AS a
                FROM (SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '10 seconds')
                      GROUP BY window_start))), at, INTERVAL '1 minute')
         GROUP BY window_start, window_end",
    );
}
