//! SESSION windows inside an island, as window functions of DataFusion, which sort and spill.
//!
//! A row starts a session when there is none before it, of those with the same keys, within the
//! gap. The number of starts up to a row tells its session; the first and the last row of the
//! session tell the window.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as DfResult, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition,
    lit, when,
};

use super::window_table::{WINDOW_END, WINDOW_START, WindowTableNode, Windowing};

/// Names that no query can write.
const NEW: &str = "\u{0}new";
const NUMBER: &str = "\u{0}session";

/// Replaces the SESSION windows of a plan.
pub(super) fn expand(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let has_sessions = plan.exists(|node| Ok(session_of(node).is_some()))?;
    if !has_sessions {
        return Ok(plan);
    }
    let expanded = plan.transform_up_with_subqueries(|node| {
        let expanded = match session_of(&node) {
            Some((window, gap, keys)) => windows(window, gap, keys)?,
            // What lies above may see other nullability.
            None => node.recompute_schema()?,
        };
        Ok(Transformed::yes(expanded))
    })?;
    Ok(expanded.data)
}

fn session_of(plan: &LogicalPlan) -> Option<(&WindowTableNode, i64, &[Column])> {
    let LogicalPlan::Extension(Extension { node }) = plan else {
        return None;
    };
    let window = node.as_any().downcast_ref::<WindowTableNode>()?;
    match window.windowing() {
        Windowing::Session { gap, keys } => Some((window, *gap, keys)),
        Windowing::Fixed(_) => None,
    }
}

fn windows(window: &WindowTableNode, gap: i64, keys: &[Column]) -> DfResult<LogicalPlan> {
    let time = Expr::Column(window.time().clone());
    let gap = lit(ScalarValue::new_interval_mdn(
        0,
        0,
        gap.saturating_mul(1_000),
    ));
    let keys: Vec<Expr> = keys.iter().cloned().map(Expr::Column).collect();
    let in_order = || vec![Sort::new(time.clone(), true, false)];
    let rows: Vec<Expr> = columns(window.input());
    let with = |more: Vec<Expr>| rows.iter().cloned().chain(more).collect::<Vec<_>>();

    let before = lag(time.clone(), Some(1), None)
        .partition_by(keys.clone())
        .order_by(in_order())
        .build()?;
    let is_first = named(&before)
        .is_null()
        .or(time.clone().gt_eq(named(&before) + gap.clone()));
    let is_new = when(is_first, lit(1_i64)).otherwise(lit(0_i64))?;
    // Rows of one moment have one session: the count takes all of them in.
    let number = over(sum_udaf(), Expr::Column(Column::new_unqualified(NEW)))
        .partition_by(keys.clone())
        .order_by(in_order())
        .build()?;
    let mut of_session = keys;
    of_session.push(Expr::Column(Column::new_unqualified(NUMBER)));
    let first = over(min_udaf(), time.clone())
        .partition_by(of_session.clone())
        .build()?;
    let last = over(max_udaf(), time.clone())
        .partition_by(of_session)
        .build()?;
    let (qualifier, _) = window
        .input()
        .schema()
        .qualified_field_from_column(window.time())?;
    let qualifier = qualifier.cloned();
    let window_start = named(&first).alias_qualified(qualifier.clone(), WINDOW_START);
    let window_end = (named(&last) + gap).alias_qualified(qualifier, WINDOW_END);

    LogicalPlanBuilder::from(window.input().clone())
        .filter(time.clone().is_not_null())?
        .window([before])?
        .project(with(vec![is_new.alias(NEW)]))?
        .window([number.clone()])?
        .project(with(vec![named(&number).alias(NUMBER)]))?
        .window([first, last])?
        .project(with(vec![window_start, window_end]))?
        .build()
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    let columns = plan.schema().columns().into_iter();
    columns.map(Expr::Column).collect()
}

/// An aggregate function as a window function.
fn over(function: std::sync::Arc<datafusion::logical_expr::AggregateUDF>, argument: Expr) -> Expr {
    let function = WindowFunctionDefinition::AggregateUDF(function);
    Expr::from(WindowFunction::new(function, vec![argument]))
}

/// The column in which a window function's result comes.
fn named(function: &Expr) -> Expr {
    Expr::Column(Column::new_unqualified(function.schema_name().to_string()))
}
