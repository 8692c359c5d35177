//! Calls that are written otherwise than they are planned: arguments by name of functions whose last ones may be left out: `approx_eq(a, b, abs => 0.01)` becomes the call
//! in which each stands at its place.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned,
    UnaryOperator, Value,
};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use crate::plan::errors::place_of;

/// Functions, and the arguments behind the first two with what they are if they are left out.
const NAMED: [(&str, &[(&str, &str)]); 1] = [("approx_eq", &[("rel", "1e-9"), ("abs", "0.0")])];

/// `all_match(list, x -> condition)`: none of the values breaks the condition.
pub(super) fn all_match(expr: &mut Expr) {
    let Expr::Function(call) = expr else {
        return;
    };
    let name = call.name.to_string();
    let ours = ["all_match", "array_all_match"];
    let (true, FunctionArguments::List(list)) = (
        ours.iter().any(|known| name.eq_ignore_ascii_case(known)),
        &mut call.args,
    ) else {
        return;
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(lambda)))) =
        list.args.last_mut()
    else {
        return;
    };
    let not = |expr: Expr| Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(Expr::Nested(Box::new(expr))),
    };
    let null = Expr::Value(Value::Null.into());
    let condition = std::mem::replace(lambda.body.as_mut(), null);
    *lambda.body = not(condition);
    let mut any = call.clone();
    any.name = ObjectName::from(vec![Ident::new("any_match")]);
    *expr = not(Expr::Function(any));
}

/// Puts the arguments of a call at their places.
pub(super) fn place(expr: &mut Expr) -> Result<()> {
    let Expr::Function(call) = expr else {
        return Ok(());
    };
    let name = call.name.to_string();
    let known = NAMED
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    let (Some((function, options)), FunctionArguments::List(list)) = (known, &mut call.args) else {
        return Ok(());
    };
    let is_named = |arg: &FunctionArg| !matches!(arg, FunctionArg::Unnamed(_));
    let Some(first) = list.args.iter().position(is_named) else {
        return Ok(());
    };
    let place = place_of(call.name.span());
    let wrong = |message: String| {
        let names: Vec<String> = options
            .iter()
            .map(|(name, _)| format!("{name} => number"))
            .collect();
        let hint = format!("write {function}(a, b, {})", names.join(", "));
        Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint(hint)
            .at(place))
    };
    let mut named = list.args.split_off(first);
    for (at, (option, otherwise)) in options.iter().enumerate() {
        let takes = |arg: &FunctionArg| match arg {
            FunctionArg::Named { name, .. } => name.value.eq_ignore_ascii_case(option),
            _ => false,
        };
        let found = named.iter().position(takes).map(|at| named.remove(at));
        match found {
            Some(_) if list.args.len() > at + 2 => {
                return wrong(format!("{function} has {option} twice"));
            }
            Some(FunctionArg::Named { arg, .. }) => list.args.push(FunctionArg::Unnamed(arg)),
            _ if list.args.len() == at + 2 => {
                let value = Expr::Value(Value::Number((*otherwise).to_owned(), false).into());
                list.args
                    .push(FunctionArg::Unnamed(FunctionArgExpr::Expr(value)));
            }
            _ => {}
        }
    }
    match named.first() {
        None => Ok(()),
        Some(other) => wrong(format!("{function} knows no argument {other}")),
    }
}
