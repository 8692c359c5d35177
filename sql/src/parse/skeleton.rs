//! Queries and expressions that rules are made into: text of ours, with parts of the script in places of names.
//! The parts keep their places in the script, so that errors show there.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, visit_expressions_mut};
use datafusion::sql::sqlparser::parser::Parser;
use weir_engine::Result;
use weir_engine::error::Error;

use super::dialect::WeirDialect;
use super::query::normalize;

/// Parses a query of ours.
pub(crate) fn query(text: &str) -> Result<Box<Query>> {
    let mut query = parse(text, |parser| parser.parse_query())?;
    normalize(&mut *query)?;
    Ok(query)
}

/// Parses an expression of ours, and puts expressions in place of names, and lists in place of lists of
/// one name.
pub(crate) fn expression(text: &str, parts: &[(&str, &[Expr])]) -> Result<Expr> {
    let mut expr = parse(text, |parser| parser.parse_expr())?;
    let part = |expr: &Expr| match expr {
        Expr::Identifier(name) => {
            let mut parts = parts.iter();
            parts
                .find(|(part, _)| *part == name.value)
                .map(|(_, with)| *with)
        }
        _ => None,
    };
    let ControlFlow::<Infallible>::Continue(()) = visit_expressions_mut(&mut expr, |expr| {
        if let Expr::InList { list, .. } = expr
            && let [only] = list.as_slice()
            && let Some(with) = part(only)
        {
            *list = with.to_vec();
        }
        if let Some([with]) = part(expr) {
            *expr = Expr::Nested(Box::new(with.clone()));
        }
        ControlFlow::Continue(())
    });
    Ok(expr)
}

/// A name as SQL writes it, whatever it holds.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn parse<T>(
    text: &str,
    read: impl FnOnce(
        &mut Parser<'_>,
    ) -> std::result::Result<T, datafusion::sql::sqlparser::parser::ParserError>,
) -> Result<T> {
    let dialect = WeirDialect::new(&[]);
    let parsed = Parser::new(&dialect).try_with_sql(text);
    let parsed = parsed.and_then(|mut parser| read(&mut parser));
    parsed.map_err(|error| Error::internal(format!("a rule became \"{text}\": {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_place_of_names() {
        let part = expression("a > 1", &[]).unwrap();
        let list = [
            expression("1", &[]).unwrap(),
            expression("'x'", &[]).unwrap(),
        ];
        let filled = expression(
            "count(*) FILTER (WHERE NOT x AND y IN (l)) = 0",
            &[("x", std::slice::from_ref(&part)), ("l", &list)],
        );
        assert_eq!(
            filled.unwrap().to_string(),
            "count(*) FILTER (WHERE NOT (a > 1) AND y IN (1, 'x')) = 0"
        );
    }
}
