//! The end of the graph of a statement that runs by itself: SUBSCRIBE, VALIDATE.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::error::Result;
use weir_engine::graph::{Edge, Graph, Node, NodeKind, Partitioning};
use weir_engine::sink::Sink;

use super::flow::Flow;
use super::{Lowering, Target, share};
use crate::ast::Constraint;

/// Lowers a query into a sink that is made already; gives the rows that go in.
pub(crate) async fn add_outlet(
    graph: &mut Graph,
    target: Target<'_>,
    plan: &LogicalPlan,
    sink: Arc<dyn Sink>,
) -> Result<SchemaRef> {
    let flow = target.lower(graph, plan).await?;
    let schema = attach(graph, target, flow, sink)?;
    *graph = share(std::mem::take(graph))?;
    Ok(schema)
}

/// Lowers a query whose rows are judged as those of a table.
pub(crate) async fn add_judged(
    graph: &mut Graph,
    target: Target<'_>,
    plan: &LogicalPlan,
    (table, rules): (&str, &[Constraint]),
    sink: Arc<dyn Sink>,
) -> Result<()> {
    let flow = target.lower(graph, plan).await?;
    let mut lowering = Lowering::new(target, std::mem::take(graph), Default::default());
    let flow = lowering.judged(flow, table, rules)?;
    *graph = lowering.graph;
    attach(graph, target, flow, sink).map(drop)
}

fn attach(
    graph: &mut Graph,
    target: Target<'_>,
    flow: Flow,
    sink: Arc<dyn Sink>,
) -> Result<SchemaRef> {
    let single = sink.is_single() && flow.parallelism > 1;
    let (parallelism, partitioning) = if single {
        (1, Partitioning::Rebalance)
    } else {
        (flow.parallelism, Partitioning::Forward)
    };
    let at = graph.add(Node {
        id: target.prefix.into(),
        name: target.prefix.to_owned(),
        kind: NodeKind::Sink(sink),
        parallelism,
        schema: Arc::clone(&flow.schema),
    })?;
    graph.connect(Edge {
        from: flow.at,
        to: at,
        input: 0,
        partitioning,
    })?;
    Ok(flow.schema)
}
