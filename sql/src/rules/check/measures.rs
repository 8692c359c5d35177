//! What a rule's query measures: its columns, and the calls of aggregates that results tell of.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, SelectItem, visit_expressions};

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

/// The calls of aggregates in an expression, each once.
pub(super) fn aggregates(planner: &Planner, expr: &SqlExpr) -> Vec<SqlExpr> {
    let mut calls = Vec::new();
    let ControlFlow::<Infallible>::Continue(()) = visit_expressions(expr, |part| {
        if let SqlExpr::Function(call) = part
            && call.over.is_none()
            && planner.is_aggregate(&call.name.to_string())
            && !calls.contains(part)
        {
            calls.push(part.clone());
        }
        ControlFlow::Continue(())
    });
    calls
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
