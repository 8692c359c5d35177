//! Takes `ANOMALY(...) OVER (...)` out of window nodes.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, Result as DfResult, ScalarValue, internal_err};
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, Window, WindowFunctionDefinition,
};

use super::node::{AnomalyNode, Judging};
use crate::anomaly::FUNCTION;
use crate::anomaly::models::Models;
use crate::anomaly::options::Options;

/// Replaces each call by a node below what else its window node computes.
///
/// What refers to a model by its name gets the options of the model.
pub(in crate::plan) fn extract(plan: LogicalPlan, models: &Models) -> DfResult<LogicalPlan> {
    let has_calls = |node: &LogicalPlan| match node {
        LogicalPlan::Window(window) => window.window_expr.iter().any(|e| call(e).is_some()),
        LogicalPlan::Extension(node) => referring(node).is_some(),
        _ => false,
    };
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= has_calls(node);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !found {
        return Ok(plan);
    }
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) if has_calls(&LogicalPlan::Window(window.clone())) => {
            Ok(Transformed::yes(replace(window, models)?))
        }
        LogicalPlan::Extension(node) => match referring(&node) {
            Some(found) => {
                let node = Arc::new(found.resolved(models)?);
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
            }
            None => Ok(Transformed::no(LogicalPlan::Extension(node))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

/// A node whose options refer to a model.
fn referring(node: &Extension) -> Option<&AnomalyNode> {
    let node = node.node.as_any().downcast_ref::<AnomalyNode>();
    node.filter(|node| node.refers())
}

fn replace(window: Window, models: &Models) -> DfResult<LogicalPlan> {
    let inputs = window.input.schema().fields().len();
    let mut plan = Arc::unwrap_or_clone(window.input);
    let columns = window.schema.columns();
    let mut others = Vec::new();
    for (expr, column) in window
        .window_expr
        .into_iter()
        .zip(columns.iter().skip(inputs))
    {
        match call(&expr) {
            Some(call) => {
                let judging = judging(call)?;
                let node = AnomalyNode::plan(plan, judging, column.name.clone())?;
                let node = node.resolved(models)?;
                plan = LogicalPlan::Extension(Extension {
                    node: Arc::new(node),
                });
            }
            None => others.push(expr),
        }
    }
    if others.is_empty() {
        return Ok(plan);
    }
    let columns = columns.into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(plan)
        .window(others)?
        .project(columns)?
        .build()
}

fn call(expr: &Expr) -> Option<&WindowFunctionParams> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::WindowFunction(function) => match &function.fun {
            WindowFunctionDefinition::WindowUDF(udf) if udf.name() == FUNCTION => {
                Some(&function.params)
            }
            _ => None,
        },
        _ => None,
    }
}

fn judging(call: &WindowFunctionParams) -> DfResult<Judging> {
    let Some((Expr::Literal(ScalarValue::Utf8(Some(options)), _), values)) = call.args.split_last()
    else {
        return internal_err!("the options of an anomaly function are not its last argument");
    };
    Ok(Judging {
        values: values.iter().map(|e| (name_of(e), e.clone())).collect(),
        partition: call.partition_by.clone(),
        order: call.order_by.clone(),
        refers: Options::from_text(options)?.refers(),
        options: options.clone(),
    })
}

/// What a verdict calls a value: the name of a column, or what was written.
pub(super) fn name_of(value: &Expr) -> String {
    match value {
        Expr::Column(Column { name, .. }) => name.clone(),
        Expr::Cast(cast) => name_of(&cast.expr),
        other => other.human_display().to_string(),
    }
}
