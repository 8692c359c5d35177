//! Differences of times beside an interval. The planner makes the difference into an interval, whose nanoseconds
//! end after 292 years: a row with the date 9999-12-31 would end the job. The interval becomes a duration instead.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The expression with the intervals that differences are compared with as durations.
pub(super) fn as_durations(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let changed = expr.transform_up(|part| {
        let span = |value: &Expr, bound: &mut Expr| {
            let Ok(of @ DataType::Duration(_)) = value.get_type(schema) else {
                return false;
            };
            match micros(bound) {
                Some(micros) => {
                    *bound = cast(lit(ScalarValue::DurationMicrosecond(Some(micros))), of);
                    true
                }
                None => false,
            }
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

/// The length of an interval that is written in the expression, if it has one in microseconds.
fn micros(expr: &Expr) -> Option<i64> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = expr else {
        return None;
    };
    let whole = interval.months == 0 && interval.nanoseconds % 1_000 == 0;
    let days = i64::from(interval.days).checked_mul(MICROS_PER_DAY)?;
    whole.then(|| days.checked_add(interval.nanoseconds / 1_000))?
}
