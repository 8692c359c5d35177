//! Aggregates that are expressions over others: what is often asked of the quality of a column. They are
//! expanded before a query is planned, so that they can be used wherever aggregates can, and merge, spill and
//! take rows back as those do.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, visit_expressions,
    visit_expressions_mut,
};
use weir_engine::Result;
use weir_engine::error::Error;

use crate::parse::skeleton;

/// Name, arguments, and the expression over them.
const MEASURES: [(&str, &[&str], &str); 12] = [
    (
        "completeness",
        &["x"],
        "(CAST(count(x) AS DOUBLE) / nullif(count(*), 0))",
    ),
    ("null_count", &["x"], "(count(*) - count(x))"),
    (
        "null_ratio",
        &["x"],
        "(CAST(count(*) - count(x) AS DOUBLE) / nullif(count(*), 0))",
    ),
    (
        "compliance",
        &["x"],
        "(CAST(count(*) FILTER (WHERE x) AS DOUBLE) / nullif(count(x), 0))",
    ),
    (
        "unique_ratio",
        &["x"],
        "(CAST(count(DISTINCT x) AS DOUBLE) / nullif(count(x), 0))",
    ),
    (
        "distinctness",
        &["x"],
        "(CAST(count(DISTINCT x) AS DOUBLE) / nullif(count(x), 0))",
    ),
    (
        "value_ratio",
        &["x", "y"],
        "(CAST(count(*) FILTER (WHERE x = y) AS DOUBLE) / nullif(count(x), 0))",
    ),
    ("range", &["x"], "(max(x) - min(x))"),
    ("zeros", &["x"], "count(*) FILTER (WHERE x = 0)"),
    ("quantile", &["x", "y"], "approx_percentile_cont(x, y)"),
    (
        "iqr",
        &["x"],
        "(approx_percentile_cont(x, 0.75) - approx_percentile_cont(x, 0.25))",
    ),
    (
        "sum_ratio",
        &["x", "y"],
        "(CAST(sum(x) AS DOUBLE) / nullif(sum(y), 0))",
    ),
];

/// Whether a function of this name is one of them.
pub(super) fn is_measure(name: &str) -> bool {
    MEASURES.iter().any(|(known, _, _)| *known == name)
}

/// Puts the expressions in place of the calls.
pub(super) fn expand(query: &Query) -> Result<Query> {
    let mut query = query.clone();
    let found = visit_expressions(&query, |expr| match expression_of(expr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    });
    if found.is_continue() {
        return Ok(query);
    }
    let expanded = visit_expressions_mut(&mut query, |expr| {
        let Some((arguments, names, text)) = expression_of(expr) else {
            return ControlFlow::Continue(());
        };
        let parts: Vec<(&str, &[Expr])> = names
            .iter()
            .copied()
            .zip(arguments.iter().map(std::slice::from_ref))
            .collect();
        match skeleton::expression(text, &parts) {
            Ok(with) => {
                *expr = with;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match expanded.break_value() {
        Some(error) => Err::<Query, Error>(error),
        None => Ok(query),
    }
}

/// The arguments of a call, with what stands for it.
type Expansion = (Vec<Expr>, &'static [&'static str], &'static str);

/// What stands for a call; `None` if it is none of ours, or has clauses that only an aggregate may have.
fn expression_of(expr: &Expr) -> Option<Expansion> {
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        filter: None,
        over: None,
        ..
    }) = expr
    else {
        return None;
    };
    let name = name.to_string().to_ascii_lowercase();
    let (_, names, text) = MEASURES.iter().find(|(known, _, _)| *known == name)?;
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let arguments = arguments.collect::<Option<Vec<Expr>>>()?;
    (arguments.len() == names.len()).then_some((arguments, *names, *text))
}
