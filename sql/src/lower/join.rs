//! Joins: decides which operator a join becomes, and brings its sides to it.
//!
//! A side that is asked by key is no stream, and is no operator's input. Else, in this order: both sides in the same windows; both sides with event times that a condition
//! binds to each other; a table that ends; else all rows of both sides are kept, and the results
//! are a changelog. Wherever changes of one side come in, the last holds.

mod lookup;
mod sides;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::JoinType;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use weir_engine::error::{Error, Result};
use weir_engine::graph::{Edge, NodeKind, Partitioning};
use weir_engine::join::{
    IntervalJoinFactory, JoinKind, JoinSpec, StreamTableJoinFactory, UpdatingJoinFactory,
    WindowJoinFactory,
};
use weir_engine::operator::OperatorFactory;

use super::bounds::Bounds;
use super::flow::{Flow, Role};
use super::nodes::spread;
use super::stateless::node_column;
use super::{Lowering, refuse};
use sides::{Sides, may_be_null};

impl Lowering<'_> {
    /// A join of two sides.
    pub(super) fn join(&mut self, join: &Join, plan: &LogicalPlan) -> Result<Flow> {
        if let Some(asked) = self.asked(&join.right) {
            return self.lookup_join(join, plan, asked);
        }
        let (kind, mirrored) = match join.join_type {
            JoinType::RightSemi => (JoinKind::LeftSemi, true),
            JoinType::RightAnti => (JoinKind::LeftAnti, true),
            other => match JoinKind::of(other) {
                Some(kind) => (kind, false),
                None => return Err(refuse::node(plan)),
            },
        };
        if join.null_aware && may_be_null(join)? {
            return Err(refuse::not_in());
        }
        let plans = match mirrored {
            true => [&join.right, &join.left],
            false => [&join.left, &join.right],
        };
        let table = self.table_side(kind, plans);
        let stream = usize::from(table == Some(0));
        let first = self.settled(plans, stream)?;
        // Changes of the stream must find the rows of the table that they found before.
        let table = table.filter(|_| !first.is_changelog());
        let second = match table.and_then(|side| self.table(plans.get(side)?)) {
            Some(island) => self.island(island)?,
            None => self.settled(plans, 1 - stream)?,
        };
        let flows = match stream {
            0 => [first, second],
            _ => [second, first],
        };
        let sides = self.sides(join, kind, mirrored, flows)?;
        match table {
            Some(table) => self.table_join(sides, table),
            None => self.stream_join(sides),
        }
    }

    fn settled(&mut self, plans: [&Arc<LogicalPlan>; 2], side: usize) -> Result<Flow> {
        let Some(plan) = plans.get(side) else {
            return Err(Error::internal("a join has two sides"));
        };
        let flow = self.lower(plan)?;
        self.settle(flow)
    }

    /// The side that is read to its end before the other, if there is one and its rows need not
    /// come out alone.
    fn table_side(&self, kind: JoinKind, plans: [&Arc<LogicalPlan>; 2]) -> Option<usize> {
        let may_be: &[usize] = match kind {
            JoinKind::Inner => &[1, 0],
            JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti => &[1],
            JoinKind::Right => &[0],
            JoinKind::Full => &[],
        };
        let is_table = |side: &usize| plans.get(*side).is_some_and(|p| self.table(p).is_some());
        may_be.iter().copied().find(is_table)
    }

    /// Rows that DataFusion reads and computes.
    fn island(&mut self, island: Arc<dyn ExecutionPlan>) -> Result<Flow> {
        let schema = island.schema();
        let partitions = island.output_partitioning().partition_count();
        let parallelism = u32::try_from(partitions).unwrap_or(u32::MAX).max(1);
        let at = self.add("table", "", NodeKind::Island(island), parallelism, &schema)?;
        Ok(Flow::of(at, parallelism, schema, Vec::new()))
    }

    fn sides<'a>(
        &self,
        join: &'a Join,
        kind: JoinKind,
        mirrored: bool,
        flows: [Flow; 2],
    ) -> Result<Sides<'a>> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let compile = |expr: &Expr, schema| self.target.planner.physical_expr(expr, schema);
        let on = join.on.iter().map(|(l, r)| {
            let (l, r) = (compile(l, left)?, compile(r, right)?);
            Ok(if mirrored { (r, l) } else { (l, r) })
        });
        let on = on.collect::<Result<Vec<_>>>()?;
        let schemas = match mirrored {
            true => [Arc::clone(right), Arc::clone(left)],
            false => [Arc::clone(left), Arc::clone(right)],
        };
        let filter = join.filter.clone();
        let conditions = filter.map_or_else(Vec::new, split_conjunction_owned);
        Ok(Sides {
            join,
            kind,
            flows,
            schemas,
            mirrored,
            on,
            conditions,
        })
    }

    fn table_join(&mut self, sides: Sides<'_>, table: usize) -> Result<Flow> {
        let keep = sides.roles(|side, role| match side == table {
            true => Role::Plain,
            false => role,
        });
        let factory = StreamTableJoinFactory::try_new(self.join_spec(&sides)?, table)?;
        self.connect(sides, Arc::new(factory), keep)
    }

    fn stream_join(&mut self, mut sides: Sides<'_>) -> Result<Flow> {
        if sides.flows.iter().any(Flow::is_changelog) {
            return self.updating_join(sides);
        }
        if let Some(ends) = self.window_ends(&mut sides)? {
            let keep = sides.roles(|_, role| match role {
                Role::Start(_) | Role::End(_) => role,
                _ => Role::Plain,
            });
            let factory = WindowJoinFactory::try_new(self.join_spec(&sides)?, ends)?
                .with_sources(self.sources_of(&sides));
            return self.connect(sides, Arc::new(factory), keep);
        }
        if let Some((bounds, conditions)) = sides.bounds()? {
            return self.interval_join(
                Sides {
                    conditions,
                    ..sides
                },
                bounds,
            );
        }
        self.updating_join(sides)
    }

    fn interval_join(&mut self, sides: Sides<'_>, bounds: Bounds) -> Result<Flow> {
        let keep = sides.roles(|_, role| match role {
            // What goes on is held back by the bounds, so that no time of a pair is late.
            Role::EventTime => Role::EventTime,
            _ => Role::Plain,
        });
        let (times, bounds) = sides.times_of(bounds)?;
        let spec = self.join_spec(&sides)?;
        let factory = IntervalJoinFactory::try_new(spec, times, bounds.lower, bounds.upper)?
            .with_sources(self.sources_of(&sides));
        self.connect(sides, Arc::new(factory), keep)
    }

    /// The sources that feed each side: late rows are kept under their names.
    fn sources_of(&self, sides: &Sides<'_>) -> [Arc<str>; 2] {
        sides
            .flows
            .each_ref()
            .map(|flow| self.graph.sources_of(flow.at))
    }

    fn updating_join(&mut self, sides: Sides<'_>) -> Result<Flow> {
        let keep = sides.roles(|_, _| Role::Plain);
        let spec = self.join_spec(&sides)?;
        let factory = UpdatingJoinFactory::try_new(spec, self.target.planner.state_ttl())?;
        self.connect(sides, Arc::new(factory), keep)
    }

    /// What the operator is told.
    fn join_spec(&self, sides: &Sides<'_>) -> Result<JoinSpec> {
        let [left, right] = &sides.flows;
        let filter = conjunction(sides.conditions.iter().cloned());
        let filter = filter
            .map(|filter| {
                let schema = sides.both()?;
                let compiled = self.target.planner.physical_expr(&filter, &schema)?;
                sides.place(compiled)
            })
            .transpose()?;
        let output = sides.output();
        let columns = output.iter().map(|column| sides.column(*column));
        let named = sides.join.schema.fields().iter();
        let fields = named.zip(columns).map(|(named, found)| {
            let (side, field) = found?;
            let alone = match side {
                0 => matches!(sides.kind, JoinKind::Right | JoinKind::Full),
                _ => matches!(sides.kind, JoinKind::Left | JoinKind::Full),
            };
            let nullable = field.is_nullable() || alone;
            Ok(Field::new(
                named.name(),
                field.data_type().clone(),
                nullable,
            ))
        });
        Ok(JoinSpec {
            kind: sides.kind,
            inputs: [Arc::clone(&left.schema), Arc::clone(&right.schema)],
            on: sides.on.clone(),
            null_equality: sides.join.null_equality,
            filter,
            schema: Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)),
            output,
        })
    }

    /// The ends of the windows that both sides are in, if they must be the same for a pair. An end
    /// that the plan has left out is computed.
    fn window_ends(&mut self, sides: &mut Sides<'_>) -> Result<Option<[Arc<dyn PhysicalExpr>; 2]>> {
        let Some(windows) = sides.same_windows() else {
            return Ok(None);
        };
        let mut ends = Vec::with_capacity(2);
        for (flow, windows) in sides.flows.iter_mut().zip(windows) {
            let find = |role: Role| flow.roles.iter().position(|other| *other == role);
            let at = match (find(Role::End(windows)), find(Role::Start(windows))) {
                (Some(end), _) => end,
                (None, Some(start)) => self.add_end(flow, start, windows)?,
                (None, None) => return Ok(None),
            };
            ends.push(node_column(flow, at));
        }
        Ok(<[_; 2]>::try_from(ends).ok())
    }

    /// Adds the operator: equal keys of both sides meet in one subtask. Without keys there is one.
    fn connect(
        &mut self,
        sides: Sides<'_>,
        factory: Arc<dyn OperatorFactory>,
        roles: Vec<Role>,
    ) -> Result<Flow> {
        let schema = factory.schema();
        let parallelism = match sides.on.is_empty() {
            true => 1,
            false => self.target.parallelism,
        };
        let at = self.add(
            "join",
            "",
            NodeKind::Operator(factory),
            parallelism,
            &schema,
        )?;
        let key = sides.key();
        let Sides { flows, on, .. } = sides;
        let (left, right) = on.into_iter().unzip();
        let watermarked = flows.iter().any(|flow| flow.watermarked);
        let keys: [Vec<_>; 2] = [left, right];
        for (input, (flow, keys)) in flows.iter().zip(keys).enumerate() {
            let partitioning = match keys.is_empty() {
                true => spread(flow, 1),
                false => Partitioning::Hash(keys),
            };
            self.graph.connect(Edge {
                from: flow.at,
                to: at,
                input,
                partitioning,
            })?;
        }
        Ok(Flow {
            watermarked,
            key,
            ..Flow::of(at, parallelism, schema, roles)
        })
    }
}
