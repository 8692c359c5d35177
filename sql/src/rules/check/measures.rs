//! What a rule's query measures: its columns, and the calls of aggregates that results tell of.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, SelectItem, Visit, Visitor, visit_expressions,
};

use crate::plan::Planner;

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
