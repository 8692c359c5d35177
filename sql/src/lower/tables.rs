//! The sides of joins that end: DataFusion plans them, whatever SQL they hold, and a join reads them
//! whole before its other side.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::error::Result;
use weir_engine::source::Boundedness;

use super::{Lowering, Sources, for_each_source};
use crate::plan::Planner;

/// Plans of sides that end, with what DataFusion makes of them.
pub(super) type Tables = Vec<(Arc<LogicalPlan>, Arc<dyn ExecutionPlan>)>;

/// Plans the sides of all joins of a plan that end and whose rows have no event time: one with a
/// watermark is a stream, whose rows count when they come.
pub(super) async fn tables(
    plan: &LogicalPlan,
    sources: &Sources,
    planner: &Planner,
) -> Result<Tables> {
    let mut sides = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node {
            for side in [&join.left, &join.right] {
                if is_table(side, sources)? {
                    sides.push(Arc::clone(side));
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut tables = Tables::new();
    for side in sides {
        let island = planner.island(&side, None).await?;
        tables.push((side, island));
    }
    Ok(tables)
}

fn is_table(plan: &LogicalPlan, sources: &Sources) -> Result<bool> {
    let mut ends = true;
    for_each_source(plan, &mut |_, table| {
        let source = sources.get(table.name());
        ends &= table.watermark().is_none()
            && source.is_some_and(|source| source.boundedness() == Boundedness::Bounded);
    })?;
    Ok(ends)
}

impl Lowering<'_> {
    /// What DataFusion makes of a side of a join, if the side ends.
    pub(super) fn table(&self, side: &Arc<LogicalPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        let mut tables = self.tables.iter();
        let found = tables.find(|(plan, _)| Arc::ptr_eq(plan, side));
        found.map(|(_, island)| Arc::clone(island))
    }
}
