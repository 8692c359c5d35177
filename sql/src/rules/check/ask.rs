//! What each rule asks of the measures, and the measures that it needs for it.

use datafusion::sql::sqlparser::ast::{ColumnDef, Expr as SqlExpr, FunctionArg, FunctionArgExpr};
use weir_engine::error::{Error, Result};
use weir_engine::rules::{Ask, Check, Consequence};

use super::Checked;
use super::measures::{self, Columns};
use super::past;
use super::query::names;
use crate::anomaly::value::text_of;
use crate::ast::{Constraint, Expectation, OnViolation};
use crate::parse::skeleton::{self, quoted};
use crate::plan::Planner;
use crate::rules::text::text;

/// Makes the rule of a constraint, and the columns that it needs.
pub(super) fn check(
    planner: &Planner,
    table: &Checked<'_>,
    rule: &Constraint,
    columns: &mut Columns,
) -> Result<Check> {
    let of_ours = |text: &str| skeleton::expression(text, &[]);
    let mut observed = Vec::new();
    let mut reads = names(&rule.per);
    let ask = match &rule.expectation {
        Expectation::Keyed(_) => {
            return Err(Error::internal(
                "a rule over keys is planned as one over many rows",
            ));
        }
        Expectation::Row(expr) => {
            reads.extend(past::columns(rule, expr));
            over_rows(planner, table, (rule, expr), columns, &mut observed)?
        }
        Expectation::Fresh { column, within } => {
            reads.push(column.text.clone());
            let newest = columns.measure(of_ours(&format!("max({})", quoted(&column.text)))?);
            observed.push(("newest".to_owned(), newest));
            let within = age(planner, within, rule)?;
            Ask::Fresh { newest, within }
        }
        Expectation::Daily { at } => {
            let rows = columns.measure(of_ours("count(*)")?);
            observed.push(("rows".to_owned(), rows));
            Ask::Daily { rows, at: *at }
        }
        Expectation::NoRows(_) | Expectation::SameRows { .. } => {
            let truth = columns.measure(of_ours("count(*) = 0")?);
            observed.push(("rows".to_owned(), columns.measure(of_ours("count(*)")?)));
            Ask::Truth(truth)
        }
        Expectation::Equals { left, right, .. } => {
            reads.extend(measures::columns(left));
            observed.push((left.to_string(), 1));
            observed.push((right.to_string(), 2));
            Ask::Truth(0)
        }
        Expectation::Normal { values, .. } => {
            reads.extend(values.iter().flat_map(measures::columns));
            over_models(rule, values, columns, &mut observed)
        }
        Expectation::Schema {
            columns: wanted,
            strict,
        } => {
            let differs = differences(planner, table, wanted, *strict, rule)?;
            let text = match &differs {
                // A condition that no number of rows meets, and one that each does.
                Some(_) => "count(*) < 0",
                None => "count(*) >= 0",
            };
            let truth = columns.measure(of_ours(text)?);
            if let Some(differs) = differs {
                let told = of_ours(&format!("'{}'", differs.replace('\'', "''")))?;
                observed.push(("differs".to_owned(), columns.measure(told)));
            }
            Ask::Truth(truth)
        }
    };
    Ok(Check {
        name: rule.name.text.clone(),
        text: told(planner, rule),
        ask,
        consequence: consequence(table, rule),
        switch: rule.switch,
        unknown_violates: rule.unknown_violates,
        grade: rule.grade.clone(),
        columns: reads,
        observed,
    })
}

/// How old the newest row may be.
fn age(planner: &Planner, within: &SqlExpr, rule: &Constraint) -> Result<i64> {
    let within = planner.interval(within, rule.place)?;
    if within > 0 {
        return Ok(within);
    }
    let message = "FRESH allows no age: the newest time is always before the clock";
    let hint = "write FRESH (column, INTERVAL '10' MINUTE)";
    Err(super::wrong(message, hint, Some(rule.place)))
}

/// The rule as it is understood; it is another one when its model is.
fn told(planner: &Planner, rule: &Constraint) -> String {
    let version = model_of(rule).and_then(|model| planner.models().version(&model));
    match version {
        Some(version) => format!("{} VERSION {version}", text(rule)),
        None => text(rule),
    }
}

/// The model that a rule about what is normal takes its options from.
pub(super) fn model_of(rule: &Constraint) -> Option<String> {
    let Expectation::Normal { options, .. } = &rule.expectation else {
        return None;
    };
    options.iter().find_map(|option| match option {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            ..
        } if name.value.eq_ignore_ascii_case("model") => text_of(value),
        _ => None,
    })
}

fn consequence(table: &Checked<'_>, rule: &Constraint) -> Consequence {
    match &rule.on_violation {
        OnViolation::FailUpdate => Consequence::Fail,
        OnViolation::Quarantine { .. } => {
            let into = rule.on_violation.quarantine(table.name);
            Consequence::Quarantine(into.unwrap_or(table.name).into())
        }
        _ => Consequence::Warn,
    }
}

/// What a rule about what is normal asks. Its query has these columns behind the keys.
fn over_models(
    rule: &Constraint,
    values: &[SqlExpr],
    columns: &Columns,
    observed: &mut Vec<(String, usize)>,
) -> Ask {
    let first = columns.items.len();
    let named = values.iter().map(ToString::to_string);
    let told = ["expected", "lower", "upper", "score"].into_iter();
    let told = told.chain(model_of(rule).map(|_| "model"));
    observed.extend(named.chain(told.map(str::to_owned)).zip(first + 1..));
    Ask::Truth(first)
}

/// What a rule with an expression asks: its truth, or the share of rows that hold it.
fn over_rows(
    planner: &Planner,
    table: &Checked<'_>,
    (rule, expr): (&Constraint, &SqlExpr),
    columns: &mut Columns,
    observed: &mut Vec<(String, usize)>,
) -> Result<Ask> {
    if !rule.past.is_empty() {
        return past::ask(planner, table, (rule, expr), columns, observed);
    }
    let Some(least) = rule.mostly else {
        let truth = columns.measure(expr.clone());
        for call in measures::aggregates(planner, expr) {
            let name = call.to_string();
            observed.push((name, columns.measure(call)));
        }
        return Ok(Ask::Truth(truth));
    };
    let part: [(&str, &[SqlExpr]); 1] = [("x", std::slice::from_ref(expr))];
    let mut add = |text: &str| Ok::<_, Error>(columns.measure(skeleton::expression(text, &part)?));
    Ok(Ask::Share {
        evaluated: add("count(x)")?,
        violated: add("count(*) FILTER (WHERE NOT x)")?,
        unknown: add("count(*) - count(x)")?,
        least,
    })
}

/// What differs between the columns of a table and those that a rule expects.
fn differences(
    planner: &Planner,
    table: &Checked<'_>,
    wanted: &[ColumnDef],
    strict: bool,
    rule: &Constraint,
) -> Result<Option<String>> {
    let schema = table.schema();
    let mut all = Vec::new();
    for (at, column) in wanted.iter().enumerate() {
        let name = &column.name.value;
        let expected = planner.data_type(&column.data_type, Some(rule.place))?;
        match schema.column_with_name(name) {
            None => all.push(format!("{name} is missing")),
            Some((_, field)) if *field.data_type() != expected => {
                all.push(format!("{name} is {}, not {expected}", field.data_type()));
            }
            Some((place, _)) if strict && place != at => {
                all.push(format!("{name} is column {}, not {}", place + 1, at + 1));
            }
            Some(_) => {}
        }
    }
    if strict {
        let known = |name: &str| wanted.iter().any(|column| column.name.value == name);
        let more = schema.fields().iter().map(|field| field.name());
        let more = more.filter(|name| !known(name));
        all.extend(more.map(|name| format!("{name} is not expected")));
    }
    Ok((!all.is_empty()).then(|| all.join("; ")))
}
