//! What sqlparser reads but the planner would pass over in silence is refused here, and window
//! table functions get one form: Flink's `TABLE(TUMBLE(t, DESCRIPTOR(ts), ...))` becomes
//! `TUMBLE(t, ts, ...)`. Long chains of AND and OR become balanced trees, since the planner walks
//! and clones expressions by recursion; what is still too deep for that is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    Query, Select, SetExpr, TableFactor, TableFunctionArgs, TableVersion, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use weir_engine::Result;
use weir_engine::error::{Error, Place};

use super::unsupported::{system_time, unsupported};
use super::{anomaly, bounds, named, patterns};

/// Checks and normalizes a query or an expression.
pub(super) fn normalize(node: &mut impl VisitMut) -> Result<()> {
    match node.visit(&mut Normalizer::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Depth of an expression: cloning one level takes about 4 KB of stack in a debug build.
const EXPRESSION_DEPTH_MAX: usize = 200;
/// Tables of one FROM: the plan is as deep as they are many.
const TABLES_MAX: usize = 100;
/// Terms of AND or OR from which on the tree is balanced.
const CHAIN_TERMS_MIN: usize = 16;

#[derive(Default)]
struct Normalizer {
    depth: usize,
}

impl VisitorMut for Normalizer {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match &*query.body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return ControlFlow::Break(unsupported(
                    "a statement that writes inside a query",
                    "write INSERT INTO sink WITH ... SELECT ...",
                ));
            }
            _ => {}
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return ControlFlow::Break(unsupported("FOR UPDATE or FOR SHARE", "leave it out"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let tables: usize = select.from.iter().map(|table| 1 + table.joins.len()).sum();
        if tables > TABLES_MAX {
            let message = format!("the query joins {tables} tables, {TABLES_MAX} are allowed");
            return ControlFlow::Break(
                bounds::too_deep(&message).hint("split it with CREATE VIEW"),
            );
        }
        anomaly::name_column(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table {
            name,
            args,
            version,
            with_hints,
            sample,
            ..
        } = factor
        {
            let refused = if !with_hints.is_empty() && args.is_none() {
                unsupported(
                    "WITH (...) behind a table",
                    "only a window function takes options, such as allowed_lateness",
                )
            } else if version.as_ref().is_some_and(|version| !is_lookup(version)) {
                system_time()
            } else if sample.is_some() {
                unsupported("TABLESAMPLE", "filter with WHERE random() < 0.1")
            } else {
                return ControlFlow::Continue(());
            };
            return ControlFlow::Break(refused.at(name_place(name)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::TableFunction {
            expr: Expr::Function(function),
            alias,
        } = factor
        {
            let FunctionArguments::List(list) = &mut function.args else {
                return ControlFlow::Continue(());
            };
            let args = std::mem::take(&mut list.args);
            *factor = TableFactor::Table {
                name: function.name.clone(),
                alias: alias.take(),
                args: Some(TableFunctionArgs {
                    args,
                    settings: None,
                }),
                with_hints: Vec::new(),
                version: None,
                with_ordinality: false,
                partitions: Vec::new(),
                json_path: None,
                sample: None,
                index_hints: Vec::new(),
            };
        }
        if let TableFactor::Table {
            args: Some(args), ..
        } = factor
        {
            args.args.iter_mut().for_each(unwrap_descriptor);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        named::all_match(expr);
        if let Err(error) = patterns::expand(expr).and_then(|()| named::place(expr)) {
            return ControlFlow::Break(error);
        }
        balance(expr);
        if let Expr::Function(call) = expr
            && let Err(error) = anomaly::normalize(call)
        {
            return ControlFlow::Break(error);
        }
        self.depth += 1;
        // The planner nests one call per field or subscript.
        let accesses = match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => access_chain.len(),
            Expr::CompoundIdentifier(parts) => parts.len(),
            _ => 0,
        };
        if self.depth + accesses > EXPRESSION_DEPTH_MAX {
            return ControlFlow::Break(
                bounds::too_deep("the expression is nested too deeply")
                    .hint("split it with WITH or CREATE VIEW"),
            );
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &mut Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Error> {
        if let Value::Placeholder(name) = &value.value {
            let hint = "use a variable: '${NAME}' with --set NAME=value";
            let start = value.span.start;
            let place = Place {
                line: start.line,
                column: start.column,
            };
            let refused = unsupported(&format!("the parameter {name} in a script"), hint);
            return ControlFlow::Break(refused.at((start.line > 0).then_some(place)));
        }
        ControlFlow::Continue(())
    }
}

/// Balances a chain of one operator, AND or OR, which leans to the left as it is parsed.
fn balance(expr: &mut Expr) {
    let Expr::BinaryOp {
        op: op @ (BinaryOperator::And | BinaryOperator::Or),
        ..
    } = expr
    else {
        return;
    };
    let op = op.clone();
    let mut length = 1;
    let mut node = &*expr;
    while let Expr::BinaryOp {
        left, op: inner, ..
    } = node
        && *inner == op
    {
        length += 1;
        node = left;
    }
    if length < CHAIN_TERMS_MIN {
        return;
    }
    let mut terms = Vec::with_capacity(length);
    let mut rest = std::mem::replace(expr, Expr::Value(Value::Null.into()));
    loop {
        match rest {
            Expr::BinaryOp {
                left,
                op: inner,
                right,
            } if inner == op => {
                terms.push(*right);
                rest = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    // Each round joins neighbours, so that the order stays and the depth halves.
    while terms.len() > 1 {
        let mut joined = Vec::with_capacity(terms.len().div_ceil(2));
        let mut pairs = terms.into_iter();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => Expr::BinaryOp {
                    left: Box::new(left),
                    op: op.clone(),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        terms = joined;
    }
    if let Some(balanced) = terms.pop() {
        *expr = balanced;
    }
}

/// Replaces `DESCRIPTOR(column)` by the column.
fn unwrap_descriptor(arg: &mut FunctionArg) {
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
    | FunctionArg::Named {
        arg: FunctionArgExpr::Expr(expr),
        ..
    }) = arg
    else {
        return;
    };
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        ..
    }) = &*expr
    else {
        return;
    };
    if !name.to_string().eq_ignore_ascii_case("descriptor") {
        return;
    }
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice() {
        *expr = column.clone();
    }
}

fn name_place(name: &ObjectName) -> Option<Place> {
    let start = name.0.first()?.as_ident()?.span.start;
    (start.line > 0).then_some(Place {
        line: start.line,
        column: start.column,
    })
}

/// Whether a table's version is that at the time of the row which is joined with it.
fn is_lookup(version: &TableVersion) -> bool {
    match version {
        TableVersion::ForSystemTimeAsOf(Expr::Function(call)) => {
            call.name.to_string().eq_ignore_ascii_case("proctime")
        }
        _ => false,
    }
}
