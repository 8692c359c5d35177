//! Reads a join's condition on time: `a.ts BETWEEN b.ts - INTERVAL ... AND b.ts + INTERVAL ...`, in
//! whatever form it was written. Pure: conditions in, bounds and what is left of them out.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The time columns of two sides, and how far apart they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The time column of the left side.
    pub(super) left: usize,
    /// The time column of the right side.
    pub(super) right: usize,
    /// The least `left - right`, in microseconds.
    pub(super) lower: i64,
    /// The greatest `left - right`, in microseconds.
    pub(super) upper: i64,
}

/// A column that follows the watermark: `base + more`, where `base` is such a column too. The start
/// of a window is its end less its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    /// The column.
    pub(super) column: usize,
    /// The column that bounds are said of.
    pub(super) base: usize,
    /// Microseconds.
    pub(super) more: i64,
}

/// The columns of two sides, counted through, and which of them follow the watermark.
#[derive(Debug)]
pub(super) struct Times<'a> {
    /// The columns of both sides.
    pub(super) schema: &'a DFSchema,
    /// How many of them are of the left side.
    pub(super) left: usize,
    /// The columns that follow the watermark.
    pub(super) times: &'a [Time],
}

/// What one condition says: `left - right` of two columns is at least, or at most, so much.
#[derive(Debug, Clone, Copy)]
struct Says {
    left: usize,
    right: usize,
    lower: Option<i64>,
    upper: Option<i64>,
    /// The condition says nothing more than that.
    exact: bool,
}

impl Times<'_> {
    /// Finds the bounds among conditions that all hold, and gives with them the conditions that say
    /// more. `None` when they do not bound both ways.
    pub(super) fn bounds(
        &self,
        equal: &[(usize, usize)],
        conditions: &[Expr],
    ) -> Option<(Bounds, Vec<Expr>)> {
        let said: Vec<Option<Says>> = conditions.iter().map(|c| self.says(c)).collect();
        let same = equal.iter().filter_map(|(left, right)| {
            let (left, right) = (self.time(*left)?, self.time(*right)?);
            let apart = right.more.checked_sub(left.more)?;
            Some(Says {
                left: left.base,
                right: right.base,
                lower: Some(apart),
                upper: Some(apart),
                exact: false,
            })
        });
        let all: Vec<Says> = same.chain(said.iter().flatten().copied()).collect();
        let found = all.iter().find_map(|first| {
            let of = || all.iter().filter(|s| s.pair() == first.pair());
            Some(Bounds {
                left: first.left,
                right: first.right,
                lower: of().filter_map(|s| s.lower).max()?,
                upper: of().filter_map(|s| s.upper).min()?,
            })
        })?;
        let more = conditions.iter().zip(said).filter(|(_, says)| {
            !says.is_some_and(|says| says.exact && says.pair() == (found.left, found.right))
        });
        Some((
            found,
            more.map(|(condition, _)| condition.clone()).collect(),
        ))
    }

    fn time(&self, column: usize) -> Option<Time> {
        self.unit(column)?;
        self.times
            .iter()
            .copied()
            .find(|time| time.column == column)
    }

    fn unit(&self, column: usize) -> Option<TimeUnit> {
        match self.schema.field(column).data_type() {
            DataType::Timestamp(unit, _) => Some(*unit),
            _ => None,
        }
    }

    fn says(&self, condition: &Expr) -> Option<Says> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
            return None;
        };
        let (first, second) = match (self.term(left), self.term(right)) {
            (Some(first), Some(second)) => (first, second),
            _ => self.difference(left, right)?,
        };
        // first.column + first.more  op  second.column + second.more
        let (op, left, right) = if first.column < self.left && second.column >= self.left {
            (*op, first, second)
        } else if second.column < self.left && first.column >= self.left {
            (op.swap()?, second, first)
        } else {
            return None;
        };
        let bound = right.more.checked_sub(left.more)?;
        let (lower, upper) = match op {
            Operator::Lt => (None, Some(bound.checked_sub(1)?)),
            Operator::LtEq => (None, Some(bound)),
            Operator::Gt => (Some(bound.checked_add(1)?), None),
            Operator::GtEq => (Some(bound), None),
            Operator::Eq => (Some(bound), Some(bound)),
            _ => return None,
        };
        // Within a microsecond there are nanoseconds: the condition decides there.
        let fine = [left.column, right.column]
            .iter()
            .any(|column| self.unit(*column) == Some(TimeUnit::Nanosecond));
        let (lower, upper) = match fine {
            true => (
                lower.map(|_| bound.saturating_sub(1)),
                upper.map(|_| bound.saturating_add(1)),
            ),
            false => (lower, upper),
        };
        Some(Says {
            left: left.column,
            right: right.column,
            lower,
            upper,
            exact: !fine,
        })
    }

    /// `a - b  op  constant`, or the other way round, as terms: `a op b + constant`.
    fn difference(&self, left: &Expr, right: &Expr) -> Option<(Term, Term)> {
        let terms = |expr: &Expr| match plain(expr) {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Minus,
                right,
            }) => Some((self.term(left)?, self.term(right)?)),
            _ => None,
        };
        if let (Some((a, b)), Some(span)) = (terms(left), span(right, None)) {
            return Some((a, b.plus(span)?));
        }
        let ((a, b), span) = (terms(right)?, span(left, None)?);
        Some((b.plus(span)?, a))
    }

    /// An event time with a constant added.
    fn term(&self, expr: &Expr) -> Option<Term> {
        match expr {
            Expr::Column(column) => {
                let time = self.time(self.schema.maybe_index_of_column(column)?)?;
                Some(Term {
                    column: time.base,
                    more: time.more,
                })
            }
            Expr::Alias(alias) => self.term(&alias.expr),
            Expr::Cast(cast) => {
                let term = self.term(&cast.expr)?;
                let found = self.schema.field(term.column).data_type();
                widens(found, cast.field.data_type()).then_some(term)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (time, constant) = match (op, self.term(left)) {
                    (Operator::Plus | Operator::Minus, Some(time)) => (time, right),
                    (Operator::Plus, None) => (self.term(right)?, left),
                    _ => return None,
                };
                let zone = match self.schema.field(time.column).data_type() {
                    DataType::Timestamp(_, zone) => zone.as_deref(),
                    _ => None,
                };
                let span = span(constant, zone)?;
                match op {
                    Operator::Minus => time.plus(span.checked_neg()?),
                    _ => time.plus(span),
                }
            }
            _ => None,
        }
    }
}

impl Says {
    fn pair(&self) -> (usize, usize) {
        (self.left, self.right)
    }
}

/// A base column plus a constant.
#[derive(Debug, Clone, Copy)]
struct Term {
    column: usize,
    /// Microseconds.
    more: i64,
}

impl Term {
    fn plus(self, micros: i64) -> Option<Self> {
        let more = self.more.checked_add(micros)?;
        Some(Self { more, ..self })
    }
}

/// An expression without names and casts around it.
fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Cast(cast) => plain(&cast.expr),
        other => other,
    }
}

/// Whether a cast keeps every moment as it is.
fn widens(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Timestamp(from, from_zone), DataType::Timestamp(to, to_zone)) => {
            from_zone == to_zone && to >= from
        }
        _ => false,
    }
}

/// The microseconds of a constant length of time. Days are of 24 hours only where no zone changes
/// its clocks; months never are of one length.
fn span(expr: &Expr, zone: Option<&str>) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let Expr::Literal(value, _) = plain(expr) else {
        return None;
    };
    let days_are_even = matches!(zone, None | Some("UTC" | "utc" | "+00:00" | "Z"));
    let days = |days: i32| match days {
        0 => Some(0),
        days => days_are_even.then(|| i64::from(days).checked_mul(DAY))?,
    };
    let nanos = |nanos: i64| (nanos % 1_000 == 0).then_some(nanos / 1_000);
    match value {
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 => {
            days(v.days)?.checked_add(nanos(v.nanoseconds)?)
        }
        ScalarValue::IntervalDayTime(Some(v)) => {
            days(v.days)?.checked_add(i64::from(v.milliseconds) * 1_000)
        }
        ScalarValue::DurationSecond(Some(v)) => v.checked_mul(1_000_000),
        ScalarValue::DurationMillisecond(Some(v)) => v.checked_mul(1_000),
        ScalarValue::DurationMicrosecond(Some(v)) => Some(*v),
        ScalarValue::DurationNanosecond(Some(v)) => nanos(*v),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
