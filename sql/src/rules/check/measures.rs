//! What a rule's query measures: its columns, and the calls of aggregates that results tell of.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, SelectItem, Visit, Visitor, visit_expressions,
};

use weir_engine::Result;
use weir_engine::arrival::Coming;

use super::{Checked, THIS};
use crate::ast::{Constraint, Expectation};
use crate::parse::skeleton::{self, quoted};
use crate::plan::{ARRIVALS, Planner, asks_arrivals};

/// The columns of a query that measures.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) items: Vec<SelectItem>,
}

impl Columns {
    /// Adds a column and gives its number.
    pub(super) fn push(&mut self, expr: SqlExpr, name: &str) -> usize {
        self.items.push(SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('"', name),
        });
        self.items.len() - 1
    }

    /// Columns of a table; a constant where none is needed, so that there are rows.
    pub(super) fn of_names(names: &BTreeSet<String>) -> Result<Self> {
        let mut columns = Self::default();
        for name in names {
            columns.push(skeleton::expression(&quoted(name), &[])?, name);
        }
        if names.is_empty() {
            columns.push(skeleton::expression("true", &[])?, "_row");
        }
        Ok(columns)
    }

    /// Adds a measure under a name of ours.
    pub(super) fn measure(&mut self, expr: SqlExpr) -> usize {
        let name = format!("m{}", self.items.len());
        self.push(expr, &name)
    }
}

/// The calls of aggregates in an expression, each once; those of a query within it are its own.
pub(super) fn aggregates(planner: &Planner, expr: &SqlExpr) -> Vec<SqlExpr> {
    let mut calls = Calls {
        planner,
        queries: 0,
        found: Vec::new(),
    };
    let ControlFlow::<Infallible>::Continue(()) = expr.visit(&mut calls);
    calls.found
}

struct Calls<'a> {
    planner: &'a Planner,
    queries: usize,
    found: Vec<SqlExpr>,
}

impl Visitor for Calls<'_> {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Infallible> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Infallible> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Infallible> {
        if let SqlExpr::Function(call) = expr
            && self.queries == 0
            && call.over.is_none()
            && self.planner.is_aggregate(&call.name.to_string())
            && !self.found.contains(expr)
        {
            self.found.push(expr.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Whether a rule asks how the rows of its table come.
pub(in crate::rules) fn arrives(rule: &Constraint) -> bool {
    let remembered = rule.past.iter().filter_map(|past| past.of.as_ref());
    let asks = match &rule.expectation {
        Expectation::Row(expr) => asks_arrivals(expr),
        Expectation::Equals { left, .. } => asks_arrivals(left),
        Expectation::Normal { values, .. } => values.iter().any(asks_arrivals),
        _ => false,
    };
    asks || remembered.into_iter().any(asks_arrivals)
}

/// The table that a rule measures: its rows, with how they come if it asks.
pub(super) fn base(rule: &Constraint) -> &'static str {
    match arrives(rule) {
        true => ARRIVALS,
        false => THIS,
    }
}

/// The column by which rows are in windows: a late row is in that which is open when it comes, where rules ask.
pub(super) fn time_of<'a>(rule: &Constraint, table: &Checked<'_>, column: &'a str) -> &'a str {
    let told = Coming::ALL.iter().find(|(told, _)| *told == Coming::Time);
    match told {
        Some((_, name)) if arrives(rule) && table.time == Some(column) => name,
        _ => column,
    }
}

/// The names of columns in an expression.
pub(super) fn columns(expr: &SqlExpr) -> Vec<String> {
    let mut names = Vec::new();
    let ControlFlow::<Infallible>::Continue(()) = visit_expressions(expr, |part| {
        let name = match part {
            SqlExpr::Identifier(name) => Some(name),
            SqlExpr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        if let Some(name) = name
            && !names.contains(&name.value)
        {
            names.push(name.value.clone());
        }
        ControlFlow::Continue(())
    });
    names
}
