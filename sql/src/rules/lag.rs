//! `lag(column)` within the expression of a rule: the value of the row of the key that came before.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, visit_expressions_mut,
};
use weir_engine::error::{Error, Kind, Place, Result, codes};

use crate::ast::Name;
use crate::plan::errors;

/// Puts a column in the place of each `lag(column)`; gives the columns, each once.
pub(super) fn lags(sql: &mut SqlExpr, place: Place) -> Result<Vec<Name>> {
    let mut names: Vec<Name> = Vec::new();
    let found = visit_expressions_mut(sql, |part| {
        let SqlExpr::Function(call) = part else {
            return ControlFlow::Continue(());
        };
        if call.over.is_some() || !call.name.to_string().eq_ignore_ascii_case("lag") {
            return ControlFlow::Continue(());
        }
        let Some(name) = argument(&call.args) else {
            return ControlFlow::Break(call.to_string());
        };
        *part = SqlExpr::Identifier(Ident::with_quote('"', format!("lag({})", name.text)));
        if names.iter().all(|known| known.text != name.text) {
            names.push(name);
        }
        ControlFlow::Continue(())
    });
    match found.break_value() {
        None => Ok(names),
        Some(call) => Err(Error::new(
            Kind::Invalid,
            codes::RULE,
            format!("{call}: lag takes one column in a rule"),
        )
        .hint("write lag(column): the value of the row of the key that came before")
        .at(Some(place))),
    }
}

fn argument(arguments: &FunctionArguments) -> Option<Name> {
    let FunctionArguments::List(list) = arguments else {
        return None;
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(column)))] =
        list.args.as_slice()
    else {
        return None;
    };
    Some(Name {
        text: match column.quote_style {
            Some(_) => column.value.clone(),
            None => column.value.to_lowercase(),
        },
        place: errors::place_of(column.span),
    })
}
