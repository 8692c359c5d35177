//! Pipelines that run: in both modes and with any parallelism they give the rows of the query.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use tokio::sync::watch;
use weir_engine::changelog;
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::job::JobContext;
use weir_engine::metrics::Metrics;
use weir_engine::runtime::{self, Job, SourceAccount, TimeOptions};

use super::memory::{Memory, Written};
use super::*;

/// The rows of a table, without its head.
fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The rows of a table in their order.
pub(super) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = lines(text).collect();
    lines.sort();
    lines
}

/// [`ORDERS`] of a connector whose splits know their earliest rows: windows use our operator in
/// batch too.
pub(super) fn orders_with_lows() -> String {
    ORDERS.replacen("'memory',", "'memory', lows = 'true',", 1)
}

pub(super) async fn run(session: &Session, pipeline: Pipeline, written: &Written) -> Vec<String> {
    run_job(session, pipeline, written).await.0
}

/// Runs a pipeline; gives what was written, and the account of its sources.
pub(super) async fn run_job(
    session: &Session,
    pipeline: Pipeline,
    written: &Written,
) -> (Vec<String>, Vec<SourceAccount>) {
    let letters = DeadLetters::new(Arc::new(MemoryStore::default()));
    let graph = pipeline.graph.to_string();
    match try_run(session, pipeline, written, &letters).await {
        Ok(done) => done,
        Err(error) => panic!("{}\n{graph}", error.report(None)),
    }
}

/// The same of a pipeline that may fail, with what it keeps aside.
pub(super) async fn try_run(
    session: &Session,
    pipeline: Pipeline,
    written: &Written,
    letters: &DeadLetters,
) -> Result<(Vec<String>, Vec<SourceAccount>)> {
    let (stop, stopped) = watch::channel(Stop::Run);
    let context = JobContext {
        env: session.env.clone(),
        memory: Arc::clone(&session.runtime.memory_pool),
        batch_rows: 2,
        dead_letters: letters.clone(),
        datafusion: session.planner().state().task_ctx(),
        metrics: Metrics::default(),
        stop: stopped,
        pipeline: "test".into(),
        run_id: "test".into(),
    };
    let time = TimeOptions {
        streaming: pipeline.mode == Mode::Streaming,
        idle_timeout: None,
        drift_max: None,
    };
    let metrics = context.metrics.clone();
    let nodes = Arc::new(pipeline.graph);
    let job = Job::start(Arc::clone(&nodes), context, time, None);
    let ended = session
        .env
        .timeout(Duration::from_secs(120), job.wait())
        .await;
    ended.expect("the job ends")?;
    drop(stop);
    let accounts = runtime::sources(&nodes, &metrics, letters);
    let batches = std::mem::take(&mut *written.lock());
    if batches.is_empty() {
        return Ok((Vec::new(), accounts));
    }
    Ok((folded(&batches), accounts))
}

/// The rows that are there after all changes, in a fixed order.
fn folded(batches: &[RecordBatch]) -> Vec<String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for batch in batches {
        let (columns, kinds) = changelog::split(batch);
        let adds = changelog::adds(kinds, batch.num_rows()).unwrap();
        let rows = batch
            .project(&(0..columns.len()).collect::<Vec<_>>())
            .unwrap();
        let text = pretty_format_batches(&[rows]).unwrap().to_string();
        for (line, adds) in lines(&text).zip(adds) {
            *counts.entry(line).or_default() += if adds { 1 } else { -1 };
        }
    }
    let rows = counts.into_iter().flat_map(|(row, count)| {
        let count = usize::try_from(count).expect("no row goes more often than it came");
        vec![row; count]
    });
    rows.collect()
}

fn check_rows(views: &str, query: &str) {
    block_on(async {
        let mut expected = session(1);
        execute(&mut expected, ORDERS).await.unwrap();
        execute(&mut expected, views).await.unwrap();
        let expected = sorted(&execute(&mut expected, query).await.unwrap());
        assert!(!expected.is_empty(), "{query} gives rows");
        let lows = orders_with_lows();
        for (mode, orders) in [("batch", ORDERS), ("batch", &lows), ("streaming", ORDERS)] {
            for parallelism in [1, 3] {
                let memory = Memory::default();
                let written = Arc::clone(&memory.written);
                let mut session = session_with(parallelism, memory);
                let script = format!("{orders} {views} SET pipeline.mode = '{mode}';");
                execute(&mut session, &script).await.unwrap();
                execute(&mut session, &format!("INSERT INTO lake {query}"))
                    .await
                    .unwrap();
                let pipeline = session.pipeline().await.unwrap().unwrap();
                let found = run(&session, pipeline, &written).await;
                assert_eq!(found, expected, "{mode} x{parallelism}: {query}");
            }
        }
    });
}

#[test]
fn stateless() {
    check_rows(
        "",
        "SELECT id, amount * 2 AS twice, status FROM orders WHERE status = 'open'",
    );
    check_rows("", "SELECT status AS b, id AS a FROM orders");
    check_rows(
        "",
        "SELECT id, 'a' AS kind FROM orders UNION ALL SELECT id, name FROM customers",
    );
    check_rows("", "SELECT * FROM (VALUES (1, 'x'), (2, NULL)) AS t (a, b)");
}

#[test]
fn windows() {
    check_rows(
        "",
        "SELECT window_start, status, count(*) AS n, sum(amount) FILTER (WHERE id > 1) AS total
         FROM TUMBLE(orders, ts, INTERVAL '1 minute') WHERE amount > 0
         GROUP BY window_start, window_end, status HAVING count(*) > 0",
    );
    check_rows(
        "",
        "SELECT window_end, count(DISTINCT status) AS n, avg(amount + 1) AS m, max(amount + 1) AS x
         FROM HOP(orders, ts, INTERVAL '1 minute', INTERVAL '5 minutes') GROUP BY window_end",
    );
    check_rows(
        "",
        "SELECT id, window_start, window_end
         FROM CUMULATE(orders, ts, INTERVAL '1 minute', INTERVAL '3 minutes')
         WHERE window_end > TIMESTAMP '2024-01-01 00:01:00'",
    );
    check_rows(
        "",
        "SELECT DISTINCT window_start, status FROM TUMBLE(orders, ts, INTERVAL '2 minutes')",
    );
    check_rows(
        "",
        "SELECT window_start, date_part('minute', window_end) AS m, count(*) AS n
         FROM TUMBLE(orders, ts, INTERVAL '1 minute')
         GROUP BY window_start, window_end, date_part('minute', window_end)",
    );
    check_rows(
        "",
        "SELECT window_start, window_end, array_agg(status ORDER BY id DESC) AS all_of_them
         FROM TUMBLE(orders, ts, INTERVAL '2 minutes') GROUP BY window_start, window_end",
    );
}

#[test]
fn windows_of_windows() {
    let views = "CREATE VIEW minutes AS
        SELECT window_start AS ws, window_end AS we, status, count(*) AS n
        FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, status;";
    check_rows(views, "SELECT ws, max(n) AS most FROM minutes GROUP BY ws");
    check_rows(views, "SELECT we, count(*) AS n FROM minutes GROUP BY we");
    check_rows(
        views,
        "SELECT window_start, status, sum(n) AS n FROM TUMBLE(minutes, ws, INTERVAL '1 hour')
         GROUP BY window_start, status",
    );
    check_rows(
        views,
        "SELECT window_end, we, sum(n) AS n FROM HOP(minutes, we, INTERVAL '1 minute', INTERVAL '2 minutes')
         GROUP BY window_end, we",
    );
}
