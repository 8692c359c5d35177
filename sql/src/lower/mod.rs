//! From the optimised logical plan to the runtime's graph.
//!
//! Streaming stretches become the runtime's own operators. In batch mode a query is one island,
//! planned by DataFusion, except where windows are aggregated over sources that know in advance how
//! early the rows of their splits are: there the window operator is faster and needs memory for the
//! open windows only.

mod aggregate;
mod anomaly;
mod asked;
mod bounds;
mod checks;
mod emit;
mod endless;
mod flow;
mod join;
mod judged;
mod nodes;
mod outlet;
mod rank;
mod referred;
mod refuse;
mod share;
mod sinks;
mod stateless;
mod steps;
mod tables;
mod text_views;
mod updating;
mod upsert;
mod views;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use weir_engine::error::{Place, Result};
use weir_engine::graph::{Graph, NodeKind};
use weir_engine::source::Source;

use crate::ast::Emit;
use crate::catalog::source::SourceTable;
use crate::plan::anomaly::AnomalyNode;
use crate::plan::lookup::as_lookup;
use crate::plan::{Planner, window_table::WindowTableNode};
use crate::settings::Mode;
pub(crate) use checks::add_check;
pub(crate) use endless::check_last;
use flow::Flow;
pub(crate) use outlet::{add_judged, add_outlet};
pub(crate) use referred::Referrals;
pub(crate) use share::{agree, share};
pub(crate) use sinks::{SinkInputs, SinkQuery, add_sink};
pub(crate) use views::add_view;

/// The sources of a plan by name, made for its mode.
type Sources = BTreeMap<String, Arc<dyn Source>>;

/// Calls a function with every source that a plan reads.
pub(crate) fn for_each_source(
    plan: &LogicalPlan,
    visit: &mut dyn FnMut(&Arc<dyn TableProvider>, &SourceTable),
) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<SourceTable>()
        {
            visit(&provider, table);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Whether all that a plan reads has an end.
pub(crate) fn is_bounded(plan: &LogicalPlan) -> Result<bool> {
    let mut bounded = true;
    for_each_source(plan, &mut |_, table| bounded &= table.is_bounded())?;
    Ok(bounded)
}

/// Whether a plan reads a source whose rows are changes.
pub(crate) fn reads_changes(plan: &LogicalPlan) -> Result<bool> {
    let mut changes = false;
    for_each_source(plan, &mut |_, table| changes |= table.is_changelog())?;
    Ok(changes)
}

/// Whether a plan reads a source with rules over keys. In batch mode all of its readers are islands,
/// which can read it in one order.
fn has_keyed_rules(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    for_each_source(plan, &mut |_, table| {
        found |= table.rules().iter().any(|rule| rule.keyed.is_some());
    })?;
    Ok(found)
}

/// Whether a plan asks how rows come: in batch mode files are told apart in islands, which no watermark goes through.
fn tells_arrivals(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    for_each_source(plan, &mut |_, table| found |= table.is_arriving())?;
    Ok(found)
}

/// The tables over the sources that a plan reads, by name.
pub(crate) fn tables_read(plan: &LogicalPlan) -> Result<BTreeMap<String, Arc<dyn TableProvider>>> {
    let mut found = BTreeMap::new();
    for_each_source(plan, &mut |provider, table| {
        found.insert(table.name().to_owned(), Arc::clone(provider));
    })?;
    Ok(found)
}

/// Makes the sources of a plan for a mode.
async fn sources(plan: &LogicalPlan, mode: Mode) -> Result<Sources> {
    let mut sources = BTreeMap::new();
    for (name, provider) in tables_read(plan)? {
        if let Some(table) = provider.downcast_ref::<SourceTable>() {
            sources.insert(name, table.source(mode).await?);
        }
    }
    Ok(sources)
}

/// Whether windows over what a plan reads can close before its end in batch mode. Else all of them
/// would be in memory at once, which only DataFusion's aggregation can spill.
fn closes_windows(plan: &LogicalPlan, sources: &Sources) -> Result<bool> {
    let mut closes = sources.values().all(|source| source.has_exact_lows());
    for_each_source(plan, &mut |_, table| closes &= table.watermark().is_some())?;
    Ok(closes)
}

/// A query on its way into a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Plans what is left to DataFusion.
    pub(crate) planner: &'a Planner,
    /// Batch or streaming.
    pub(crate) mode: Mode,
    /// Subtasks of each node.
    pub(crate) parallelism: u32,
    /// What the ids of the nodes start with.
    pub(crate) prefix: &'a str,
    /// Where the statement stands.
    pub(crate) place: Option<Place>,
    /// When its results come out, if the statement says so.
    pub(crate) emit: Option<Emit>,
}

impl Target<'_> {
    /// Adds the nodes of a query and gives the flow at their end.
    pub(crate) async fn lower(&self, graph: &mut Graph, plan: &LogicalPlan) -> Result<Flow> {
        let sources = sources(plan, self.mode)
            .await
            .map_err(|error| error.at(self.place))?;
        // Changes are nothing that DataFusion knows.
        let streaming = self.mode == Mode::Streaming || reads_changes(plan)?;
        let windows = has_windows(plan)? && closes_windows(plan, &sources)?;
        let operators = windows || asked::asks_only(plan)?;
        let is_island = has_keyed_rules(plan)? || tells_arrivals(plan)?;
        if streaming || operators && !is_island {
            let optimised = self.planner.optimize_streaming(plan.clone(), self.place)?;
            let asks = !streaming && asked::asks_only(&optimised)?;
            // A failed attempt must leave no nodes behind.
            let mut lowering = Lowering::new(*self, graph.clone(), sources);
            lowering.streaming = streaming || asks;
            if lowering.streaming {
                let tables = tables::tables(&optimised, &lowering.sources, self.planner).await;
                match tables {
                    Ok((tables, asked)) => (lowering.tables, lowering.asked) = (tables, asked),
                    Err(error) if streaming => return Err(error.at(self.place)),
                    // What cannot be asked is read whole.
                    Err(_) => lowering.streaming = false,
                }
            }
            let streams = lowering.streaming;
            let flow = lowering
                .lower(&optimised)
                .and_then(|flow| lowering.settle(flow));
            let flow = flow.and_then(|flow| lowering.check_emit().map(|()| flow));
            match flow {
                Ok(flow) if streams || lowering.aggregations > 0 => {
                    *graph = lowering.graph;
                    return Ok(flow);
                }
                Err(error) if streaming => return Err(error.at(self.place)),
                Ok(_) | Err(_) => {}
            }
        }
        let island = self.island(plan).await?;
        let partitions = island.output_partitioning().partition_count();
        let mut lowering = Lowering::new(*self, graph.clone(), BTreeMap::new());
        let schema = island.schema();
        let parallelism = u32::try_from(partitions).unwrap_or(u32::MAX).max(1);
        let roles = vec![flow::Role::Plain; schema.fields().len()];
        let at = lowering.add("island", "", NodeKind::Island(island), parallelism, &schema)?;
        *graph = lowering.graph;
        Ok(Flow::of(at, parallelism, schema, roles))
    }
}

impl Target<'_> {
    /// Plans by DataFusion, with texts as views where that is possible.
    async fn island(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(viewed) = text_views::with_text_views(plan).await?
            && let Ok(island) = self.planner.island(&viewed, self.place).await
        {
            return Ok(island);
        }
        self.planner.island(plan, self.place).await
    }
}

fn has_windows(plan: &LogicalPlan) -> Result<bool> {
    Ok(plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<WindowTableNode>()))
    })?)
}

/// The lowering of one query into the runtime's operators.
struct Lowering<'a> {
    target: Target<'a>,
    graph: Graph,
    sources: Sources,
    tables: tables::Tables,
    /// The right sides of joins that are asked by key.
    asked: Vec<asked::Asked>,
    /// The operators are to run as streams, whose results may change.
    streaming: bool,
    /// Nodes so far, by what they do: their ids are made of it.
    counts: BTreeMap<&'static str, usize>,
    /// Window aggregations so far.
    aggregations: usize,
    /// Whether an aggregation reads what is being lowered.
    inner: bool,
    /// Whether an aggregation does what EMIT says.
    emits: bool,
}

impl<'a> Lowering<'a> {
    fn new(target: Target<'a>, graph: Graph, sources: Sources) -> Self {
        Self {
            target,
            graph,
            sources,
            tables: Vec::new(),
            asked: Vec::new(),
            streaming: target.mode == Mode::Streaming,
            counts: BTreeMap::new(),
            aggregations: 0,
            inner: false,
            emits: false,
        }
    }

    fn is_streaming(&self) -> bool {
        self.streaming
    }

    fn lower(&mut self, plan: &LogicalPlan) -> Result<Flow> {
        refuse::expressions(plan)?;
        match plan {
            LogicalPlan::Projection(projection) => {
                let flow = self.lower_under(projection)?;
                self.project(
                    flow,
                    &projection.expr,
                    projection.input.schema(),
                    &projection.schema,
                )
            }
            LogicalPlan::Filter(filter) => self.lower_filter(filter, &|_| true),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => self.constant(plan),
            LogicalPlan::Union(union) => {
                let flows = union
                    .inputs
                    .iter()
                    .map(|input| {
                        let flow = self.lower(input)?;
                        self.settle(flow)
                    })
                    .collect::<Result<Vec<_>>>()?;
                self.union(flows, union.schema.inner())
            }
            LogicalPlan::Aggregate(aggregate) => {
                let inner = std::mem::replace(&mut self.inner, true);
                let flow = self.lower(&aggregate.input)?;
                self.inner = inner;
                self.aggregate(flow, aggregate, plan)
            }
            LogicalPlan::Join(join) if self.is_streaming() => self.join(join, plan),
            LogicalPlan::Extension(extension) => {
                if let Some(node) = extension.node.as_any().downcast_ref::<AnomalyNode>() {
                    let flow = self.lower(node.input())?;
                    return self.anomalies(flow, node);
                }
                match extension.node.as_any().downcast_ref::<WindowTableNode>() {
                    Some(window) => {
                        let flow = self.lower(window.input())?;
                        self.window(flow, window)
                    }
                    None if as_lookup(plan).is_some() => Err(refuse::lookup_alone()),
                    None => Err(refuse::node(plan)),
                }
            }
            other => Err(refuse::node(other)),
        }
    }

    /// Lowers what a projection reads: columns that it leaves out need not be made.
    fn lower_under(&mut self, projection: &Projection) -> Result<Flow> {
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
            return self.lower(&projection.input);
        };
        refuse::expressions(&projection.input)?;
        let schema = projection.input.schema();
        let columns = projection.expr.iter().flat_map(Expr::column_refs);
        let used: Vec<_> = columns
            .filter_map(|column| schema.maybe_index_of_column(column))
            .collect();
        self.lower_filter(filter, &|column| used.contains(&column))
    }

    /// Lowers a filter of which `uses` tells the columns that are needed above it.
    fn lower_filter(&mut self, filter: &Filter, uses: &dyn Fn(usize) -> bool) -> Result<Flow> {
        if self.is_streaming()
            && let Some(flow) = self.top_n(filter, uses)?
        {
            return Ok(flow);
        }
        let flow = self.lower(&filter.input)?;
        self.filter(flow, &filter.predicate, filter.input.schema())
    }
}
