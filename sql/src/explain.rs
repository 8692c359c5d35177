//! EXPLAIN: the operator graph of a statement; EXPLAIN ANALYZE of a query that has an end.

use std::sync::Arc;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::TryStreamExt;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::Graph;

use crate::ast::{Statement, StatementKind};
use crate::lower::Target;
use crate::session::{Outcome, Session, show::texts};
use crate::settings::Mode;

/// Explains a statement.
pub(crate) async fn explain(
    session: &Session,
    analyze: bool,
    statement: &Statement,
) -> Result<Outcome> {
    let place = statement.place;
    let text = match &statement.kind {
        StatementKind::Query { query, emit } => {
            let planned = session
                .planner()
                .query(session.catalog(), query, Some(place))?;
            let mode = session.mode_of(std::iter::once(&planned.plan))?;
            if analyze {
                return analyze_query(session, &planned.plan, mode, statement).await;
            }
            let mut graph = Graph::default();
            let target = Target {
                planner: session.planner(),
                mode,
                parallelism: session.settings().parallelism(),
                prefix: "query",
                place: Some(place),
                emit: *emit,
            };
            target.lower(&mut graph, &planned.plan).await?;
            let mut text = "Result\n".to_owned();
            for line in graph.to_string().lines() {
                text.push_str(&format!("  {line}\n"));
            }
            text
        }
        _ if analyze => return Err(not_analyzed()),
        StatementKind::Insert {
            sink,
            columns,
            query,
            emit,
        } => {
            let insert = session.plan_insert(sink, columns, (query, *emit), place)?;
            session
                .lower(&[insert], &[], false)
                .await?
                .graph
                .to_string()
        }
        StatementKind::CreateSink(create) => {
            let Some(query) = &create.query else {
                return Err(nothing());
            };
            let sink = session.make_sink(create, place)?;
            let insert = session.plan_into(&sink, &[], (query, create.emit), place)?;
            session
                .lower(&[insert], &[], false)
                .await?
                .graph
                .to_string()
        }
        StatementKind::CreateMaterializedView(create) => {
            let (view, _) = session.plan_materialized(create, place)?;
            session.lower(&[], &[view], false).await?.graph.to_string()
        }
        _ => return Err(nothing()),
    };
    table(&text)
}

fn table(text: &str) -> Result<Outcome> {
    let rows: Vec<Vec<String>> = text.lines().map(|line| vec![line.to_owned()]).collect();
    texts(&["plan"], &rows)
}

fn nothing() -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNSUPPORTED,
        "EXPLAIN needs a query, INSERT, CREATE SINK AS or CREATE MATERIALIZED VIEW",
    )
}

fn not_analyzed() -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNSUPPORTED,
        "EXPLAIN ANALYZE runs queries that have an end, not pipelines",
    )
    .hint("use EXPLAIN for the graph; `weir run` shows rows and rates while a pipeline runs")
}

/// Runs a query to its end and shows DataFusion's plan with what each part did.
async fn analyze_query(
    session: &Session,
    plan: &datafusion::logical_expr::LogicalPlan,
    mode: Mode,
    statement: &Statement,
) -> Result<Outcome> {
    if mode == Mode::Streaming {
        return Err(not_analyzed());
    }
    let island = session
        .planner()
        .island(plan, Some(statement.place))
        .await?;
    let mut rows = session.run_island(Arc::clone(&island)).await?;
    while rows.try_next().await?.is_some() {}
    table(
        &DisplayableExecutionPlan::with_metrics(&*island)
            .indent(false)
            .to_string(),
    )
}
