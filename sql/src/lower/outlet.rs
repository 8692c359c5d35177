//! The end of the graph of a subscription.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::error::Result;
use weir_engine::graph::{Edge, Graph, Node, NodeKind, Partitioning};
use weir_engine::sink::Sink;

use super::{Target, share};

/// Lowers a query into a sink that is made already; gives the rows that go in.
pub(crate) async fn add_outlet(
    graph: &mut Graph,
    target: Target<'_>,
    plan: &LogicalPlan,
    sink: Arc<dyn Sink>,
) -> Result<SchemaRef> {
    let flow = target.lower(graph, plan).await?;
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
    *graph = share(std::mem::take(graph))?;
    Ok(flow.schema)
}
