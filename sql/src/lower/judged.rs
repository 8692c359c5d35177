//! The rules of a view or a sink: one node in front of where its rows become visible.

use std::sync::Arc;

use weir_engine::changelog::rows_schema;
use weir_engine::error::Result;
use weir_engine::rules::{Judge, Rule, RulesFactory};

use super::Lowering;
use super::flow::{Flow, Role};
use crate::ast::Constraint;
use crate::rules::{Ruled, plan};

impl Lowering<'_> {
    /// Adds the node that judges the rows of a table, if it has rules.
    pub(super) fn judged(
        &mut self,
        flow: Flow,
        table: &str,
        constraints: &[Constraint],
    ) -> Result<Flow> {
        if constraints.is_empty() {
            return Ok(flow);
        }
        let rows = rows_schema(&flow.schema);
        let key = flow.key.iter().flatten().filter(|_| flow.is_changelog());
        let fixed: Vec<_> = key
            .filter_map(|at| rows.fields().get(*at))
            .map(|field| (field.name().clone(), "changes find their row by it"))
            .collect();
        let ruled = Ruled {
            table,
            schema: &rows,
            clock: !flow.is_changelog(),
            fixed: &fixed,
        };
        let planned = plan(self.target.planner, &ruled, constraints)?;
        let rules: Vec<Rule> = planned.into_iter().map(|planned| planned.rule).collect();
        let time = flow.roles.iter().position(|role| *role == Role::EventTime);
        let time = time
            .and_then(|at| rows.fields().get(at))
            .map(|field| field.name().as_str());
        let judge = Arc::new(Judge::try_new(table, &rules, &flow.schema, time)?);
        let factory = RulesFactory::new(table, judge, Arc::clone(&flow.schema));
        let (at, schema) =
            self.follow(flow.at, flow.parallelism, "rules", "", Arc::new(factory))?;
        Ok(Flow { at, schema, ..flow })
    }
}
