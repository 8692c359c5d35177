//! `matches_any(text, 'regex', ...)`, `matches_all`, `like_any(text, 'pattern', ...)` and `like_all`: lists of patterns, which
//! become the comparisons that they stand for. So they are checked, computed and null as those are.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use crate::plan::errors::place_of;

/// Puts the comparisons in place of a call.
pub(super) fn expand(expr: &mut Expr) -> Result<()> {
    let Expr::Function(call) = expr else {
        return Ok(());
    };
    let name = call.name.to_string().to_ascii_lowercase();
    let (regex, op) = match name.as_str() {
        "matches_any" => (true, BinaryOperator::Or),
        "matches_all" => (true, BinaryOperator::And),
        "like_any" => (false, BinaryOperator::Or),
        "like_all" => (false, BinaryOperator::And),
        _ => return Ok(()),
    };
    let place = place_of(call.name.span());
    let arguments = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let values = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
        _ => None,
    });
    let values: Option<Vec<Expr>> = values.collect();
    let mut values = values.unwrap_or_default().into_iter();
    let Some(text) = values.next() else {
        return Err(missing(&name).at(place));
    };
    let comparisons = values.map(|pattern| compare(regex, &text, pattern));
    let all = comparisons.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    });
    let all = all.ok_or_else(|| missing(&name).at(place))?;
    *expr = Expr::Nested(Box::new(all));
    Ok(())
}

fn missing(name: &str) -> Error {
    let message = format!("{name} takes a text and at least one pattern");
    let hint = format!("write {name}(column, 'pattern', 'other pattern')");
    Error::new(Kind::Invalid, codes::TYPE, message).hint(hint)
}

fn compare(regex: bool, text: &Expr, pattern: Expr) -> Expr {
    let text = Box::new(Expr::Nested(Box::new(text.clone())));
    match regex {
        true => Expr::BinaryOp {
            left: text,
            op: BinaryOperator::PGRegexMatch,
            right: Box::new(pattern),
        },
        false => Expr::Like {
            negated: false,
            any: false,
            expr: text,
            pattern: Box::new(pattern),
            escape_char: None,
        },
    }
}
