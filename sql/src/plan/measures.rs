//! Aggregates that are expressions over others: what is often asked of the quality of a column. They are
//! expanded before a query is planned, so that they can be used wherever aggregates can, and merge, spill and
//! take rows back as those do.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Query, Spanned, Value, visit_expressions,
    visit_expressions_mut, visit_relations,
};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};

use super::errors::place_of;
use crate::parse::skeleton;
use crate::statistics::{Baselines, DISTANCE, Distance};

/// Name, arguments, and the expression over them.
const MEASURES: [(&str, &[&str], &str); 21] = [
    (
        "late_ratio",
        &[],
        "(CAST(count(*) FILTER (WHERE \"_arrival.late\") AS DOUBLE) / nullif(count(\"_arrival.late\"), 0))",
    ),
    (
        "out_of_order_ratio",
        &[],
        "(CAST(count(*) FILTER (WHERE \"_arrival.disordered\") AS DOUBLE) \
         / nullif(count(\"_arrival.disordered\"), 0))",
    ),
    (
        "watermark_lag",
        &[],
        "(max(\"_arrival.clock\") - max(\"_arrival.watermark\"))",
    ),
    (
        "watermark_lag",
        &["x"],
        "(max(x) - max(\"_arrival.watermark\"))",
    ),
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
        "at_least_one",
        &["x"],
        "CASE WHEN count(*) > 0 THEN count(x) > 0 END",
    ),
    ("not_constant", &["x"], "(min(x) <> max(x))"),
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
    (
        "bin_ratio",
        &["x", "y", "z"],
        "(CAST(count(*) FILTER (WHERE x >= y AND x < z) AS DOUBLE) / nullif(count(x), 0))",
    ),
    (
        "consistent_casing",
        &["x"],
        "CASE WHEN count(x) > 0 THEN count(DISTINCT x) = count(DISTINCT lower(x)) END",
    ),
    ("spread", &["x"], "(max(x) - min(x))"),
    ("zeros", &["x"], "count(*) FILTER (WHERE x = 0)"),
    ("quantile_exact", &["x", "y"], "percentile_cont(x, y)"),
    ("iqr", &["x"], "(quantile(x, 0.75) - quantile(x, 0.25))"),
    (
        "sum_ratio",
        &["x", "y"],
        "(CAST(sum(x) AS DOUBLE) / nullif(sum(y), 0))",
    ),
    (
        "t_test_p",
        &["x", "y"],
        "student_p(sqrt(CAST(count(x) AS DOUBLE)) * (CAST(avg(x) AS DOUBLE) - y) / nullif(stddev(x), 0), \
         CAST(count(x) - 1 AS DOUBLE))",
    ),
];

/// The aggregates of which the expressions are made.
const INNER: [&str; 9] = [
    "avg",
    "count",
    "distribution",
    "max",
    "min",
    "percentile_cont",
    "quantile",
    "stddev",
    "sum",
];

/// Those whose second value is a share.
const BY_SHARE: [&str; 2] = ["quantile", "quantile_exact"];

/// What is computed of values in an order.
const BY_ORDER: &str = "ewma";

/// The name by which a query knows its table where it asks how rows come; no script has another table of it.
pub(crate) const ARRIVALS: &str = "this, as it comes";

/// Whether an expression asks how rows come, which the rules of a source can.
pub(crate) fn asks_arrivals(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part| match call(part) {
        Some((name, _, _)) if is_of_arrivals(&name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_of_arrivals(name: &str) -> bool {
    ["late_ratio", "out_of_order_ratio", "watermark_lag"].contains(&name)
}

/// Whether a query reads the table that tells how rows come.
fn reads_arrivals(query: &Query) -> bool {
    let flow = |is_named: bool| match is_named {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let read = visit_relations(query, |name| {
        let last = name.0.last().and_then(|part| part.as_ident());
        flow(last.is_some_and(|last| last.value == ARRIVALS))
    });
    // The table of a window function is one of its arguments.
    let windowed = visit_expressions(query, |expr| {
        flow(matches!(expr, Expr::Identifier(name) if name.value == ARRIVALS))
    });
    read.is_break() || windowed.is_break()
}

fn no_arrivals(name: &str, place: Option<Place>) -> Error {
    let message = format!("{name}() is about how the rows of a source come, which no query sees");
    Error::new(Kind::Invalid, codes::RULE, message)
        .hint("write a rule of the source: CONSTRAINT punctual EXPECT (late_ratio() < 0.01)")
        .at(place)
}

/// Whether a function of this name is one of them.
pub(super) fn is_measure(name: &str) -> bool {
    MEASURES.iter().any(|(known, _, _)| *known == name) || is_distance(name)
}

fn is_distance(name: &str) -> bool {
    Distance::ALL.iter().any(|(known, _)| *known == name)
}

/// Puts the expressions in place of the calls.
pub(super) fn expand(query: &Query, baselines: &Baselines) -> Result<Query> {
    let mut query = query.clone();
    let found = visit_expressions(&query, |expr| match call(expr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    });
    if found.is_continue() {
        return Ok(query);
    }
    let arriving = reads_arrivals(&query);
    let expanded = visit_expressions_mut(&mut query, |expr| {
        let with = match call(expr) {
            Some((name, call, _)) if is_of_arrivals(&name) && !arriving => {
                Err(no_arrivals(&name, place_of(call.name.span())))
            }
            Some((name, call, list)) if is_distance(&name) => {
                distance_of(&name, call, list, baselines)
            }
            Some((name, call, list)) => expression_of(&name, call, list),
            None => return ControlFlow::Continue(()),
        };
        match with {
            Ok(with) => {
                if let Some(with) = with {
                    *expr = with;
                }
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

/// A call of a measure, or of an aggregate whose values are looked at here.
fn call(expr: &Expr) -> Option<(String, &Function, &FunctionArgumentList)> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let name = call.name.to_string().to_ascii_lowercase();
    let is_ours = is_measure(&name) || BY_SHARE.contains(&name.as_str()) || name == BY_ORDER;
    is_ours.then_some((name, call, list))
}

fn wrong(message: String, hint: &str, place: Option<Place>) -> Error {
    Error::new(Kind::Invalid, codes::TYPE, message)
        .hint(hint)
        .at(place)
}

/// What stands for a call; `None` if it stands for itself.
fn expression_of(name: &str, call: &Function, list: &FunctionArgumentList) -> Result<Option<Expr>> {
    let place = place_of(call.name.span());
    let values = values_of(list);
    if BY_SHARE.contains(&name)
        && let Some(share) = values.get(1)
        && !is_share(share)
    {
        let place = place_of(share.span()).or(place);
        let message = format!("the share of {name} is a number from 0 to 1, not {share}");
        let hint = "write quantile(column, 0.99) for the value that 99 % are not above";
        return Err(wrong(message, hint, place));
    }
    if name == BY_ORDER && call.over.is_none() {
        let message = format!("{name} needs an order");
        let hint = "write ewma(column, 0.3) OVER (ORDER BY other)";
        return Err(wrong(message, hint, place));
    }
    let known = MEASURES.iter().filter(|(known, _, _)| *known == name);
    let takes: Vec<usize> = known.clone().map(|(_, names, _)| names.len()).collect();
    if takes.is_empty() {
        return Ok(None);
    }
    let fits = known
        .clone()
        .find(|(_, names, _)| names.len() == values.len());
    let Some((_, names, text)) = fits.filter(|_| values.len() == list.args.len()) else {
        let values = if takes == [1] { "value" } else { "values" };
        let takes: Vec<String> = takes.iter().map(ToString::to_string).collect();
        let (takes, found) = (takes.join(" or "), list.args.len());
        let message = format!("{name} takes {takes} {values}, not {found}");
        let hint = "docs/quality.md has a table of what each measure takes";
        return Err(wrong(message, hint, place));
    };
    filled(name, call, list, (text, names, &values)).map(Some)
}

fn values_of(list: &FunctionArgumentList) -> Vec<Expr> {
    let values = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    values.collect::<Option<Vec<Expr>>>().unwrap_or_default()
}

/// The expression of a call, over its values and with its filter.
fn filled(
    name: &str,
    call: &Function,
    list: &FunctionArgumentList,
    (text, names, values): (&str, &[&str], &[Expr]),
) -> Result<Expr> {
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) || call.over.is_some() {
        let what = if call.over.is_some() {
            "OVER"
        } else {
            "DISTINCT"
        };
        let message = format!("{name} with {what}");
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .hint("leave it out, or take the values of a query that has it")
            .at(place_of(call.name.span())));
    }
    let parts = names
        .iter()
        .copied()
        .zip(values.iter().map(std::slice::from_ref));
    let parts: Vec<(&str, &[Expr])> = parts.collect();
    let mut with = skeleton::expression(text, &parts)?;
    if let Some(filter) = &call.filter {
        restrict(&mut with, filter);
    }
    Ok(with)
}

/// What stands for a distance to a reference, which is a string by now.
fn distance_of(
    name: &str,
    call: &Function,
    list: &FunctionArgumentList,
    baselines: &Baselines,
) -> Result<Option<Expr>> {
    let values = values_of(list);
    let reference = match values.get(1) {
        Some(Expr::Value(value)) => value.clone().into_string(),
        _ => None,
    };
    let known = reference.filter(|text| baselines.knows(text));
    if values.len() != 2 || known.is_none() {
        let message = format!("{name} compares a column with a reference");
        let hint = format!(
            "write {name}(column, REFERENCE name), with the name of a stored profile or of a table"
        );
        return Err(wrong(message, &hint, place_of(call.name.span())));
    }
    let text = format!("{DISTANCE}{name}(distribution(x), y)");
    filled(name, call, list, (&text, &["x", "y"], &values)).map(Some)
}

fn is_share(expr: &Expr) -> bool {
    let Expr::Value(value) = expr else {
        return false;
    };
    let Value::Number(number, _) = &value.value else {
        return false;
    };
    number
        .parse()
        .is_ok_and(|share: f64| (0.0..=1.0).contains(&share))
}

/// Lets the aggregates of an expression see only rows for which a condition holds.
fn restrict(expr: &mut Expr, condition: &Expr) {
    let ControlFlow::<()>::Continue(()) = visit_expressions_mut(expr, |part| {
        if let Expr::Function(call) = part
            && INNER.contains(&call.name.to_string().as_str())
        {
            let nested = |expr: Expr| Box::new(Expr::Nested(Box::new(expr)));
            let all = match call.filter.take() {
                Some(own) => Box::new(Expr::BinaryOp {
                    left: nested(*own),
                    op: BinaryOperator::And,
                    right: nested(condition.clone()),
                }),
                None => Box::new(condition.clone()),
            };
            call.filter = Some(all);
        }
        ControlFlow::Continue(())
    }) else {
        return;
    };
}
