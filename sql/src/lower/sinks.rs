//! The end of the graph: the sink, with all that is inserted into it.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use weir_engine::changelog::rows_schema;
use weir_engine::connector::SinkRequest;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::graph::{Edge, Graph, Node, NodeKind, Partitioning};
use weir_engine::sink::Sink;

use super::flow::Flow;
use super::{Lowering, Target, upsert};
use crate::ast::Emit;
use crate::catalog::create_sink::SinkTable;
use crate::plan::Planner;
use crate::settings::Mode;

/// A query on its way into a sink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SinkQuery<'a> {
    /// The rows.
    pub(crate) plan: &'a LogicalPlan,
    /// When they come out, if the statement says so.
    pub(crate) emit: Option<Emit>,
    /// Where the statement stands.
    pub(crate) place: Place,
}

/// A sink with the queries that are inserted into it.
#[derive(Debug)]
pub(crate) struct SinkInputs<'a> {
    /// The sink.
    pub(crate) sink: &'a SinkTable,
    /// The queries. All give the same columns.
    pub(crate) queries: Vec<SinkQuery<'a>>,
    /// The columns that make the hive partitions.
    pub(crate) partition_columns: Vec<String>,
}

/// Adds a sink and what flows into it.
pub(crate) async fn add_sink(
    graph: &mut Graph,
    inputs: SinkInputs<'_>,
    planner: &Planner,
    (mode, parallelism): (Mode, u32),
    env: &Env,
) -> Result<()> {
    let sink = inputs.sink;
    let mut flows = Vec::new();
    for (number, query) in inputs.queries.iter().enumerate() {
        let prefix = match number {
            0 => sink.name.clone(),
            later => format!("{}.{later}", sink.name),
        };
        let target = Target {
            planner,
            mode,
            parallelism,
            prefix: &prefix,
            place: Some(query.place),
            emit: query.emit,
        };
        let flow = target
            .lower(graph, query.plan)
            .await
            .map_err(|error| error.at(Some(query.place)))?;
        check_same(&flows, &flow, sink, query.place)?;
        flows.push(flow);
    }
    let prefix = format!("{}.all", sink.name);
    let target = Target {
        planner,
        mode,
        parallelism,
        prefix: &prefix,
        place: Some(sink.place),
        emit: None,
    };
    let mut lowering = Lowering::new(target, std::mem::take(graph), Default::default());
    let flow = lowering.join_all(flows)?;
    let flow = lowering.judged(flow, &sink.name, &sink.constraints.lock().clone())?;
    let (options, key) = upsert::key_of(sink, &flow);
    let flow = match key {
        Some(key) => lowering.ordered_by(flow, &key)?,
        None => flow,
    };
    *graph = lowering.graph;
    let made = sink
        .connector
        .sink(SinkRequest {
            name: sink.name.clone(),
            options,
            schema: Arc::clone(&flow.schema),
            partition_columns: inputs.partition_columns,
            streaming: mode == Mode::Streaming,
            env: env.clone(),
        })
        .await
        .map_err(|error| error.at(Some(sink.place)))?;
    sink.check_takes(&*made, &flow.schema, sink.place)?;
    attach(graph, sink, made, flow)
}

/// Adds the node of a sink behind a flow.
fn attach(graph: &mut Graph, sink: &SinkTable, made: Arc<dyn Sink>, flow: Flow) -> Result<()> {
    let single = made.is_single() && flow.parallelism > 1;
    let (parallelism, partitioning) = if single {
        (1, Partitioning::Rebalance)
    } else {
        (flow.parallelism, Partitioning::Forward)
    };
    let at = graph.add(Node {
        id: sink.name.as_str().into(),
        name: sink.name.clone(),
        kind: NodeKind::Sink(made),
        parallelism,
        schema: flow.schema,
    })?;
    graph.connect(Edge {
        from: flow.at,
        to: at,
        input: 0,
        partitioning,
    })
}

impl Lowering<'_> {
    /// Brings the rows of all queries together.
    fn join_all(&mut self, mut flows: Vec<Flow>) -> Result<Flow> {
        if flows.len() == 1 {
            return Ok(flows.swap_remove(0));
        }
        let Some(first) = flows.first() else {
            return Err(Error::internal("a sink without a query"));
        };
        let names = rows_schema(&first.schema);
        self.union(flows, &names)
    }
}

/// Rows of several queries go into one sink only if their columns have the same types.
fn check_same(flows: &[Flow], flow: &Flow, sink: &SinkTable, place: Place) -> Result<()> {
    let Some(first) = flows.first() else {
        return Ok(());
    };
    let describe = |flow: &Flow| {
        let rows = rows_schema(&flow.schema);
        let columns = rows.fields().iter();
        columns
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (wanted, found) = (describe(first), describe(flow));
    if wanted == found {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!(
            "the queries that are inserted into \"{}\" give different columns",
            sink.name
        ),
    )
    .detail(format!("the first gives ({wanted}), this one ({found})"))
    .hint("declare the sink's columns: CREATE SINK name (column TYPE, ...) WITH (...)")
    .at(Some(place)))
}
