//! The rules of a view or a sink: in front of where its rows become visible one node for all rules over
//! single rows, one for each scope that rows wait for, and one for each key.

use std::sync::Arc;

use weir_engine::changelog::rows_schema;
use weir_engine::error::Result;
use weir_engine::graph::Partitioning;
use weir_engine::rules::keyed::Spread;
use weir_engine::rules::{Action, Judge, Rule, RulesFactory, Step};

use super::Lowering;
use super::flow::{Flow, Role};
use super::nodes::spread;
use super::steps::Behind;
use crate::ast::Constraint;
use crate::rules::gate::of_mode;
use crate::rules::{Arrival, Ruled, plan};

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
        let time = flow.roles.iter().position(|role| *role == Role::EventTime);
        let time = time
            .and_then(|at| rows.fields().get(at))
            .map(|field| field.name().as_str());
        let arrival = match (flow.is_changelog(), flow.watermarked) {
            (true, _) => Arrival::Changes,
            (false, true) => Arrival::Rows(time),
            (false, false) if self.is_streaming() => Arrival::Rows(None),
            (false, false) => Arrival::Ended,
        };
        let ruled = Ruled {
            table,
            schema: &rows,
            clock: !flow.is_changelog(),
            arrival,
            fixed: &fixed,
        };
        let planned = plan(self.target.planner, &ruled, constraints)?;
        let rules = planned.into_iter().map(|planned| planned.rule).collect();
        let rules: Vec<Rule> = of_mode(rules, self.is_streaming())?;
        let judge = Arc::new(Judge::try_new(table, &rules, &flow.schema, time)?);
        let parallelism = flow.parallelism;
        let mut flow = flow;
        let quarantines = |rule: &Rule| matches!(rule.action, Action::Quarantine(_));
        let takes = |rule: &Rule| rule.is_single() || quarantines(rule);
        // Rows that come back from quarantine enter here, also those of rules over keys, unless rows wait.
        if judge.rules().iter().any(takes) {
            let factory = RulesFactory::new(table, Arc::clone(&judge), Arc::clone(&flow.schema));
            let (at, schema) = self.follow(flow.at, parallelism, "rules", "", Arc::new(factory))?;
            flow = Flow { at, schema, ..flow };
        }
        let steps = Step::all(&judge, &flow.schema, None);
        for step in steps {
            flow = self.step(flow, table, &step)?;
        }
        Ok(flow)
    }

    /// Adds the node of rules over more than one row.
    fn step(&mut self, flow: Flow, table: &str, step: &Step) -> Result<Flow> {
        let alone = match step.spread() {
            Spread::One => spread(&flow, 1),
            _ => Partitioning::Rebalance,
        };
        let behind = Behind {
            prefix: self.target.prefix,
            table,
            of_source: false,
            parallelism: self.target.parallelism,
            alone,
        };
        let at = behind.add(&mut self.graph, flow.at, step)?;
        let node = self.graph.node(at)?;
        Ok(Flow {
            at,
            schema: Arc::clone(&node.schema),
            parallelism: node.parallelism,
            ..flow
        })
    }
}
