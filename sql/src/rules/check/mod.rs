//! Rules over many rows, made into queries over their table that measure what they ask.
//!
//! Rules of one table that share scope, segments and WHEN are one query, so that they are measured in one
//! pass. The queries are planned like any other: what aggregates for them is what aggregates for everybody.

mod against;
mod ask;
mod last;
mod measures;
mod past;
mod query;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::rules::{Check, Switch};

use super::gate::{self, Waits};
use super::planning::check_truth;
use crate::ast::{Constraint, Expectation, Held, Name, OnViolation, Scope};
use crate::catalog::source::SourceTable;
use crate::plan::{ARRIVALS, Planner, Tables};
use crate::rules::of_set;
pub(crate) use last::Last;
pub(super) use measures::arrives;
use query::Group;
pub(super) use query::measured;

/// The name by which a rule's query knows its table.
pub(crate) const THIS: &str = "this";

/// A table with rules over many rows.
pub(crate) struct Checked<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its rows, those that rules over rows let through.
    pub(crate) rows: Arc<dyn TableProvider>,
    /// The column of its watermark.
    pub(crate) time: Option<&'a str>,
    /// All other tables.
    pub(crate) tables: &'a dyn Tables,
}

impl Tables for Checked<'_> {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        match name {
            ARRIVALS => Ok(Arc::new(self.arriving(None)?)),
            _ if name == THIS || name == self.name => Ok(Arc::clone(&self.rows)),
            _ => self.tables.table(name),
        }
    }
}

impl Checked<'_> {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Its rows with how they come.
    fn arriving(&self, place: Option<Place>) -> Result<SourceTable> {
        let name = self.name;
        let Some(source) = self.rows.downcast_ref::<SourceTable>() else {
            return Err(wrong(
                &format!("\"{name}\" is no source, and how rows come is known where they are read"),
                "put the rule on a source with WATERMARK FOR column AS expression",
                place,
            ));
        };
        if source.is_changelog() {
            return Err(wrong(
                &format!("the rows of \"{name}\" are changes of rows, which are not late"),
                "put the rule on a source whose rows are only added",
                place,
            ));
        }
        source.arriving().ok_or_else(|| {
            wrong(
                &format!("\"{name}\" has no watermark, so that none of its rows is late"),
                "declare WATERMARK FOR column AS expression on the source",
                place,
            )
        })
    }

    /// Refuses a name that is no column.
    fn column(&self, name: &Name) -> Result<()> {
        let schema = self.schema();
        if schema.field_with_name(&name.text).is_ok() {
            return Ok(());
        }
        let known = schema.fields().iter().map(|field| field.name().as_str());
        Err(unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known).at(name.place))
    }
}

/// A query that measures, with the rules that judge what it gives.
#[derive(Debug, Clone)]
pub(crate) struct CheckPlan {
    /// Tells it from the others of the table, whatever rules come and go.
    pub(crate) id: String,
    /// What the rules look at.
    pub(crate) scope: &'static str,
    /// Whether they look at what becomes visible together.
    pub(crate) by_batch: bool,
    /// The query: segments, start and end of the window, measures.
    pub(crate) plan: LogicalPlan,
    /// How many columns are segments.
    pub(crate) segments: usize,
    /// Whether start and end of the window follow them.
    pub(crate) windowed: bool,
    /// The last rows, if they are what is asked about: then the query gives rows, not measures.
    pub(crate) last: Option<Last>,
    /// The length of windows that follow each other, and the query of the measures of no row.
    pub(crate) every: Option<(i64, LogicalPlan)>,
    /// The rules.
    pub(crate) checks: Vec<Check>,
    /// Where the first of them stands.
    pub(crate) place: Place,
}

/// Whether a rule is measured by a query, at least in some jobs.
pub(crate) fn is_check(planner: &Planner, constraint: &Constraint) -> bool {
    is_over_many(planner, constraint) && gate::waits(constraint) != Some(Waits::Always)
}

/// Whether a rule looks at many rows.
pub(crate) fn is_over_many(planner: &Planner, constraint: &Constraint) -> bool {
    match &constraint.expectation {
        Expectation::Row(expr) => {
            constraint.scope.is_some()
                || constraint.mostly.is_some()
                || !constraint.per.is_empty()
                || !constraint.past.is_empty()
                || !measures::aggregates(planner, expr).is_empty()
        }
        Expectation::Keyed(_) => false,
        _ => true,
    }
}

/// Plans the rules of a table that look at many rows; the others are left out.
pub(crate) fn plan(
    planner: &Planner,
    table: &Checked<'_>,
    constraints: &[Constraint],
) -> Result<Vec<CheckPlan>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for constraint in constraints.iter().filter(|c| is_check(planner, c)) {
        let checked = check_clauses(planner, table, constraint);
        checked.map_err(|error| of_set(error, constraint))?;
        if constraint.switch == Switch::Off {
            continue;
        }
        let known = groups.iter_mut().find(|group| group.takes(constraint));
        match known {
            Some(group) => group.rules.push(constraint),
            None => groups.push(Group::of(constraint)),
        }
    }
    let plans = groups.iter().map(|group| {
        let plan = group.plan(planner, table);
        plan.map_err(|error| group.told(error))
    });
    plans.collect()
}

fn wrong(message: &str, hint: &str, place: Option<Place>) -> Error {
    Error::new(Kind::Invalid, codes::RULE, message)
        .hint(hint)
        .at(place)
}

/// Refuses what a rule over many rows cannot do.
fn check_clauses(planner: &Planner, table: &Checked<'_>, rule: &Constraint) -> Result<()> {
    let place = rule.name.place;
    match &rule.on_violation {
        OnViolation::Warn | OnViolation::FailUpdate => {}
        OnViolation::Quarantine { what, .. } if *what != Held::Row => {}
        OnViolation::DropRow | OnViolation::Set(_) | OnViolation::Quarantine { .. } => {
            return Err(wrong(
                "no single row breaks a rule over many rows, so none can be dropped, changed or quarantined for it",
                "use ON VIOLATION WARN, FAIL UPDATE, QUARANTINE WINDOW or QUARANTINE BATCH, or a rule over rows: EXPECT (expression without aggregates)",
                place,
            ));
        }
    }
    if rule.on_overflow.is_some() {
        return Err(wrong(
            "a rule over many rows has one verdict, not many rows that break it",
            "for a share of rows write MOSTLY 0.99; ON OVERFLOW belongs to rules over rows",
            place,
        ));
    }
    for (at, name) in rule.per.iter().enumerate() {
        table.column(name)?;
        if rule
            .per
            .iter()
            .take(at)
            .any(|other| other.text == name.text)
        {
            let message = format!("column \"{}\" is in PER twice", name.text);
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(name.place));
        }
    }
    check_when(planner, table, rule)?;
    check_scope(table, rule)?;
    if let Expectation::Fresh { column, .. } = &rule.expectation {
        table.column(column)?;
        let schema = table.schema();
        let found = schema.field_with_name(&column.text)?.data_type();
        if !found.is_temporal() {
            let message = format!("column \"{}\" is {found}, not a time", column.text);
            return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                .hint("FRESH asks how old the newest time of a column is")
                .at(column.place));
        }
    }
    match &rule.expectation {
        Expectation::Row(expr) => check_expression(planner, rule, expr),
        Expectation::Normal { .. } => check_windows(rule),
        Expectation::Fresh { .. } | Expectation::Daily { .. } | Expectation::Schema { .. } => {
            refuse_scope(rule, matches!(rule.expectation, Expectation::Schema { .. }))
        }
        _ => refuse_scope(rule, true),
    }
}

/// Refuses rows of a verdict that the table cannot tell apart.
fn check_scope(table: &Checked<'_>, rule: &Constraint) -> Result<()> {
    let place = rule.name.place;
    let goes_by = |what: &str, hint: &str| {
        let message = format!("\"{}\" has no watermark, which {what} goes by", table.name);
        Err(wrong(&message, hint, place))
    };
    match &rule.scope {
        Some(Scope::Window { column, .. }) => table.column(column)?,
        Some(Scope::Every(_)) if table.time.is_none() => {
            return goes_by(
                "EVERY",
                "declare WATERMARK FOR column AS column on the source, or use SCOPE WINDOW (TUMBLE (column, interval))",
            );
        }
        Some(Scope::LastTime(_)) if table.time.is_none() => {
            return goes_by(
                "LAST (INTERVAL ..)",
                "declare WATERMARK FOR column AS expression on the source, or write LAST (1000 ROWS)",
            );
        }
        _ => {}
    }
    if arrives(rule) {
        table.arriving(place)?;
    }
    Ok(())
}

/// Refuses a condition that is not about one row.
fn check_when(planner: &Planner, table: &Checked<'_>, rule: &Constraint) -> Result<()> {
    let Some(when) = &rule.when else {
        return Ok(());
    };
    if let Some(call) = measures::aggregates(planner, when).first() {
        let message = format!("{call} is computed over many rows, WHEN says which rows are meant");
        let hint = "ask it in the expression: EXPECT (count(*) > 0 AND ...)";
        return Err(wrong(&message, hint, Some(rule.place)));
    }
    // What else is wrong with it is told with the query.
    let schema = table.schema();
    match planner.row_expr(when, &schema, true, rule.place) {
        Ok(row) => check_truth(&row.compiled.data_type(&schema)?, "WHEN", rule.place),
        Err(_) => Ok(()),
    }
}

fn check_expression(planner: &Planner, rule: &Constraint, expr: &SqlExpr) -> Result<()> {
    let calls = measures::aggregates(planner, expr);
    if rule.by_row {
        let what = calls
            .first()
            .map_or("MOSTLY".to_owned(), ToString::to_string);
        let message = format!("SCOPE ROW asks each row by itself, {what} many at once");
        let hint =
            "leave SCOPE ROW out, or say which rows: SCOPE TABLE, SCOPE BATCH, SCOPE WINDOW (..)";
        return Err(wrong(&message, hint, Some(rule.place)));
    }
    match (rule.mostly, calls.first()) {
        (Some(_), Some(call)) => {
            let message = format!("{call} is computed over many rows, MOSTLY asks each by itself");
            let hint = "leave MOSTLY out, or the aggregate";
            Err(wrong(&message, hint, Some(rule.place)))
        }
        (None, None) => Err(wrong(
            match rule.per.is_empty() {
                true => {
                    "a rule with a scope asks many rows at once, but its expression has no aggregate"
                }
                false => {
                    "a rule with PER asks all rows of a segment at once, but its expression has no aggregate"
                }
            },
            "write EXPECT (count(*) > 0), or the share of rows that has to hold: MOSTLY 0.99",
            Some(rule.place),
        )),
        _ => Ok(()),
    }
}

/// Refuses a rule about what is usual without a series of windows.
fn check_windows(rule: &Constraint) -> Result<()> {
    let windowed = matches!(rule.scope, Some(Scope::Window { .. } | Scope::Every(_)));
    match (windowed, rule.mostly) {
        (true, None) => Ok(()),
        (false, _) => Err(wrong(
            "NORMAL compares windows with those before them, and the rule has none",
            "write EXPECT NORMAL (count(*)) EVERY INTERVAL '5' MINUTE, or SCOPE WINDOW (TUMBLE (column, interval))",
            rule.name.place,
        )),
        (true, Some(_)) => {
            let hint = "leave MOSTLY out: SENSITIVITY says how seldom a window may be an anomaly";
            Err(wrong("NORMAL has no share of rows", hint, rule.name.place))
        }
    }
}

/// Refuses clauses that say which rows are meant, where the expectation does.
fn refuse_scope(rule: &Constraint, segments: bool) -> Result<()> {
    let clause = match rule {
        _ if rule.mostly.is_some() => "MOSTLY",
        _ if matches!(rule.scope, Some(Scope::Window { .. } | Scope::Every(_))) => "a window",
        _ if last::is_last(rule) => "SCOPE LAST",
        _ if segments && !rule.per.is_empty() => "PER",
        _ if segments && rule.when.is_some() => "WHEN",
        _ => return Ok(()),
    };
    let message = format!("this expectation is about the table, {clause} does not belong to it");
    let hint = "leave it out, or write EXPECT (aggregate) with it";
    Err(wrong(&message, hint, rule.name.place))
}
