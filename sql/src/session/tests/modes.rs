//! What streaming and batch refuse.

use super::{check, check_graph};
use expect_test::{Expect, expect};

fn streaming(query: &str, expected: Expect) {
    let script = format!("SET pipeline.mode = 'streaming';\nINSERT INTO lake {query}");
    check_graph(2, &script, expected);
}

#[test]
fn not_in_streaming() {
    streaming(
        "SELECT id FROM orders ORDER BY id",
        expect![[r#"
            error[E0110]: line 2, column 1: ORDER BY cannot run in streaming mode
              detail: rows keep coming, so the first one in order is never known
              hint: leave ORDER BY out, keep the first rows with ROW_NUMBER() OVER (ORDER BY ...) and a filter row_number <= n, or use --mode batch"#]],
    );
    streaming(
        "SELECT id FROM orders LIMIT 5",
        expect![[r#"
            error[E0110]: line 2, column 1: LIMIT cannot run in streaming mode
              detail: which rows come first depends on their arrival
              hint: leave LIMIT out, keep the first rows with ROW_NUMBER() OVER (ORDER BY ...) and a filter row_number <= n, or use --mode batch"#]],
    );
    streaming(
        "SELECT id FROM orders WHERE id NOT IN (SELECT id FROM customers)",
        expect![[r#"
            error[E0110]: line 2, column 1: NOT IN over a column that may be null cannot run in streaming mode
              detail: one null among the values would take back all rows
              hint: use NOT EXISTS (SELECT 1 FROM ... WHERE b.key = a.key), or declare both columns NOT NULL"#]],
    );
    streaming(
        "SELECT id FROM orders WHERE amount > 5 OR id IN (SELECT id FROM customers)",
        expect![[r#"
            error[E0110]: line 2, column 1: IN or EXISTS within OR, NOT or CASE cannot run in streaming mode
              detail: only as a condition of its own, or one joined by AND, it is a join
              hint: write one query per alternative and put them together with UNION"#]],
    );
}

#[test]
fn window_queries_not_in_streaming() {
    streaming(
        "SELECT id, row_number() OVER (ORDER BY ts) AS n FROM orders",
        expect![[r#"
            error[E0110]: line 2, column 1: a window function (OVER) cannot run in streaming mode
              detail: only ANOMALY(...) OVER (...), and ROW_NUMBER() OVER (...) with a filter that asks for the first rows, can run
              hint: filter by row_number <= n, aggregate over TUMBLE or HOP, or use --mode batch"#]],
    );
    streaming(
        "SELECT * FROM (SELECT id, rank() OVER (ORDER BY ts) AS n FROM orders) WHERE n <= 3",
        expect![[r#"
            error[E0110]: line 2, column 1: a window function (OVER) cannot run in streaming mode
              detail: only ANOMALY(...) OVER (...), and ROW_NUMBER() OVER (...) with a filter that asks for the first rows, can run
              hint: filter by row_number <= n, aggregate over TUMBLE or HOP, or use --mode batch"#]],
    );
    streaming(
        "SELECT window_start, count(*) AS n FROM TUMBLE(
            (SELECT status, max(ts) AS ts FROM orders GROUP BY status), ts, INTERVAL '1 minute')
         GROUP BY window_start",
        expect![[r#"
            error[E0110]: line 3, column 73: TUMBLE(1min) over rows that are updated cannot run in streaming mode
              detail: a window that is closed cannot take changes in
              hint: put the rows of the sources into windows, and aggregate or join those"#]],
    );
    streaming(
        "SELECT window_start, status, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '1 minute')
         GROUP BY GROUPING SETS ((window_start, status), (window_start))",
        expect![[r#"
            error[E0110]: line 2, column 1: GROUPING SETS, CUBE or ROLLUP cannot run in streaming mode
              detail: it has no streaming operator yet
              hint: write one INSERT per set of keys, or use --mode batch"#]],
    );
    streaming(
        "SELECT window_start, count(*) AS n
         FROM CUMULATE(orders, ts, INTERVAL '1 minute', INTERVAL '1 hour') GROUP BY window_start",
        expect![[r#"
            error[E0110]: line 2, column 1: GROUP BY window_start alone over CUMULATE(1min, 1h) cannot run in streaming mode
              detail: several windows have the same start
              hint: add window_end to GROUP BY"#]],
    );
    streaming(
        "SELECT window_start, count(*) AS n
         FROM TUMBLE((SELECT ts + INTERVAL '1 hour' AS t FROM orders), t, INTERVAL '1 minute') GROUP BY window_start",
        expect![[r#"
            error[E0110]: line 3, column 72: TUMBLE(1min) needs a watermark: "t" is not the watermark column of its source
              detail: without a watermark nothing says when a window is complete
              hint: add WATERMARK FOR t AS t - INTERVAL '5 seconds' to CREATE SOURCE, and use that column as it is"#]],
    );
}

#[test]
fn endless_in_batch() {
    let source = "CREATE SOURCE endless (a INT) WITH (connector = 'memory', endless = 'true');
                  CREATE SOURCE watched (a INT) WITH (connector = 'memory', watch = 'true');";
    check(
        &format!("{source} SELECT * FROM endless"),
        expect![[r#"
            error[E0110]: line 2, column 94: source "endless" never ends, so a batch job over it would not either
              hint: insert its rows into a sink in streaming mode, or give the source an end"#]],
    );
    check(
        &format!("{source} SELECT * FROM watched"),
        expect![[r#"
        +---+
        | a |
        +---+
        +---+"#]],
    );
    check_graph(
        2,
        &format!("{source} INSERT INTO lake SELECT * FROM watched"),
        expect![[r#"
        streaming
        Sink lake: memory (a Int32) [x2]
          Source watched: memory endless columns=[a] [x2] -> forward
    "#]],
    );
    check_graph(
        2,
        &format!("{source} SET pipeline.mode = 'batch'; INSERT INTO lake SELECT * FROM watched"),
        expect![[r#"
            batch
            Sink lake: memory (a Int32) [x2]
              Island (DataFusion) [x2] -> forward
                | ScanExec: watched, memory columns=[a]
        "#]],
    );
}
