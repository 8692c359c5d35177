//! Scripts in, graphs, rows and errors out, over a connector that holds its rows in memory.

mod anomalies;
mod errors;
mod estimates;
mod explain;
mod gates;
mod keyed;
mod memory;
mod modes;
mod queries;
mod ranks;
mod references;
mod rules;
mod runs;
mod sharing;
mod statements;
mod streams;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::runtime_env::RuntimeEnv;
use expect_test::Expect;
use futures::TryStreamExt;
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::error::Error;

use super::*;
use crate::variables::Variables;

/// The sources that most scripts read.
pub(super) const ORDERS: &str = r#"
    CREATE SOURCE orders (
        id BIGINT, status VARCHAR, amount DOUBLE, ts TIMESTAMP,
        WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
    ) WITH (connector = 'memory', rows = '
        {"id": 1, "status": "open", "amount": 10.0, "ts": "2024-01-01T00:00:01"}
        {"id": 2, "status": "paid", "amount": 20.0, "ts": "2024-01-01T00:00:30"}
        {"id": 3, "status": "open", "amount": 30.0, "ts": "2024-01-01T00:01:10"}
        {"id": 4, "status": "open", "amount": 40.0, "ts": "2024-01-01T00:02:30"}');
    CREATE SOURCE customers (id BIGINT, name VARCHAR)
        WITH (connector = 'memory', rows = '{"id": 1, "name": "ann"}');
    CREATE SINK lake WITH (connector = 'memory');
"#;

pub(super) fn session(parallelism: u32) -> Session {
    session_with(parallelism, memory::Memory::default())
}

fn session_with(parallelism: u32, memory: memory::Memory) -> Session {
    session_in(parallelism, memory, Arc::new(RuntimeEnv::default()))
}

/// A session with an account of memory of its own.
fn session_in(parallelism: u32, memory: memory::Memory, runtime: Arc<RuntimeEnv>) -> Session {
    let handle = tokio::runtime::Handle::current();
    let spawner = Arc::new(TokioSpawner::new(handle.clone(), handle));
    let mut settings = Settings::default();
    settings
        .fix("pipeline.parallelism", &parallelism.to_string())
        .unwrap();
    Session::new(SessionOptions {
        env: Env::new(Arc::new(SystemClock::default()), spawner, 1),
        connectors: vec![Arc::new(memory), Arc::new(memory::Fixed)],
        runtime,
        settings,
    })
    .unwrap()
}

fn rows(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}

/// Executes a script; gives what its last statement gave.
pub(super) async fn execute(session: &mut Session, script: &str) -> Result<String> {
    let mut last = String::new();
    for statement in crate::parse::parse(script, &Variables::default())? {
        last = match session.execute(&statement).await? {
            Outcome::Done(words) => words,
            Outcome::Added => "added".to_owned(),
            Outcome::Table { batches, .. } => rows(&batches),
            Outcome::Validated { rows: told, .. } => rows(&[told]),
            Outcome::Query(stream) | Outcome::Subscription(stream) => {
                let schema = stream.schema();
                let mut batches: Vec<RecordBatch> =
                    stream.try_collect().await.map_err(Error::from)?;
                batches.push(RecordBatch::new_empty(schema));
                rows(&batches)
            }
        };
    }
    Ok(last)
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// What the last statement of a script gives, or its error; [`ORDERS`] goes before it.
pub(super) fn check(script: &str, expected: Expect) {
    let text = block_on(async {
        let mut session = session(2);
        execute(&mut session, ORDERS).await.unwrap();
        match execute(&mut session, script).await {
            Ok(text) => text,
            Err(error) => error.report(None),
        }
    });
    expected.assert_eq(&text);
}

/// The graph of the script's inserts, or its error.
pub(super) fn check_graph(parallelism: u32, script: &str, expected: Expect) {
    let text = block_on(async {
        let mut session = session(parallelism);
        execute(&mut session, ORDERS).await.unwrap();
        let graph = async {
            execute(&mut session, script).await?;
            let pipeline = session.pipeline().await?;
            Ok::<_, Error>(
                pipeline
                    .map(|p| format!("{}\n{}", p.mode, p.graph))
                    .unwrap_or_default(),
            )
        };
        match graph.await {
            Ok(text) => text,
            Err(error) => error.report(None),
        }
    });
    expected.assert_eq(&text);
}
