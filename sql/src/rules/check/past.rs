//! Rules that ask what was measured before: their expressions are over the measures of a row and those of earlier
//! ones, and are computed where the verdicts are.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, SelectItem, SetExpr, visit_expressions_mut,
};
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::rules::{Ask, Past, Term};

use super::measures::{self, Columns, base};
use super::{Checked, wrong};
use crate::ast::{Constraint, Remembered};
use crate::parse::skeleton::{self, quoted};
use crate::plan::Planner;

/// Calls of aggregates with the columns in which they are measured.
type Measured = Vec<(SqlExpr, usize)>;

/// The columns of the table in the expression of a rule.
pub(super) fn columns(rule: &Constraint, expr: &SqlExpr) -> Vec<String> {
    let mut names = measures::columns(expr);
    names.retain(|name| rule.past.iter().all(|past| past.name.text != *name));
    names
}

/// What a rule with an expression over its past asks.
pub(super) fn ask(
    planner: &Planner,
    table: &Checked<'_>,
    (rule, expr): (&Constraint, &SqlExpr),
    columns: &mut Columns,
    observed: &mut Vec<(String, usize)>,
) -> Result<Ask> {
    let calls = measures::aggregates(planner, expr);
    let mut measured: Measured = Vec::new();
    for call in &calls {
        measured.push((call.clone(), columns.measure(call.clone())));
    }
    let mut terms = Vec::new();
    for remembered in &rule.past {
        let of = meant(planner, &calls, remembered, rule.place)?;
        let known = measured.iter().find(|(call, _)| *call == of);
        let measure = match known.map(|(_, at)| *at) {
            Some(at) => at,
            None => {
                let at = columns.measure(of.clone());
                measured.push((of.clone(), at));
                at
            }
        };
        terms.push(Term {
            name: remembered.name.text.clone(),
            of: of.to_string(),
            measure,
            back: remembered.back,
            fold: remembered.fold,
        });
    }
    observed.extend(measured.iter().map(|(call, at)| (call.to_string(), *at)));
    let mut fields = types(planner, table, &measured, rule)?;
    fields.extend(
        terms
            .iter()
            .map(|term| Field::new(&term.name, DataType::Float64, true)),
    );
    let schema = DFSchema::try_from(Schema::new(fields))?;
    let over = over_measures(expr, &measured);
    let planned = planner.expr(&over, &schema, Some(rule.place))?;
    let truth = planner.compile(planned, &schema)?;
    let found = truth.data_type(schema.as_arrow())?;
    if found != DataType::Boolean {
        let message = format!("EXPECT needs true or false, but the expression gives {found}");
        return Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint("compare it with something: EXPECT (count(*) > 0.5 * prev)")
            .at(Some(rule.place)));
    }
    Ok(Ask::Past(Box::new(Past {
        inputs: measured.iter().map(|(_, at)| *at).collect(),
        terms,
        truth,
        earlier: Vec::new(),
    })))
}

/// The aggregate that is remembered.
fn meant(
    planner: &Planner,
    calls: &[SqlExpr],
    remembered: &Remembered,
    place: Place,
) -> Result<SqlExpr> {
    let place = remembered.name.place.or(Some(place));
    let name = &remembered.name.text;
    match (&remembered.of, calls) {
        (Some(of), _) if measures::aggregates(planner, of).first() == Some(of) => Ok(of.clone()),
        (Some(of), _) => Err(wrong(
            &format!("{of} is no aggregate, and {name} remembers one"),
            "write HISTORY(7, count(*))",
            place,
        )),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(wrong(
            "the expression has no aggregate whose history could be meant",
            "write EXPECT (count(*) > 0.5 * prev) WITH prev => HISTORY(7)",
            place,
        )),
        (None, [first, ..]) => Err(wrong(
            &format!(
                "the rule has {} aggregates, and {name} does not say which it means",
                calls.len()
            ),
            &format!("write {name} => HISTORY({}, {first})", remembered.back),
            place,
        )),
    }
}

/// The types of the measures.
fn types(
    planner: &Planner,
    table: &Checked<'_>,
    measured: &Measured,
    rule: &Constraint,
) -> Result<Vec<Field>> {
    let mut query = skeleton::query(&format!("SELECT 1 FROM {}", quoted(base(rule))))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let items = measured.iter().map(|(call, at)| SelectItem::ExprWithAlias {
            expr: call.clone(),
            alias: Ident::with_quote('"', name(*at)),
        });
        select.projection = items.collect();
    }
    let planned = planner.query(table, &query, Some(rule.place))?;
    let plan = planner.analyze(planned.plan, Some(rule.place))?;
    let fields = plan.schema().fields().iter().zip(measured);
    let field = |(field, (_, at)): (&Arc<Field>, &(SqlExpr, usize))| {
        Field::new(name(*at), field.data_type().clone(), true)
    };
    Ok(fields.map(field).collect())
}

fn name(at: usize) -> String {
    format!("m{at}")
}

/// The expression with columns in place of the calls.
fn over_measures(expr: &SqlExpr, measured: &Measured) -> SqlExpr {
    let mut expr = expr.clone();
    let ControlFlow::<Infallible>::Continue(()) = visit_expressions_mut(&mut expr, |part| {
        if let Some((_, at)) = measured.iter().find(|(call, _)| call == part) {
            *part = SqlExpr::Identifier(Ident::with_quote('"', name(*at)));
        }
        ControlFlow::Continue(())
    });
    expr
}
