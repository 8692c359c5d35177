//! Lookup joins: a table is asked for the rows that go with each row of the other side.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Join, LogicalPlan};
use datafusion::physical_expr::expressions::TryCastExpr;
use weir_engine::error::Result;
use weir_engine::graph::{Edge, NodeKind, Partitioning};
use weir_engine::join::{JoinKind, LookupJoinFactory};

use super::Sides;
use crate::lower::asked::Asked;
use crate::lower::flow::{Flow, Role};
use crate::lower::{Lowering, refuse};

impl Lowering<'_> {
    /// A join whose right side is asked by key. Equal keys of the left side are asked for by one
    /// subtask, which may know them from before.
    pub(super) fn lookup_join(
        &mut self,
        join: &Join,
        plan: &LogicalPlan,
        asked: Asked,
    ) -> Result<Flow> {
        let left = self.lower(&join.left)?;
        let left = self.settle(left)?;
        if left.is_changelog() {
            return Err(refuse::lookup_of_changes());
        }
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::LeftSemi => JoinKind::LeftSemi,
            JoinType::LeftAnti => JoinKind::LeftAnti,
            JoinType::Right | JoinType::Full | JoinType::RightSemi | JoinType::RightAnti => {
                return Err(refuse::lookup_outer());
            }
            _ => return Err(refuse::node(plan)),
        };
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(refuse::lookup_of_null());
        }
        if join.null_aware && super::may_be_null(join)? {
            return Err(refuse::not_in());
        }
        // The table has no node of its own: its flow says what its columns are, and ends nowhere.
        let schema = asked.lookup.schema();
        let plain = vec![Role::Plain; schema.fields().len()];
        let right = Flow::of(left.at, left.parallelism, schema, plain);
        let mut sides = self.sides(join, kind, false, [left, right])?;
        self.ask_by(&mut sides, &asked)?;
        let roles = sides.roles(|side, role| match side {
            0 => role,
            _ => Role::Plain,
        });
        let factory = LookupJoinFactory::try_new(self.join_spec(&sides)?, asked.lookup)?;
        self.connect_lookup(sides, factory, roles)
    }

    /// Brings the keys into the types of the table; what it cannot be asked is compared afterwards.
    fn ask_by(&self, sides: &mut Sides<'_>, asked: &Asked) -> Result<()> {
        let [left_schema, right_schema] = &sides.schemas;
        let mut on = Vec::with_capacity(asked.keys.len());
        for ((left, right), key) in sides.join.on.iter().zip(&asked.keys) {
            if key.as_ref().is_none_or(|key| key.narrower.is_some()) {
                sides.conditions.push(left.clone().eq(right.clone()));
            }
            let Some(key) = key else { continue };
            let compile = |expr, schema| self.target.planner.physical_expr(expr, schema);
            let mut given = compile(left, left_schema)?;
            if let Some(own) = &key.narrower {
                // A value that the column cannot have finds nothing, as NULL does.
                given = Arc::new(TryCastExpr::new(given, own.clone()));
            }
            on.push((given, compile(&key.column, right_schema)?));
        }
        sides.on = on;
        Ok(())
    }

    fn connect_lookup(
        &mut self,
        sides: Sides<'_>,
        factory: LookupJoinFactory,
        roles: Vec<Role>,
    ) -> Result<Flow> {
        let schema = factory.schema();
        let parallelism = self.target.parallelism;
        let kind = NodeKind::Lookup(Arc::new(factory));
        let at = self.add("lookup", "", kind, parallelism, &schema)?;
        let keys = sides.on.into_iter().map(|(left, _)| left).collect();
        let [left, _] = sides.flows;
        self.graph.connect(Edge {
            from: left.at,
            to: at,
            input: 0,
            partitioning: Partitioning::Hash(keys),
        })?;
        Ok(Flow {
            watermarked: left.watermarked,
            ..Flow::of(at, parallelism, schema, roles)
        })
    }
}
