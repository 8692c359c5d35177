//! The sides of joins that end: DataFusion plans them, whatever SQL they hold, and a join reads them
//! whole before its other side. Those that are asked by key are not read at all.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::error::Result;
use weir_engine::source::Boundedness;

use super::asked::{Asked, asked};
use super::{Lowering, Sources, for_each_source, refuse};
use crate::plan::Planner;
use crate::plan::lookup::as_lookup;

/// Plans of sides that end, with what DataFusion makes of them.
pub(super) type Tables = Vec<(Arc<LogicalPlan>, Arc<dyn ExecutionPlan>)>;

/// Plans the sides of all joins of a plan that end and whose rows have no event time: one with a
/// watermark is a stream, whose rows count when they come. A side that is to be looked up is read
/// whole too, where its connector cannot be asked by key.
pub(super) async fn tables(
    plan: &LogicalPlan,
    sources: &Sources,
    planner: &Planner,
) -> Result<(Tables, Vec<Asked>)> {
    let mut joins = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node {
            joins.push(join);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let (mut tables, mut all_asked) = (Tables::new(), Vec::new());
    for join in joins {
        let asked = asked(join, sources, planner).await?;
        let sides = match &asked {
            Some(_) => vec![&join.left],
            None => vec![&join.left, &join.right],
        };
        all_asked.extend(asked);
        for side in sides {
            if is_table(side, sources)? {
                let island = planner.island(side, None).await?;
                tables.push((Arc::clone(side), island));
            }
        }
    }
    Ok((tables, all_asked))
}

fn is_table(plan: &LogicalPlan, sources: &Sources) -> Result<bool> {
    let (mut ends, mut timeless) = (None, true);
    for_each_source(plan, &mut |_, table| {
        let source = sources.get(table.name());
        if source.is_none_or(|source| source.boundedness() != Boundedness::Bounded) {
            ends = Some((table.name().to_owned(), table.lookups().join(", ")));
        }
        timeless &= table.watermark().is_none() && !table.is_changelog();
    })?;
    match (ends, is_looked_up(plan)) {
        (Some((name, lookups)), true) => Err(refuse::no_lookup(&name, &lookups)),
        (ends, looked_up) => Ok(ends.is_none() && (timeless || looked_up)),
    }
}

/// Whether a side is `FOR SYSTEM_TIME AS OF PROCTIME()`, whatever is computed of it.
pub(super) fn is_looked_up(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_looked_up(&projection.input),
        LogicalPlan::Filter(filter) => is_looked_up(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => is_looked_up(&alias.input),
        other => as_lookup(other).is_some(),
    }
}

impl Lowering<'_> {
    /// What DataFusion makes of a side of a join, if the side ends.
    pub(super) fn table(&self, side: &Arc<LogicalPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        let mut tables = self.tables.iter();
        let found = tables.find(|(plan, _)| Arc::ptr_eq(plan, side));
        found.map(|(_, island)| Arc::clone(island))
    }
}
