//! Aggregation by windows: one operator, or two phases around a shuffle.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use weir_engine::error::{Error, Result};
use weir_engine::graph::{Edge, NodeKind, Partitioning};
use weir_engine::operator::OperatorFactory;
use weir_engine::window::{
    AggregateSpec, Assign, OutputColumn, Phase, WindowAggregateFactory, needs_single_phase,
};

use super::flow::{Flow, Kind, Origin, Role, Windows};
use super::stateless::{column_index, node_column};
use super::{Lowering, refuse};
use crate::plan::window_table::WINDOW_END;

/// Which columns of the flow are the windows that are grouped by.
struct Grouping {
    windows: Windows,
    start: Option<usize>,
    end: Option<usize>,
}

impl Lowering<'_> {
    /// GROUP BY window_start, window_end, keys.
    pub(super) fn aggregate(
        &mut self,
        flow: Flow,
        aggregate: &Aggregate,
        plan: &LogicalPlan,
    ) -> Result<Flow> {
        if aggregate
            .group_expr
            .iter()
            .any(|expr| matches!(expr, Expr::GroupingSet(_)))
        {
            return Err(refuse::grouping_sets());
        }
        let grouping = match flow.is_changelog() {
            // A window that is closed cannot take changes in.
            true => None,
            false => find_grouping(&flow, aggregate),
        };
        let Some(grouping) = grouping else {
            return self.updating_aggregate(flow, aggregate, plan);
        };
        // Windows of a smaller depth that are still kept back are not those of the grouping.
        let fused = match &flow.pending {
            Some(pending) => {
                pending.windows == grouping.windows && self.is_fusible(&flow, aggregate)?
            }
            None => false,
        };
        let session = matches!(grouping.windows.kind, Kind::Session(_));
        if grouping.end.is_none() && grouping.windows.length().is_none() && !(session && fused) {
            return Err(refuse::shared_start(&grouping.windows.to_string()));
        }
        let flow = if fused { flow } else { self.expand(flow)? };
        let mut flow = self.settle_filter(flow)?;
        let (spec, roles) = self.spec(&mut flow, &grouping, aggregate)?;
        let key = (0..aggregate.group_expr.len()).collect();
        let flow = Flow {
            roles,
            key: Some(key),
            ..self.phases(flow, spec)?
        };
        self.aggregations += 1;
        Ok(flow)
    }

    /// Whether no key and no argument is computed from the window columns, and sessions are those
    /// of the keys.
    fn is_fusible(&self, flow: &Flow, aggregate: &Aggregate) -> Result<bool> {
        let input = aggregate.input.schema();
        if let Some(pending) = flow.pending.as_ref().filter(|pending| pending.is_session()) {
            let keys = aggregate.group_expr.iter().filter_map(|expr| {
                let index = column_index(expr, input);
                match index.map(|index| flow.role(index).windows()) {
                    Some(Some(_)) => None,
                    _ => Some(index.and_then(|index| flow.origin(index))),
                }
            });
            let keys: BTreeSet<Option<usize>> = keys
                .map(|origin| match origin {
                    Some(Origin::Input(index)) => Some(index),
                    _ => None,
                })
                .collect();
            if keys != pending.keys.iter().map(|key| Some(*key)).collect() {
                return Ok(false);
            }
        }
        let used = |expr: &Expr| expr.column_refs().into_iter().cloned().collect::<Vec<_>>();
        let keys = aggregate
            .group_expr
            .iter()
            .filter(|expr| column_index(expr, input).is_none());
        let windows = |expr: &Expr| {
            used(expr).iter().any(|column| {
                let index = input.maybe_index_of_column(column);
                index.is_some_and(|index| flow.role(index).windows().is_some())
            })
        };
        Ok(!keys.chain(&aggregate.aggr_expr).any(windows))
    }

    /// Makes the aggregation's parts, over the columns of the flow's node.
    fn spec(
        &mut self,
        flow: &mut Flow,
        grouping: &Grouping,
        aggregate: &Aggregate,
    ) -> Result<(AggregateSpec, Vec<Role>)> {
        let assign = self.assign(flow, grouping)?;
        let input = aggregate.input.schema();
        let mut keys = Vec::new();
        let mut output = Vec::new();
        let mut fields = Vec::new();
        let mut roles = Vec::new();
        for (expr, named) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
            let index = column_index(expr, input);
            let role = index.map_or(Role::Plain, |index| flow.role(index));
            let is_window = role.windows() == Some(grouping.windows);
            match role {
                Role::Start(_) if is_window => output.push(OutputColumn::WindowStart),
                Role::End(_) if is_window => output.push(OutputColumn::WindowEnd),
                _ => {
                    let Some(key) = self.compile(flow, expr, input)? else {
                        return Err(Error::internal("a key is computed from window columns"));
                    };
                    output.push(OutputColumn::Key(keys.len()));
                    let field = Field::new(
                        named.name(),
                        key.data_type(&flow.schema)?,
                        key.nullable(&flow.schema)?,
                    );
                    fields.push(Arc::new(field));
                    keys.push((key, named.name().clone()));
                    roles.push(Role::Plain);
                    continue;
                }
            }
            roles.push(role);
            fields.push(Arc::new(named.as_ref().clone().with_nullable(false)));
        }
        let mut aggregates = Vec::new();
        let mut filters = Vec::new();
        let named = aggregate
            .schema
            .fields()
            .iter()
            .skip(aggregate.group_expr.len());
        for (expr, named) in aggregate.aggr_expr.iter().zip(named) {
            let lowered = self.function(flow, expr, aggregate)?;
            let function = lowered.aggregate;
            output.push(OutputColumn::Aggregate(aggregates.len()));
            fields.push(Arc::new(
                function.field().as_ref().clone().with_name(named.name()),
            ));
            roles.push(Role::Plain);
            aggregates.push(function);
            filters.push(lowered.filter);
        }
        let schema = Arc::new(Schema::new(fields));
        let input = Arc::clone(&flow.schema);
        Ok((
            AggregateSpec {
                assign,
                keys,
                aggregates,
                filters,
                input,
                output,
                schema,
                firing: self.firing(grouping.windows)?,
                sources: self.graph.sources_of(flow.at),
            },
            roles,
        ))
    }

    pub(super) fn function(
        &self,
        flow: &Flow,
        expr: &Expr,
        aggregate: &Aggregate,
    ) -> Result<LoweredAggregate> {
        let logical = self.columns_of(flow, aggregate)?;
        let expr = one_name_each(expr, flow, aggregate.input.schema())?;
        Ok(LoweredAggregateBuilder::new(
            &expr,
            &logical,
            &flow.schema,
            self.target.planner.state().execution_props(),
            &PhysicalPlanningContext::default(),
        )
        .build()?)
    }

    /// The node's columns under the names by which the plan knows them.
    fn columns_of(&self, flow: &Flow, aggregate: &Aggregate) -> Result<DFSchema> {
        let input = aggregate.input.schema();
        let fields = flow
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| {
                let at = flow
                    .columns
                    .iter()
                    .position(|(o, _)| *o == Origin::Input(index));
                match at {
                    Some(at) => {
                        let (qualifier, named) = input.qualified_field(at);
                        let field = field.as_ref().clone().with_name(named.name());
                        (qualifier.cloned(), Arc::new(field))
                    }
                    // Columns that the plan does not know get names that it cannot write.
                    None => {
                        let name = format!("\u{0}{index}");
                        (None, Arc::new(field.as_ref().clone().with_name(name)))
                    }
                }
            })
            .collect();
        Ok(DFSchema::new_with_metadata(fields, Default::default())?)
    }

    fn assign(&mut self, flow: &mut Flow, grouping: &Grouping) -> Result<Assign> {
        if let Some(pending) = &flow.pending {
            let column = pending.time;
            return Ok(match grouping.windows.kind {
                Kind::Fixed(spec) => Assign::Time { column, spec },
                Kind::Session(gap) => Assign::Session { column, gap },
            });
        }
        let node = |role: Role| flow.roles.iter().position(|other| *other == role);
        let start = grouping
            .start
            .and_then(|_| node(Role::Start(grouping.windows)));
        match (start, node(Role::End(grouping.windows))) {
            (start, Some(end)) => Ok(Assign::Columns {
                start,
                end: Some(end),
            }),
            (Some(start), None) => {
                let end = self.add_end(flow, start, grouping.windows)?;
                Ok(Assign::Columns {
                    start: Some(start),
                    end: Some(end),
                })
            }
            (None, None) => Err(Error::internal("a window aggregation without windows")),
        }
    }

    /// Computes the end of windows of which the plan has kept the start alone: without it nothing
    /// says when they are over.
    pub(super) fn add_end(
        &mut self,
        flow: &mut Flow,
        start: usize,
        windows: Windows,
    ) -> Result<usize> {
        let length = windows.length();
        let length = length.ok_or_else(|| Error::internal("a window has no fixed length"))?;
        let end = later(node_column(flow, start), length)?;
        let fields = flow.schema.fields().iter().enumerate();
        let mut computed: Vec<_> = fields
            .map(|(i, field)| (node_column(flow, i), field.name().clone()))
            .collect();
        computed.push((end, WINDOW_END.to_owned()));
        let columns = flow.columns.clone();
        *flow = Flow {
            columns,
            ..self.compute(flow.clone(), computed)?
        };
        Ok(flow.schema.fields().len() - 1)
    }

    /// One phase where the rows are in one subtask, else local and final around a shuffle.
    fn phases(&mut self, flow: Flow, spec: AggregateSpec) -> Result<Flow> {
        if flow.parallelism == 1 {
            let factory = WindowAggregateFactory::try_new(spec, Phase::Single)?;
            let (at, schema) = self.follow(flow.at, 1, "aggregate", "", Arc::new(factory))?;
            return Ok(flow.behind(at, schema, Vec::new()));
        }
        if needs_single_phase(&spec) {
            let keys = spec.keys.iter().map(|(key, _)| Arc::clone(key)).collect();
            let factory = WindowAggregateFactory::try_new(spec, Phase::Single)?;
            return self.shuffle(flow, keys, "", factory);
        }
        let local = WindowAggregateFactory::try_new(spec.clone(), Phase::Local)?;
        let keys = local.shuffle_keys();
        let (at, schema) = self.follow(
            flow.at,
            flow.parallelism,
            "aggregate",
            ".local",
            Arc::new(local),
        )?;
        let factory = WindowAggregateFactory::try_new(spec, Phase::Final)?;
        self.shuffle(Flow { at, schema, ..flow }, keys, "", factory)
    }

    /// Brings equal keys together; without keys, all rows.
    fn shuffle(
        &mut self,
        flow: Flow,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        suffix: &str,
        factory: WindowAggregateFactory,
    ) -> Result<Flow> {
        let (parallelism, partitioning) = if keys.is_empty() {
            (1, Partitioning::Rebalance)
        } else {
            (flow.parallelism, Partitioning::Hash(keys))
        };
        let schema = factory.schema();
        let kind = NodeKind::Operator(Arc::new(factory));
        let at = self.add("aggregate", suffix, kind, parallelism, &schema)?;
        self.graph.connect(Edge {
            from: flow.at,
            to: at,
            input: 0,
            partitioning,
        })?;
        Ok(Flow {
            parallelism,
            ..flow.behind(at, schema, Vec::new())
        })
    }
}

/// Of several names that the plan has for one column of the node, uses the first.
fn one_name_each(expr: &Expr, flow: &Flow, input: &DFSchema) -> Result<Expr> {
    let first = |column: &Column| {
        let origin = flow.origin(input.maybe_index_of_column(column)?)?;
        flow.columns.iter().position(|(other, _)| *other == origin)
    };
    let named = expr.clone().transform(|part| {
        let at = match &part {
            Expr::Column(column) => first(column),
            _ => None,
        };
        Ok(match at {
            Some(at) => Transformed::yes(Expr::Column(input.qualified_field(at).into())),
            None => Transformed::no(part),
        })
    })?;
    Ok(named.data)
}

/// A time and some microseconds more.
pub(super) fn later(time: Arc<dyn PhysicalExpr>, micros: i64) -> Result<Arc<dyn PhysicalExpr>> {
    let nanos = micros
        .checked_mul(1_000)
        .ok_or_else(|| Error::internal("a window is longer than an interval can tell"))?;
    let size = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanos)));
    let size = Arc::new(Literal::new(size));
    Ok(Arc::new(BinaryExpr::new(time, Operator::Plus, size)))
}

/// The windows of the greatest depth among the keys.
fn find_grouping(flow: &Flow, aggregate: &Aggregate) -> Option<Grouping> {
    let input = aggregate.input.schema();
    let columns = aggregate
        .group_expr
        .iter()
        .filter_map(|expr| column_index(expr, input));
    let roles: Vec<(usize, Role)> = columns.map(|index| (index, flow.role(index))).collect();
    let windows = roles
        .iter()
        .filter_map(|(_, role)| role.windows())
        .max_by_key(|windows| windows.depth)?;
    let find = |wanted: Role| {
        roles
            .iter()
            .find(|(_, role)| *role == wanted)
            .map(|(i, _)| *i)
    };
    Some(Grouping {
        windows,
        start: find(Role::Start(windows)),
        end: find(Role::End(windows)),
    })
}
