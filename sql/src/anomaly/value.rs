//! The value of an option: constants alone, brought to one text. `WARMUP 2 DAYS` is `2 DAYS` here, and so is
//! `warmup => INTERVAL '2' DAY`.

use datafusion::sql::sqlparser::ast::{DateTimeField, Expr, Interval, UnaryOperator, Value};

/// The text of a constant; `None` for what is none.
pub(crate) fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => text_of(inner),
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.clone()),
            Value::Boolean(_) | Value::Null => None,
            other => other.clone().into_string(),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match &**expr {
            Expr::Value(_) => text_of(expr).map(|text| format!("-{text}")),
            _ => None,
        },
        Expr::Interval(interval) => text_of_interval(interval),
        Expr::Tuple(parts) => list(parts),
        Expr::Array(array) => list(&array.elem),
        _ => None,
    }
}

fn list(parts: &[Expr]) -> Option<String> {
    let parts: Option<Vec<String>> = parts.iter().map(text_of).collect();
    parts.map(|parts| parts.join(", "))
}

fn text_of_interval(interval: &Interval) -> Option<String> {
    let value = text_of(&interval.value)?;
    match (&interval.leading_field, &interval.last_field) {
        (None, None) => Some(value),
        (Some(unit), None) => Some(format!("{value} {}", name_of(unit)?)),
        _ => None,
    }
}

fn name_of(unit: &DateTimeField) -> Option<&'static str> {
    Some(match unit {
        DateTimeField::Microsecond | DateTimeField::Microseconds => "us",
        DateTimeField::Millisecond | DateTimeField::Milliseconds => "ms",
        DateTimeField::Second | DateTimeField::Seconds => "s",
        DateTimeField::Minute | DateTimeField::Minutes => "min",
        DateTimeField::Hour | DateTimeField::Hours => "h",
        DateTimeField::Day | DateTimeField::Days => "d",
        DateTimeField::Week(None) | DateTimeField::Weeks => "w",
        _ => return None,
    })
}
