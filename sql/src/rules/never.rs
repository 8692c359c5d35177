//! Thresholds that can't be met: a rule that nothing could ever hold is a slip of its author, and is told
//! before a row is read.
//!
//! Only what is certain by the text is refused: numbers, texts and times that are written in the rule, beside
//! the values that a measure can have.

use std::cmp::Ordering;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Spanned, UnaryOperator, Value, ValueWithSpan,
};
use weir_engine::error::{Error, Kind, Result, codes};

use crate::ast::{Asks, Constraint, Expectation};
use crate::plan::errors::place_of;

/// Measures that are shares or probabilities.
const SHARES: [&str; 17] = [
    "bin_ratio",
    "chi2",
    "completeness",
    "compliance",
    "cramers_v",
    "distinctness",
    "js",
    "ks",
    "ks_p",
    "l_inf",
    "null_ratio",
    "t_test_p",
    "top_share",
    "unique_ratio",
    "unique_value_ratio",
    "uniqueness",
    "value_ratio",
];
/// What is never less than 0.
const COUNTS: [&str; 24] = [
    "abs",
    "approx_distinct",
    "array_length",
    "bit_length",
    "cardinality",
    "char_length",
    "character_length",
    "count",
    "entropy",
    "iqr",
    "length",
    "mutual_information",
    "null_count",
    "octet_length",
    "psi",
    "sqrt",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var",
    "var_pop",
    "var_samp",
    "wasserstein",
    "zeros",
];

/// Refuses an expectation that can never be true.
pub(super) fn refuse(rule: &Constraint) -> Result<()> {
    let expr = match &rule.expectation {
        Expectation::Row(expr) => expr,
        Expectation::Keyed(keyed) => match &keyed.asks {
            Asks::Last(expr) => expr,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let Some(never) = never(expr) else {
        return Ok(());
    };
    let message = format!("{} can never be true", never.clause);
    Err(Error::new(Kind::Invalid, codes::RULE, message)
        .detail(never.why)
        .hint(never.hint)
        .at(place_of(never.clause.span()))
        .at(Some(rule.place)))
}

/// Why an expression is never true.
struct Never<'a> {
    clause: &'a Expr,
    why: String,
    hint: String,
}

fn never(expr: &Expr) -> Option<Never<'_>> {
    match expr {
        Expr::Nested(inner) => never(inner),
        Expr::Value(ValueWithSpan {
            value: Value::Boolean(false),
            ..
        }) => Some(Never {
            clause: expr,
            why: "it is false for all rows".to_owned(),
            hint: "write what has to be true: EXPECT (column > 0)".to_owned(),
        }),
        Expr::BinaryOp {
            op: BinaryOperator::Or,
            left,
            right,
        } => never(left).filter(|_| never(right).is_some()),
        Expr::BinaryOp {
            op: BinaryOperator::And,
            ..
        } => {
            let mut parts = Vec::new();
            conjuncts(expr, &mut parts);
            let alone = parts.iter().find_map(|part| never(part));
            alone.or_else(|| contradiction(expr, &parts))
        }
        Expr::BinaryOp { left, op, right } => compared(expr, left, op, right),
        Expr::Between {
            expr: value,
            negated: false,
            low,
            high,
        } => {
            if let (Some(least), Some(most)) = (constant(low), constant(high))
                && least.compare(&most) == Some(Ordering::Greater)
            {
                return Some(Never {
                    clause: expr,
                    why: format!("{low} is more than {high}"),
                    hint: format!("write the lesser bound first: {value} BETWEEN {high} AND {low}"),
                });
            }
            outside(expr)
        }
        _ => None,
    }
}

/// The parts of a chain of AND.
fn conjuncts<'a>(expr: &'a Expr, parts: &mut Vec<&'a Expr>) {
    match expr {
        Expr::Nested(inner) => conjuncts(inner, parts),
        Expr::BinaryOp {
            op: BinaryOperator::And,
            left,
            right,
        } => {
            conjuncts(left, parts);
            conjuncts(right, parts);
        }
        other => parts.push(other),
    }
}

/// Two bounds of one value that have nothing in common.
fn contradiction<'a>(whole: &'a Expr, parts: &[&Expr]) -> Option<Never<'a>> {
    let bounds: Vec<_> = parts
        .iter()
        .filter_map(|part| Some((part, bounded(part)?)))
        .collect();
    for (at, (first, (value, one))) in bounds.iter().enumerate() {
        for (second, (other, two)) in bounds.iter().skip(at + 1) {
            if value == other && one.clone().meet(two).is_empty() {
                return Some(Never {
                    clause: whole,
                    why: format!("no value is both {first} and {second}"),
                    hint: "correct one of the bounds, or write OR between them".to_owned(),
                });
            }
        }
    }
    None
}

/// A comparison of two constants, or of a measure with a value that it never has.
fn compared<'a>(
    expr: &'a Expr,
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
) -> Option<Never<'a>> {
    if let (Some(one), Some(two)) = (constant(left), constant(right)) {
        let order = one.compare(&two)?;
        let holds = match op {
            BinaryOperator::Eq => order.is_eq(),
            BinaryOperator::NotEq => order.is_ne(),
            BinaryOperator::Lt => order.is_lt(),
            BinaryOperator::LtEq => order.is_le(),
            BinaryOperator::Gt => order.is_gt(),
            BinaryOperator::GtEq => order.is_ge(),
            _ => return None,
        };
        return (!holds).then(|| Never {
            clause: expr,
            why: "both sides are constants".to_owned(),
            hint: "compare with a column: EXPECT (column > 0)".to_owned(),
        });
    }
    outside(expr)
}

/// A measure beside a bound that it never keeps.
fn outside(expr: &Expr) -> Option<Never<'_>> {
    let (value, range) = bounded(expr)?;
    let (known, told) = known(value)?;
    let is_apart = range.meet(&known).is_empty();
    is_apart.then(|| Never {
        clause: expr,
        why: format!("{value} is {told}"),
        hint: "correct the bound".to_owned(),
    })
}

/// What a call can give.
fn known(value: &Expr) -> Option<(Range, &'static str)> {
    let Expr::Function(call) = value else {
        return None;
    };
    if call.over.is_some() {
        return None;
    }
    let name = call.name.to_string().to_ascii_lowercase();
    let name = name.as_str();
    if SHARES.contains(&name) {
        return Some((Range::between(0.0, Some(1.0)), "a share from 0 to 1"));
    }
    if name == "corr" {
        return Some((Range::between(-1.0, Some(1.0)), "a number from -1 to 1"));
    }
    COUNTS
        .contains(&name)
        .then(|| (Range::between(0.0, None), "never less than 0"))
}

/// A value, and the range in which an expression has it.
fn bounded(expr: &Expr) -> Option<(&Expr, Range)> {
    match expr {
        Expr::Nested(inner) => bounded(inner),
        Expr::BinaryOp { left, op, right } => {
            if let Some(bound) = constant(right) {
                return Some((bare(left), Range::of(op, bound, false)?));
            }
            let bound = constant(left)?;
            Some((bare(right), Range::of(op, bound, true)?))
        }
        Expr::Between {
            expr: value,
            negated: false,
            low,
            high,
        } => {
            let (least, most) = (constant(low)?, constant(high)?);
            let range = Range {
                least: Some((least, false)),
                most: Some((most, false)),
            };
            Some((bare(value), range))
        }
        _ => None,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// A value that is written in the rule.
#[derive(Debug, Clone)]
enum Constant {
    Number(f64),
    /// A text, or a date or time in the form in which texts have its order.
    Text(String),
}

impl Constant {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(one), Self::Number(two)) => one.partial_cmp(two),
            (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }
}

fn constant(expr: &Expr) -> Option<Constant> {
    let number = |expr: &Expr| match constant(expr)? {
        Constant::Number(number) => Some(number),
        Constant::Text(_) => None,
    };
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::Value(value) => written(&value.value),
        Expr::TypedString(typed) => written(&typed.value.value),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(Constant::Number(-number(expr)?)),
        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (number(left)?, number(right)?);
            match op {
                BinaryOperator::Plus => Some(Constant::Number(left + right)),
                BinaryOperator::Minus => Some(Constant::Number(left - right)),
                BinaryOperator::Multiply => Some(Constant::Number(left * right)),
                // A quotient of whole numbers is rounded.
                _ => None,
            }
        }
        _ => None,
    }
}

fn written(value: &Value) -> Option<Constant> {
    match value {
        Value::Number(text, _) => Some(Constant::Number(text.parse().ok()?)),
        Value::SingleQuotedString(text) => {
            // A number in quotes is compared as what its column is.
            let digits = text.starts_with(|c: char| c.is_ascii_digit() || "+-. ".contains(c));
            let comparable = !text.is_empty() && (!digits || is_iso(text));
            comparable.then(|| Constant::Text(text.clone()))
        }
        _ => None,
    }
}

/// Whether a text begins with a date of ISO 8601, whose order is that of time.
fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    let form = |(at, byte): (usize, &u8)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    bytes.len() >= 10 && bytes.iter().take(10).enumerate().all(form)
}

/// The values from one bound to another; a bound says whether it is out itself.
#[derive(Debug, Clone)]
struct Range {
    least: Option<(Constant, bool)>,
    most: Option<(Constant, bool)>,
}

impl Range {
    fn between(least: f64, most: Option<f64>) -> Self {
        Self {
            least: Some((Constant::Number(least), false)),
            most: most.map(|most| (Constant::Number(most), false)),
        }
    }

    /// The values that a comparison lets through, with the constant on the right unless it is turned.
    fn of(op: &BinaryOperator, bound: Constant, turned: bool) -> Option<Self> {
        let (greater, strict) = match op {
            BinaryOperator::Eq => {
                let bound = Some((bound, false));
                return Some(Self {
                    least: bound.clone(),
                    most: bound,
                });
            }
            BinaryOperator::Gt => (true, true),
            BinaryOperator::GtEq => (true, false),
            BinaryOperator::Lt => (false, true),
            BinaryOperator::LtEq => (false, false),
            _ => return None,
        };
        let (mut range, bound) = (
            Self {
                least: None,
                most: None,
            },
            Some((bound, strict)),
        );
        match greater != turned {
            true => range.least = bound,
            false => range.most = bound,
        }
        Some(range)
    }

    /// What is in both.
    fn meet(mut self, other: &Self) -> Self {
        self.least = tighter(self.least, other.least.as_ref(), Ordering::Greater);
        self.most = tighter(self.most, other.most.as_ref(), Ordering::Less);
        self
    }

    fn is_empty(&self) -> bool {
        let (Some((least, out)), Some((most, also_out))) = (&self.least, &self.most) else {
            return false;
        };
        match least.compare(most) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => *out || *also_out,
            _ => false,
        }
    }
}

/// The bound of two that lets less through.
fn tighter(
    one: Option<(Constant, bool)>,
    two: Option<&(Constant, bool)>,
    wins: Ordering,
) -> Option<(Constant, bool)> {
    let Some((bound, out)) = one else {
        return two.cloned();
    };
    let Some((other, also_out)) = two else {
        return Some((bound, out));
    };
    match bound.compare(other) {
        Some(Ordering::Equal) => Some((bound, out || *also_out)),
        Some(order) if order == wins => Some((bound, out)),
        // What can't be compared is left as it is: nothing is certain of it.
        None => Some((bound, out)),
        Some(_) => Some((other.clone(), *also_out)),
    }
}
