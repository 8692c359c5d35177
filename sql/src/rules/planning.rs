//! Checks rules against the columns of their table, and compiles them.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, cast};
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::limits;
use weir_engine::options::unknown;
use weir_engine::rules::{Action, Rule, is_kept_column};

use super::text::text;
use super::{check, gate, keyed, never, waiting};
use crate::ast::{Constraint, Expectation, Held, Name, OnViolation};
use crate::plan::Planner;

/// A table whose rows are to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ruled<'a> {
    /// Its name.
    pub(crate) table: &'a str,
    /// Its columns, without the kind of a change.
    pub(crate) schema: &'a SchemaRef,
    /// Whether a rule may ask for the time: its rows are never taken back, and judged once.
    pub(crate) clock: bool,
    /// How its rows come.
    pub(crate) arrival: Arrival<'a>,
    /// Columns that no rule may set, with the reason.
    pub(crate) fixed: &'a [(String, &'static str)],
}

/// How the rows of a table come, as far as rules over keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival<'a> {
    /// That is known when its query is lowered: rules are planned again there.
    Unknown,
    /// One after the other, with this event time if they have a watermark.
    Rows(Option<&'a str>),
    /// All of them, and then the end: there is no watermark to wait for.
    Ended,
    /// They are taken back.
    Changes,
}

/// A rule as planned.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// As compiled.
    pub(crate) rule: Rule,
    /// What has to be true.
    pub(crate) expect: Expr,
    /// The rows that it is about.
    pub(crate) when: Option<Expr>,
    /// The columns that it sets.
    pub(crate) set: Vec<(String, Expr)>,
}

/// Plans the rules over the rows of a table; those over many rows are left out.
pub(crate) fn plan(
    planner: &Planner,
    ruled: &Ruled<'_>,
    constraints: &[Constraint],
) -> Result<Vec<Planned>> {
    if let Some(first) = constraints.get(limits::RULES_MAX) {
        let message = format!("a table has {} rules at most", limits::RULES_MAX);
        return Err(Error::new(Kind::Limit, codes::LIMIT, message).at(first.name.place));
    }
    let mut planned = Vec::new();
    for constraint in constraints {
        let found = match check::is_over_many(planner, constraint) {
            true => gate::plan(planner, ruled, constraint),
            false => one(planner, ruled, constraint).map(Some),
        };
        let found = found.and_then(|found| never::refuse(constraint).map(|()| found));
        planned.extend(found.map_err(|error| of_set(error, constraint))?);
    }
    Ok(planned)
}

/// Plans WHEN.
pub(super) fn condition(
    planner: &Planner,
    ruled: &Ruled<'_>,
    constraint: &Constraint,
) -> Result<Option<(Expr, Arc<dyn PhysicalExpr>)>> {
    let place = constraint.place;
    let Some(sql) = &constraint.when else {
        return Ok(None);
    };
    let when = planner.row_expr(sql, ruled.schema, ruled.clock, place)?;
    check_truth(&when.compiled.data_type(ruled.schema)?, "WHEN", place)?;
    Ok(Some((when.expr, when.compiled)))
}

/// Refuses to keep back more than the row that breaks a rule over rows.
fn check_held(constraint: &Constraint) -> Result<()> {
    let OnViolation::Quarantine { what, .. } = &constraint.on_violation else {
        return Ok(());
    };
    let (word, hint) = match (what, &constraint.expectation) {
        (Held::Row, _) => return Ok(()),
        (Held::Batch, Expectation::Keyed(_)) => (
            "BATCH",
            "write QUARANTINE ROW, or ask the batch: EXPECT (unique_ratio(column) = 1)",
        ),
        (Held::Window, Expectation::Keyed(_)) => (
            "WINDOW",
            "write QUARANTINE ROW, or ask the window: EXPECT (unique_ratio(column) = 1) SCOPE WINDOW (..)",
        ),
        (Held::Batch, _) => (
            "BATCH",
            "write QUARANTINE ROW, or MOSTLY 100% for all rows of a batch",
        ),
        (Held::Window, _) => (
            "WINDOW",
            "write QUARANTINE ROW, or MOSTLY 100% SCOPE WINDOW (..) for all rows of a window",
        ),
    };
    let message = format!("QUARANTINE {word} of a rule that looks at each row by itself");
    let error = Error::new(Kind::Invalid, codes::RULE, message);
    Err(error.hint(hint).at(constraint.name.place))
}

/// Says of the rule of a set where the table takes the set: its own place is that of the set.
pub(crate) fn of_set(error: Error, rule: &Constraint) -> Error {
    let Some(set) = &rule.of_set else {
        return error;
    };
    let Place { line, column } = error.place().unwrap_or(rule.place);
    let (name, set_name) = (&rule.name.text, &set.text);
    let words =
        format!("it is rule \"{name}\" of rule set \"{set_name}\", line {line}, column {column}");
    let detail = match error.detail_text() {
        Some(detail) => format!("{detail}; {words}"),
        None => words,
    };
    let error = error.detail(detail);
    match set.place {
        Some(place) => error.moved(place),
        None => error,
    }
}

/// Refuses to pause anything but the source that a rule belongs to.
fn check_pause(ruled: &Ruled<'_>, constraint: &Constraint) -> Result<()> {
    let pauses = constraint.on_overflow.is_some_and(|limit| limit.pauses);
    // How its own rows come is known of a source alone.
    if !pauses || ruled.arrival != Arrival::Unknown {
        return Ok(());
    }
    let message = format!(
        "PAUSE SOURCE of a rule of \"{}\", which is no source",
        ruled.table
    );
    Err(Error::new(Kind::Invalid, codes::RULE, message)
        .detail("its rows come from a query, and what keeps them back may be no one source's fault")
        .hint("put the rule on the source, or use ON OVERFLOW ... FAIL UPDATE")
        .at(constraint.name.place))
}

fn one(planner: &Planner, ruled: &Ruled<'_>, constraint: &Constraint) -> Result<Planned> {
    check_held(constraint)?;
    check_pause(ruled, constraint)?;
    let place = constraint.place;
    let row = |sql| planner.row_expr(sql, ruled.schema, ruled.clock, place);
    let (expect, compiled, keyed) = match &constraint.expectation {
        Expectation::Row(sql) => {
            let expect = row(sql)?;
            check_truth(&expect.compiled.data_type(ruled.schema)?, "EXPECT", place)?;
            (expect.expr, expect.compiled, None)
        }
        Expectation::Keyed(asks) => match waiting::referring(planner, ruled, constraint, asks)? {
            Some((expect, compiled)) => (expect, compiled, None),
            None => {
                let planned = keyed::plan(planner, ruled, constraint, asks)?;
                (planned.expect, planned.compiled, Some(planned.keyed))
            }
        },
        _ => {
            return Err(Error::internal(
                "a rule over many rows is planned as one over rows",
            ));
        }
    };
    let when = condition(planner, ruled, constraint)?;
    let (action, set) = action(planner, ruled, constraint)?;
    Ok(Planned {
        rule: Rule {
            name: constraint.name.text.clone(),
            text: text(constraint),
            when: when.as_ref().map(|(_, compiled)| Arc::clone(compiled)),
            expect: compiled,
            keyed,
            gate: None,
            action,
            unknown_violates: constraint.unknown_violates,
            overflow: constraint.on_overflow,
            grade: constraint.grade.clone(),
            switch: constraint.switch,
        },
        expect,
        when: when.map(|(expr, _)| expr),
        set,
    })
}

pub(super) fn check_truth(found: &DataType, clause: &str, place: Place) -> Result<()> {
    if *found == DataType::Boolean {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!("{clause} needs true or false, but the expression gives {found}"),
    )
    .hint("compare it with something: EXPECT (column > 0)")
    .at(Some(place)))
}

type Set = Vec<(String, Expr)>;

pub(super) fn action(
    planner: &Planner,
    ruled: &Ruled<'_>,
    constraint: &Constraint,
) -> Result<(Action, Set)> {
    let plain = |action| Ok((action, Vec::new()));
    match &constraint.on_violation {
        OnViolation::Warn => plain(Action::Warn),
        OnViolation::DropRow => plain(Action::Drop),
        OnViolation::FailUpdate => plain(Action::Fail),
        OnViolation::Quarantine { .. } => {
            let own = ruled.schema.fields().iter().map(|field| field.name());
            if let Some(name) = own.into_iter().find(|name| is_kept_column(name)) {
                let message = format!("a quarantine table has a column \"{name}\" of its own");
                let error = Error::new(Kind::Invalid, codes::DUPLICATE, message);
                return Err(error
                    .hint("give the column of the table another name")
                    .at(constraint.name.place));
            }
            let into = constraint.on_violation.quarantine(ruled.table);
            plain(Action::Quarantine(into.unwrap_or(ruled.table).into()))
        }
        OnViolation::Set(columns) => {
            let (mut compiled, mut set) = (Vec::new(), Vec::new());
            for (name, sql) in columns {
                let field = settable(ruled, name)?;
                let place = name.place.unwrap_or(constraint.place);
                let row = planner.row_expr(sql, ruled.schema, ruled.clock, place)?;
                let found = row.compiled.data_type(ruled.schema)?;
                let expr = fit(row.expr, &found, field, place)?;
                let schema = datafusion::common::DFSchema::try_from(Arc::clone(ruled.schema))?;
                let value = planner.compile(expr.clone(), &schema)?;
                // A constant that is no value of the column is told now.
                let none = RecordBatch::new_empty(Arc::clone(ruled.schema));
                let fits = value.evaluate(&none);
                fits.map_err(|error| planner.convert(error, Some(place)))?;
                if value.nullable(ruled.schema)? && !field.is_nullable() {
                    let message = format!(
                        "column \"{}\" is NOT NULL, but the rule may set it to null",
                        name.text
                    );
                    return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                        .hint("use COALESCE(value, other value)")
                        .at(name.place));
                }
                compiled.push((name.text.clone(), value));
                set.push((name.text.clone(), expr));
            }
            Ok((Action::Set(compiled), set))
        }
    }
}

fn settable<'a>(ruled: &'a Ruled<'_>, name: &Name) -> Result<&'a Field> {
    if let Some((_, why)) = ruled.fixed.iter().find(|(fixed, _)| *fixed == name.text) {
        let message = format!("column \"{}\" cannot be set: {why}", name.text);
        return Err(Error::new(Kind::Invalid, codes::RULE, message)
            .hint("quarantine the row, or repair it in a query")
            .at(name.place));
    }
    ruled.schema.field_with_name(&name.text).map_err(|_| {
        let known = ruled
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known).at(name.place)
    })
}

/// Brings a value into the type of its column.
pub(crate) fn fit(expr: Expr, found: &DataType, field: &Field, place: Place) -> Result<Expr> {
    if found == field.data_type() {
        return Ok(expr);
    }
    if can_cast_types(found, field.data_type()) {
        return Ok(cast(expr, field.data_type().clone()));
    }
    Err(Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!(
            "column \"{}\" is {}, but the rule sets it to {found}",
            field.name(),
            field.data_type()
        ),
    )
    .at(Some(place)))
}
