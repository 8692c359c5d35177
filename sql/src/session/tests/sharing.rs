//! Several sinks over one source: every row is read, counted and kept as a dead letter once.

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use expect_test::expect;
use weir_engine::graph::NodeKind;

use super::memory::Memory;
use super::runs::{orders_with_lows, run, run_job};
use super::*;

#[test]
fn operators_share_a_scan() {
    check_graph(
        2,
        "SET pipeline.mode = 'streaming';
         CREATE SINK all_of_them WITH (connector = 'memory');
         INSERT INTO lake SELECT id FROM orders WHERE status = 'open';
         INSERT INTO all_of_them SELECT amount, id FROM orders;",
        expect![[r#"
            streaming
            Sink lake: memory (id Int64) [x2]
              Filter [status@1 = open] Project [id@0] [x2] -> forward
                Project [id@0, status@1] [x2] -> forward
                  Source orders: memory columns=[id, status, amount] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward
            Sink all_of_them: memory (amount Float64, id Int64) [x2]
              Project [amount@1, id@0] [x2] -> forward
                Project [id@0, amount@2] [x2] -> forward
                  Source orders: memory columns=[id, status, amount] watermark=[ts - INTERVAL '5 seconds'] [x2] -> forward (shown above)
        "#]],
    );
}

#[test]
fn one_of_several_scans_in_islands_reads_for_all() {
    check_graph(
        2,
        "CREATE SINK per_status WITH (connector = 'memory');
         INSERT INTO lake SELECT id FROM orders LIMIT 1;
         INSERT INTO per_status SELECT status, sum(amount) AS total FROM orders GROUP BY status;",
        expect![[r#"
            batch
            Sink lake: memory (id Int64) [x1]
              Island (DataFusion) [x1] -> forward
                | CoalescePartitionsExec: fetch=1
                |   LocalLimitExec: fetch=1
                |     ScanExec: orders, memory columns=[id]
            Sink per_status: memory (status Utf8, total Float64) [x2]
              Island (DataFusion) [x2] -> forward
                | ProjectionExec: expr=[status@0 as status, sum(orders.amount)@1 as total]
                |   AggregateExec: mode=FinalPartitioned, gby=[status@0 as status], aggr=[sum(orders.amount)]
                |     RepartitionExec: partitioning=Hash([status@0], 2), input_partitions=2
                |       AggregateExec: mode=Partial, gby=[status@0 as status], aggr=[sum(orders.amount)]
                |         ScanExec: orders, memory columns=[status, amount]
        "#]],
    );
}

const PAYMENTS: &str = r#"
    CREATE SOURCE payments (
        id BIGINT NOT NULL, kind VARCHAR, ts TIMESTAMP,
        WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
    ) WITH (connector = 'memory', lows = 'true', rows = '
        {"id": 1, "kind": "a", "ts": "2024-01-01T00:00:01"}
        {"id": null, "kind": "b", "ts": "2024-01-01T00:00:02"}
        {"id": 3, "kind": "b", "ts": "2024-01-01T00:00:03"}
        {"id": 4, "kind": "b", "ts": "2024-01-01T00:00:04"}');
    CREATE SINK one WITH (connector = 'memory');
    CREATE SINK two WITH (connector = 'memory');
    CREATE SINK three WITH (connector = 'memory');
"#;

/// Runs inserts over payments; gives what was written, and the source's numbers.
fn payments(mode: &str, parallelism: u32, inserts: &str) -> (Vec<String>, [u64; 4]) {
    block_on(async {
        let memory = Memory::default();
        let written = Arc::clone(&memory.written);
        let mut session = session_with(parallelism, memory);
        let script = format!("{PAYMENTS} SET pipeline.mode = '{mode}'; {inserts}");
        execute(&mut session, &script).await.unwrap();
        let pipeline = session.pipeline().await.unwrap().unwrap();
        let (rows, accounts) = run_job(&session, pipeline, &written).await;
        let [account] = accounts.as_slice() else {
            panic!("{accounts:?}");
        };
        let a = account;
        assert_eq!(
            a.rows_in,
            a.rows_out + a.filtered + a.dead_letters + a.late,
            "{a:?}"
        );
        (rows, [a.rows_in, a.rows_out, a.filtered, a.dead_letters])
    })
}

#[test]
fn rows_and_dead_letters_are_counted_once() {
    let inserts = "INSERT INTO one SELECT kind AS k, id AS n FROM payments WHERE kind = 'a';
        INSERT INTO two SELECT kind AS k, id AS n FROM payments WHERE kind = 'b';
        INSERT INTO three SELECT kind AS k, count(*) AS n
        FROM TUMBLE(payments, ts, INTERVAL '1 minute') GROUP BY window_start, kind";
    for parallelism in [1, 2] {
        for mode in ["streaming", "batch"] {
            let (rows, numbers) = payments(mode, parallelism, inserts);
            let expected = [
                "| a | 1 |",
                "| a | 1 |",
                "| b | 2 |",
                "| b | 3 |",
                "| b | 4 |",
            ];
            assert_eq!(rows, expected, "{mode} x{parallelism}");
            // In streaming the sums follow the aggregation, which takes all rows.
            assert_eq!(numbers, [4, 3, 0, 1], "{mode} x{parallelism}");
        }
    }
}

#[test]
fn scans_within_one_island_are_counted_once() {
    let inserts = "INSERT INTO one
        SELECT a.id, b.kind FROM payments a JOIN payments b ON a.id = b.id WHERE b.kind = 'b'";
    let (rows, numbers) = payments("batch", 2, inserts);
    assert_eq!(rows, ["| 3 | b |", "| 4 | b |"]);
    assert_eq!([numbers[0], numbers[3]], [4, 1]);
}

#[test]
fn not_null_is_checked_where_the_column_is_not_read() {
    for mode in ["batch", "streaming"] {
        let inserts = "INSERT INTO one SELECT kind FROM payments";
        let (rows, numbers) = payments(mode, 1, inserts);
        assert_eq!(rows, ["| a |", "| b |", "| b |"], "{mode}");
        assert_eq!(numbers, [4, 3, 0, 1], "{mode}");
    }
    let (rows, _) = payments(
        "batch",
        2,
        "INSERT INTO one SELECT count(*) AS n FROM payments",
    );
    assert_eq!(rows, ["| 3 |"]);
}

#[test]
fn windows_in_batch_are_an_island_unless_splits_know_their_lows() {
    let query = "INSERT INTO lake SELECT window_start, count(*) AS n
                 FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end";
    let island = |orders: String| {
        block_on(async move {
            let mut session = session(1);
            execute(&mut session, &orders).await.unwrap();
            execute(&mut session, query).await.unwrap();
            let pipeline = session.pipeline().await.unwrap().unwrap();
            pipeline.graph.to_string().contains("Island")
        })
    };
    assert!(island(ORDERS.to_owned()));
    assert!(!island(orders_with_lows()));
    let no_watermark = orders_with_lows().replacen(
        ",\n        WATERMARK FOR ts AS ts - INTERVAL '5 seconds'",
        "",
        1,
    );
    assert!(island(no_watermark));
}

/// How often the nodes of a plan wrote to disk.
fn spills(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count());
    own.unwrap_or(0) + plan.children().into_iter().map(spills).sum::<usize>()
}

/// Many groups in little memory: the aggregation spills to disk and loses nothing.
#[test]
fn windows_in_batch_spill() {
    let (keys, windows) = (1000, 100);
    let lines: Vec<String> = (0..keys)
        .map(|key| format!(r#"{{"k": "key number {key}", "ts": "2024-01-01T00:00:00"}}"#))
        .collect();
    let script = format!(
        "CREATE SOURCE t (k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
         WITH (connector = 'memory', rows = '{}');
         CREATE SINK lake WITH (connector = 'memory');
         INSERT INTO lake SELECT window_end, k, count(*) AS n, max(ts) AS last
         FROM HOP(t, ts, INTERVAL '1 minute', INTERVAL '{windows} minutes')
         GROUP BY window_start, window_end, k",
        lines.join("\n")
    );
    block_on(async {
        let memory = Memory::default();
        let written = Arc::clone(&memory.written);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(4 << 20)))
            .build_arc()
            .unwrap();
        let mut session = session_in(2, memory, runtime);
        session.settings.fix("pipeline.batch_rows", "1024").unwrap();
        execute(&mut session, &script).await.unwrap();
        let pipeline = session.pipeline().await.unwrap().unwrap();
        let plans = pipeline.graph.nodes().filter_map(|(_, n)| match &n.kind {
            NodeKind::Island(plan) => Some(Arc::clone(plan)),
            _ => None,
        });
        let plans: Vec<_> = plans.collect();
        let rows = run(&session, pipeline, &written).await;
        assert!(plans.iter().map(spills).sum::<usize>() > 0, "it spills");
        assert_eq!(rows.len(), keys * windows);
        let whole = |row: &String| row.ends_with("| 1 | 2024-01-01T00:00:00 |");
        assert!(rows.iter().all(whole), "{:?}", rows.first());
        let distinct: BTreeSet<_> = rows.iter().collect();
        assert_eq!(distinct.len(), rows.len());
    });
}

/// What is read of a source is known by its node: with one reader more or less it must be the same.
#[test]
fn the_node_of_a_source_has_one_id() {
    let ids = |inserts: &str| {
        block_on(async {
            let mut session = session(2);
            let script = format!("{ORDERS} SET pipeline.mode = 'streaming'; {inserts}");
            execute(&mut session, &script).await.unwrap();
            let pipeline = session.pipeline().await.unwrap().unwrap();
            let nodes = pipeline.graph.nodes();
            let scans = nodes.filter(|(_, node)| matches!(node.kind, NodeKind::Scan(_)));
            scans
                .map(|(_, node)| node.id.to_string())
                .collect::<Vec<_>>()
        })
    };
    let one = "INSERT INTO lake SELECT id FROM orders WHERE amount > 1;";
    let more = "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM orders;";
    assert_eq!(ids(one), ["source/orders"]);
    assert_eq!(ids(&format!("{one} {more}")), ["source/orders"]);
    // A source of the same name is another source.
    let again = "DROP SOURCE orders CASCADE;
         CREATE SOURCE orders (id BIGINT) WITH (connector = 'memory', rows = '{\"id\": 1}');
         INSERT INTO lake SELECT id FROM orders;";
    let found = ids(&format!("{one} {again}"));
    assert_eq!(found, ["source/orders", "source/orders.2"]);
}
