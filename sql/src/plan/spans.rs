//! Spans of time that are compared with intervals: `later - earlier < INTERVAL '1' DAY`.
//!
//! The difference of two times is a number of microseconds, an interval is months, days and nanoseconds, and arrow
//! compares these one after the other: two days as a difference would be less than `INTERVAL '1' DAY`. So an interval
//! without months, whose days have 24 hours then, is made a number of the same unit.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// Plans the comparisons.
#[derive(Debug)]
pub(super) struct Spans;

impl ExprPlanner for Spans {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        if matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            if let Some(span) = as_span(&expr.right, &expr.left, schema) {
                expr.right = span;
            } else if let Some(span) = as_span(&expr.left, &expr.right, schema) {
                expr.left = span;
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// The same in an expression that was planned already, with those that stand in `BETWEEN` too. Else the planner makes
/// the difference an interval, whose nanoseconds end after 292 years: a row of the date 9999-12-31 would end the job.
pub(super) fn as_durations(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let changed = expr.transform_up(|part| {
        let span = |value: &Expr, bound: &mut Expr| match as_span(bound, value, schema) {
            Some(span) => {
                *bound = span;
                true
            }
            None => false,
        };
        Ok(match part {
            Expr::BinaryExpr(mut binary) if binary.op.supports_propagation() => {
                let right = span(&binary.left, &mut binary.right);
                let left = span(&binary.right, &mut binary.left);
                Transformed::new_transformed(Expr::BinaryExpr(binary), left || right)
            }
            Expr::Between(mut between) => {
                let low = span(&between.expr, &mut between.low);
                let high = span(&between.expr, &mut between.high);
                Transformed::new_transformed(Expr::Between(between), low || high)
            }
            other => Transformed::no(other),
        })
    });
    Ok(changed?.data)
}

/// An interval in the unit of what it is compared with, if that is a span.
fn as_span(interval: &Expr, other: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = interval else {
        return None;
    };
    let DataType::Duration(unit) = other.get_type(schema).ok()? else {
        return None;
    };
    let nanos = i128::from(interval.days) * DAY + i128::from(interval.nanoseconds);
    let of = |size: i128| {
        let whole = interval.months == 0 && nanos % size == 0;
        whole.then(|| i64::try_from(nanos / size).ok()).flatten()
    };
    let span = match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(Some(of(1_000_000_000)?)),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(Some(of(1_000_000)?)),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(Some(of(1_000)?)),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(Some(of(1)?)),
    };
    Some(lit(span))
}
