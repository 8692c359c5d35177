//! The end of the graph of a materialized view.

use std::sync::Arc;

use weir_engine::error::{Error, Result};
use weir_engine::graph::{Edge, Graph, Node, NodeKind, Partitioning};
use weir_engine::operator::OperatorFactory;
use weir_engine::view::ViewFactory;

use super::flow::Flow;
use super::stateless::node_column;
use super::{Lowering, Target};
use crate::plan::Planner;
use crate::session::Materialized;
use crate::settings::Mode;

/// Adds a materialized view and what flows into it. Its rows are told apart by the key of the
/// result, if it has one, else by all their columns.
pub(crate) async fn add_view(
    graph: &mut Graph,
    view: &Materialized,
    planner: &Planner,
    (mode, parallelism): (Mode, u32),
) -> Result<()> {
    let id = format!("view/{}", view.name);
    let target = Target {
        planner,
        mode,
        parallelism,
        prefix: &id,
        place: Some(view.place),
        emit: view.emit,
    };
    let flow = target.lower(graph, &view.plan).await?;
    let place = |error: Error| error.at(Some(view.place));
    let mut lowering = Lowering::new(target, std::mem::take(graph), Default::default());
    let flow = lowering
        .judged(flow, &view.name, &view.constraints)
        .map_err(place)?;
    *graph = lowering.graph;
    end(graph, view, &id, flow).map_err(place)
}

fn end(graph: &mut Graph, view: &Materialized, id: &str, flow: Flow) -> Result<()> {
    let key = flow.key.clone().unwrap_or_default();
    let factory = ViewFactory::try_new(view.name.as_str(), &flow.schema, key.clone())?;
    let spread: Vec<usize> = match key.is_empty() {
        true => (0..flow.width()).collect(),
        false => key,
    };
    let keys = spread.iter().map(|at| node_column(&flow, *at)).collect();
    let at = graph.add(Node {
        id: id.into(),
        name: view.name.clone(),
        schema: factory.schema(),
        kind: NodeKind::Operator(Arc::new(factory)),
        parallelism: flow.parallelism,
    })?;
    graph.connect(Edge {
        from: flow.at,
        to: at,
        input: 0,
        partitioning: Partitioning::Hash(keys),
    })
}
