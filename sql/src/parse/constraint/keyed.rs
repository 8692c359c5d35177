//! Rules over keys: `UNIQUE (..)`, `(..) DETERMINES (..)`, `TRANSITION (..) IN (..)`, `INCREASING (..)`,
//! `SEQUENTIAL (..)`, `NO OVERLAP (..)`, `NO OUTLIERS (..)`, `(..) REFERENCES ..`, and expressions with `lag(column)`.

use std::ops::ControlFlow;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{Expr, visit_expressions};
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::error::{Error, Place};
use weir_engine::options::parse_duration;

use super::wrong;
use crate::ast::{Asks, Keyed, Name};
use crate::parse::create::object_name;
use crate::parse::cursor::Cursor;
use crate::parse::unsupported::unsupported;

/// Pairs of states that a rule may allow.
const PAIRS_MAX: usize = 10_000;

/// Parses what stands between EXPECT and the clauses, if it is a rule over keys.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Keyed>> {
    let asks = if cursor.accept(&["unique"]) {
        unique(cursor)?
    } else if cursor.accept(&["transition"]) {
        transition(cursor)?
    } else if let Some(word) = cursor.accept_one(&["INCREASING", "DECREASING"]) {
        let strictly = cursor.accept(&["strictly"]);
        Asks::Ordered {
            column: column(cursor)?,
            descending: word == "DECREASING",
            strictly,
        }
    } else if cursor.accept(&["sequential"]) {
        Asks::Sequential(column(cursor)?)
    } else if cursor.accept(&["no", "overlap"]) {
        let place = cursor.place();
        match columns(cursor)?.as_slice() {
            [from, to] => Asks::Apart {
                from: from.clone(),
                to: to.clone(),
            },
            _ => return Err(wrong("NO OVERLAP has two columns", place).hint(NO_OVERLAP)),
        }
    } else if cursor.accept(&["no", "outliers"]) {
        super::outliers::parse(cursor)?
    } else if behind_columns(cursor).is_some_and(|word| word.eq_ignore_ascii_case("determines")) {
        let from = columns(cursor)?;
        cursor.expect(&["DETERMINES"])?;
        let to = columns(cursor)?;
        Asks::Determines { from, to }
    } else if behind_columns(cursor).is_some_and(|word| word.eq_ignore_ascii_case("references")) {
        references(cursor)?
    } else {
        return Ok(None);
    };
    Ok(Some(Keyed { asks, order: None }))
}

const NO_OVERLAP: &str =
    "where the range begins and where it ends: NO OVERLAP (valid_from, valid_to)";

/// Whether an expression asks for the row before.
pub(super) fn looks_back(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part| match part {
        Expr::Function(call)
            if call.over.is_none() && call.name.to_string().eq_ignore_ascii_case("lag") =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Parses what follows ORDER BY: one column.
pub(super) fn order(cursor: &mut Cursor<'_>) -> Result<Name> {
    let name = cursor.name("the column of the event time")?;
    if cursor.at_words(&["desc"]) {
        let hint = "rows are asked in the order of their event time: turn the rule around instead";
        return Err(unsupported("ORDER BY ... DESC of a rule", hint).at(Some(cursor.place())));
    }
    cursor.accept(&["asc"]);
    Ok(name)
}

fn unique(cursor: &mut Cursor<'_>) -> Result<Asks> {
    let columns = match cursor.nth(1).token {
        Token::Mul => {
            cursor.expect_token(&Token::LParen)?;
            cursor.expect_token(&Token::Mul)?;
            cursor.expect_token(&Token::RParen)?;
            Vec::new()
        }
        _ => columns(cursor)?,
    };
    let (mut within, mut keep_last) = (None, None);
    loop {
        let place = cursor.place();
        let twice = if cursor.accept(&["within"]) {
            within.replace(interval(cursor)?).is_some()
        } else if cursor.accept(&["keep"]) {
            let Some(which) = cursor.accept_one(&["FIRST", "LAST"]) else {
                return Err(cursor.expected("FIRST or LAST"));
            };
            keep_last.replace(which == "LAST").is_some()
        } else {
            return Ok(Asks::Unique {
                columns,
                within,
                keep_last: keep_last.unwrap_or(false),
            });
        };
        if twice {
            return Err(wrong("UNIQUE says WITHIN and KEEP once each", place));
        }
    }
}

fn transition(cursor: &mut Cursor<'_>) -> Result<Asks> {
    let state = column(cursor)?;
    cursor.expect(&["IN"])?;
    cursor.expect_token(&Token::LParen)?;
    let mut pairs = Vec::new();
    loop {
        let place = cursor.place();
        cursor.expect_token(&Token::LParen)?;
        let from = cursor.expr()?;
        cursor.expect_token(&Token::Comma)?;
        let to = cursor.expr()?;
        cursor.expect_token(&Token::RParen)?;
        if pairs.len() == PAIRS_MAX {
            let message = format!("a rule allows {PAIRS_MAX} transitions at most");
            return Err(wrong(&message, place));
        }
        pairs.push((from, to));
        if !cursor.list_goes_on()? {
            return Ok(Asks::Transition { state, pairs });
        }
    }
}

fn references(cursor: &mut Cursor<'_>) -> Result<Asks> {
    let columns = columns(cursor)?;
    cursor.expect(&["REFERENCES"])?;
    let table = object_name(cursor, "the table that is referred to")?;
    let to = cursor.names("the name of a column")?;
    let grace = match cursor.accept(&["grace"]) {
        true => Some(interval(cursor)?),
        false => None,
    };
    Ok(Asks::References {
        columns,
        table,
        to,
        grace,
    })
}

fn interval(cursor: &mut Cursor<'_>) -> Result<Duration> {
    let place = cursor.place();
    cursor.expect(&["INTERVAL"])?;
    let Token::SingleQuotedString(text) = &cursor.peek().token else {
        return Err(cursor.expected("a time span such as '7 days'"));
    };
    let mut text = text.clone();
    cursor.next();
    // `INTERVAL '7' DAY` has its unit outside.
    if !text.contains(char::is_alphabetic)
        && let Some(unit) = cursor.word().map(str::to_lowercase)
    {
        cursor.next();
        text = format!("{text} {unit}");
    }
    let found = parse_duration(&text).filter(|time| !time.is_zero());
    found.ok_or_else(|| no_interval(&text, place))
}

fn no_interval(text: &str, place: Place) -> Error {
    if text.contains("month") || text.contains("year") {
        let message = format!("\"{text}\" has no fixed length");
        return wrong(&message, place).hint("say it in days: INTERVAL '30' DAY");
    }
    wrong(&format!("\"{text}\" is no time span"), place)
        .hint("write INTERVAL '7 days' or INTERVAL '7' DAY")
}

/// One column in parentheses.
fn column(cursor: &mut Cursor<'_>) -> Result<Name> {
    let place = cursor.place();
    match columns(cursor)?.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(wrong("the rule is about one column", place)),
    }
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Name>> {
    cursor.names("the name of a column")
}

/// The word behind a list of names in parentheses, if one comes next.
fn behind_columns<'a>(cursor: &'a Cursor<'_>) -> Option<&'a str> {
    if cursor.peek().token != Token::LParen {
        return None;
    }
    let mut at = 1;
    loop {
        match (&cursor.nth(at).token, &cursor.nth(at + 1).token) {
            (Token::Word(_), Token::Comma) => at += 2,
            (Token::Word(_), Token::RParen) => return cursor.nth_word(at + 2),
            _ => return None,
        }
    }
}
