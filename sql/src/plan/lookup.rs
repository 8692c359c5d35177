//! The logical node of `FOR SYSTEM_TIME AS OF PROCTIME()`: a table whose rows are looked up at the
//! time when the other side of a join asks for them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result as DfResult, plan_err};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast::TableFactor;

/// Takes tables with a version out of DataFusion's hands, which would drop it.
#[derive(Debug)]
pub(crate) struct Lookups;

impl RelationPlanner for Lookups {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let TableFactor::Table { version, alias, .. } = &mut relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if version.take().is_none() {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let alias = alias.take();
        let node = LookupNode::new(context.plan(relation)?);
        let plan = LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// A table that a join looks up. Nothing is pushed below it but the choice of columns, so that the
/// table itself stands under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LookupNode {
    input: LogicalPlan,
}

impl LookupNode {
    /// Marks a table.
    pub(crate) fn new(input: LogicalPlan) -> Self {
        Self { input }
    }

    /// The table.
    pub(crate) fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl PartialOrd for LookupNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for LookupNode {
    fn name(&self) -> &'static str {
        "Lookup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup: as of PROCTIME()")
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        match inputs.pop() {
            Some(input) => Ok(Self { input }),
            None => plan_err!("a lookup has one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// The node of a plan, if it is a lookup.
pub(crate) fn as_lookup(plan: &LogicalPlan) -> Option<&LookupNode> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Whether a plan has a lookup.
pub(super) fn looks_up(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= as_lookup(node).is_some();
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Takes the marks away: over tables that have an end, a lookup is a join with all that is there.
pub(super) fn read_in_full(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let read = plan.transform_down_with_subqueries(|node| {
        Ok(match as_lookup(&node) {
            Some(lookup) => {
                Transformed::new(lookup.input.clone(), true, TreeNodeRecursion::Continue)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(read.data)
}
