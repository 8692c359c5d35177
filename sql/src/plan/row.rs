//! Expressions that look at one row: those of rules. They say the same of a row whenever and wherever
//! they are asked, so that much of what an expression may hold is refused here.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Spanned, visit_expressions, visit_expressions_mut,
};
use weir_engine::error::{Error, Kind, Place, Result, codes};

use super::context::{NoTables, PlanContext};
use super::{Planner, errors, mixed, proctime, spans};
use crate::parse::skeleton;

/// An expression over a row, as planned and as compiled.
#[derive(Debug, Clone)]
pub(crate) struct RowExpr {
    /// As planned.
    pub(crate) expr: Expr,
    /// As compiled.
    pub(crate) compiled: Arc<dyn PhysicalExpr>,
}

impl Planner {
    /// Plans an expression over one row of a schema. `clock` allows `PROCTIME()`.
    pub(crate) fn row_expr(
        &self,
        sql: &SqlExpr,
        schema: &SchemaRef,
        clock: bool,
        place: Place,
    ) -> Result<RowExpr> {
        refuse_queries(sql, place)?;
        let sql = &by_the_clock(sql)?;
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let context = PlanContext {
            state: &self.state,
            tables: &NoTables,
            used: Default::default(),
        };
        let expr = SqlToRel::new(&context)
            .sql_to_expr(sql.clone(), &columns, &mut PlannerContext::new())
            .and_then(|expr| spans::as_durations(expr, &columns))
            .map_err(|error| locate(self.convert(error, None), sql, place))?;
        refuse_calls(&expr, sql, clock, place)?;
        if let Some(error) = mixed::compared(&expr, &columns) {
            return Err(error.at(Some(place)));
        }
        let compiled = self
            .compile(expr.clone(), &columns)
            .map_err(|error| locate(error, sql, place))?;
        // Constants are computed now: a pattern that is none, a text that is no date.
        let none = RecordBatch::new_empty(Arc::clone(schema));
        compiled
            .evaluate(&none)
            .map_err(|error| locate(self.convert(error, None), sql, place))?;
        Ok(RowExpr { expr, compiled })
    }
}

/// A rule asks each row when it comes: `now()` is that time in it, and not that of the plan.
fn by_the_clock(sql: &SqlExpr) -> Result<SqlExpr> {
    let mut sql = sql.clone();
    let found = visit_expressions_mut(&mut sql, |part| {
        let SqlExpr::Function(call) = &*part else {
            return ControlFlow::Continue(());
        };
        let name = call.name.to_string();
        let now = NOW.iter().find(|(now, _)| name.eq_ignore_ascii_case(now));
        match now.map(|(_, text)| skeleton::expression(text, &[])) {
            Some(Ok(clock)) => *part = clock,
            Some(Err(error)) => return ControlFlow::Break(error),
            None => {}
        }
        ControlFlow::Continue(())
    });
    match found.break_value() {
        Some(error) => Err(error),
        None => Ok(sql),
    }
}

/// Names of the time at which a statement is planned, and what they are in a rule.
const NOW: [(&str, &str); 4] = [
    ("now", "PROCTIME()"),
    ("current_timestamp", "PROCTIME()"),
    ("localtimestamp", "PROCTIME()"),
    ("current_date", "CAST(PROCTIME() AS DATE)"),
];

fn rule(message: String, hint: &str) -> Error {
    Error::new(Kind::Invalid, codes::RULE, message).hint(hint)
}

fn refuse_queries(sql: &SqlExpr, place: Place) -> Result<()> {
    let found = visit_expressions(sql, |part| match part {
        SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
            ControlFlow::Break(errors::place_of(part.span()))
        }
        _ => ControlFlow::Continue(()),
    });
    match found.break_value() {
        None => Ok(()),
        Some(at) => {
            let hint = "ask the table: EXPECT NO ROWS (SELECT ...), or join the other one in a MATERIALIZED VIEW and \
                        put the rule there";
            let error = rule("a rule over rows holds a query".to_owned(), hint);
            Err(error.at(at).at(Some(place)))
        }
    }
}

fn refuse_calls(expr: &Expr, sql: &SqlExpr, clock: bool, place: Place) -> Result<()> {
    let mut refused = None;
    expr.apply(|part| {
        refused = match part {
            Expr::AggregateFunction(call) => Some((
                call.func.name().to_owned(),
                "is computed over many rows, a rule looks at one",
                "aggregate in a MATERIALIZED VIEW, and put the rule there",
            )),
            Expr::WindowFunction(call) => Some((
                call.fun.name().to_owned(),
                "is computed over many rows, a rule looks at one",
                "compute it in a MATERIALIZED VIEW, and put the rule there",
            )),
            Expr::ScalarFunction(call) => {
                let name = call.func.name();
                match call.func.signature().volatility {
                    Volatility::Volatile if name == proctime::NAME && !clock => Some((
                        name.to_owned(),
                        "says another thing of a row when it is taken back than when it came",
                        "put the rule on a source or a sink whose rows are only added",
                    )),
                    Volatility::Volatile if name != proctime::NAME => Some((
                        name.to_owned(),
                        "says another thing of the same row each time",
                        "compare with columns of the row",
                    )),
                    Volatility::Stable => Some((
                        name.to_owned(),
                        "is the time at which the script was planned",
                        "use PROCTIME(), the time at which the row is read",
                    )),
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(match refused {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    match refused {
        None => Ok(()),
        Some((name, why, hint)) => {
            let error = rule(format!("{name} {why}"), hint);
            Err(error.at(place_of_call(sql, &name)).at(Some(place)))
        }
    }
}

/// The place of the call that an error is about, where the error has none.
fn locate(error: Error, sql: &SqlExpr, place: Place) -> Error {
    let at = errors::function_of(&error).and_then(|name| place_of_call(sql, name));
    error.at(at).at(Some(place))
}

fn place_of_call(sql: &SqlExpr, name: &str) -> Option<Place> {
    let found = visit_expressions(sql, |part| match part {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case(name) => {
            ControlFlow::Break(errors::place_of(call.name.span()))
        }
        _ => ControlFlow::Continue(()),
    });
    found.break_value().flatten()
}
