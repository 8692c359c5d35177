//! `NO OUTLIERS (column [, method => 'mad'] [, k => 5])` and `LAST (n ROWS)`.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::options::nearest;
use weir_engine::rules::keyed::Far;

use super::{number, wrong};
use crate::ast::Asks;
use crate::parse::cursor::Cursor;
use crate::parse::syntax;
use crate::parse::unsupported::unsupported;

/// Values of a key that are remembered at most: 16 bytes each, and all of a key are looked at for each row.
const LAST_MAX: usize = 100_000;
/// Values that are remembered if nothing is said.
const LAST: usize = 10_000;
const METHODS: [&str; 3] = ["mad", "iqr", "zscore"];

/// Parses what follows `NO OUTLIERS`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Asks> {
    cursor.expect_token(&Token::LParen)?;
    let column = cursor.name("the column whose values are compared")?;
    let (mut method, mut times) = (None, None);
    while cursor.accept_token(&Token::Comma) {
        let place = cursor.place();
        let Some(option) = cursor.accept_one(&["METHOD", "K"]) else {
            return Err(cursor.expected("method => 'mad' or k => 5"));
        };
        cursor.expect_token(&Token::RArrow)?;
        let is_new = match option {
            "METHOD" => method.replace(word(cursor)?).is_none(),
            _ => times.replace(positive(cursor)?).is_none(),
        };
        if !is_new {
            let option = option.to_ascii_lowercase();
            return Err(syntax::error(format!("NO OUTLIERS has {option} twice")).at(Some(place)));
        }
    }
    cursor.expect_token(&Token::RParen)?;
    let far = match method.unwrap_or("mad") {
        "zscore" => Far::FromMean(times.unwrap_or(3.0)),
        "iqr" => Far::FromQuartiles(times.unwrap_or(1.5)),
        _ => Far::FromMedian(times.unwrap_or(5.0)),
    };
    Ok(Asks::Outliers {
        column,
        far,
        last: LAST,
    })
}

/// Parses what follows `LAST`: how many rows.
pub(super) fn last(cursor: &mut Cursor<'_>) -> Result<usize> {
    cursor.expect_token(&Token::LParen)?;
    let place = cursor.place();
    if cursor.at_words(&["interval"]) {
        let hint = "say how many rows are compared: LAST (10000 ROWS)";
        return Err(unsupported("LAST of a time", hint).at(Some(place)));
    }
    let (count, is_whole) = number(cursor, "how many rows: LAST (10000 ROWS)")?;
    if !is_whole || count < 2.0 || count > LAST_MAX as f64 {
        let message = format!("LAST needs a whole number of rows from 2 to {LAST_MAX}");
        return Err(wrong(&message, place));
    }
    cursor.expect(&["ROWS"])?;
    cursor.expect_token(&Token::RParen)?;
    Ok(count as usize)
}

/// Takes a method by its name.
fn word(cursor: &mut Cursor<'_>) -> Result<&'static str> {
    let place = cursor.place();
    let Token::SingleQuotedString(name) = cursor.peek().token.clone() else {
        return Err(cursor.expected("'mad', 'iqr' or 'zscore'"));
    };
    cursor.next();
    let found = METHODS
        .into_iter()
        .find(|method| name.eq_ignore_ascii_case(method));
    found.ok_or_else(|| {
        let error = wrong(&format!("unknown method '{name}' of NO OUTLIERS"), place);
        nearest(error, &name, METHODS.into_iter())
    })
}

fn positive(cursor: &mut Cursor<'_>) -> Result<f64> {
    let place = cursor.place();
    let (value, _) = number(cursor, "how many deviations are far, such as 5")?;
    match value > 0.0 && value.is_finite() {
        true => Ok(value),
        false => Err(wrong("k is greater than 0", place)),
    }
}
