//! `WITH prev => HISTORY(7)`: what a rule has measured before, under a name that its expression may use.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::rules::Fold;

use super::{number, wrong};
use crate::ast::{Constraint, Expectation, Remembered};
use crate::parse::cursor::Cursor;

/// Verdicts that a rule may look back: each of its segments remembers so many.
const BACK_MAX: f64 = 1_000.0;
/// What may be taken of several verdicts.
const FOLDS: [(&str, Fold); 4] = [
    ("AVG", Fold::Mean),
    ("MIN", Fold::Least),
    ("MAX", Fold::Greatest),
    ("SUM", Fold::Sum),
];

/// Whether the clause comes next: an option list of the statement has a bracket.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    cursor.at_words(&["with"]) && cursor.nth(2).token == Token::RArrow
}

/// Takes the clause.
pub(super) fn past(cursor: &mut Cursor<'_>) -> Result<Vec<Remembered>> {
    cursor.expect(&["WITH"])?;
    let mut all: Vec<Remembered> = Vec::new();
    loop {
        let one = one(cursor)?;
        if all.iter().any(|other| other.name.text == one.name.text) {
            let message = format!("the rule has two values called \"{}\"", one.name.text);
            let place = one.name.place.unwrap_or(cursor.place());
            return Err(wrong(&message, place).hint("give one of them another name"));
        }
        all.push(one);
        // Another one, and not the next rule or column of the table.
        let more = cursor.peek().token == Token::Comma && cursor.nth(2).token == Token::RArrow;
        if !more {
            return Ok(all);
        }
        cursor.next();
    }
}

fn one(cursor: &mut Cursor<'_>) -> Result<Remembered> {
    let name = cursor.name("a name for what was before, such as prev")?;
    cursor.expect_token(&Token::RArrow)?;
    let words = FOLDS.map(|(word, _)| word);
    let word = cursor.accept_one(&words);
    if word.is_some() {
        cursor.expect_token(&Token::LParen)?;
    }
    cursor.expect(&["HISTORY"])?;
    cursor.expect_token(&Token::LParen)?;
    let place = cursor.place();
    let (back, is_whole) = number(cursor, "how many verdicts ago, such as 7")?;
    if !is_whole || !(1.0..=BACK_MAX).contains(&back) {
        let message = format!("HISTORY looks back 1 to {BACK_MAX} verdicts, not {back}");
        return Err(wrong(&message, place).hint("HISTORY(1) is the verdict before"));
    }
    let of = match cursor.accept_token(&Token::Comma) {
        true => Some(cursor.expr()?),
        false => None,
    };
    cursor.expect_token(&Token::RParen)?;
    if word.is_some() {
        cursor.expect_token(&Token::RParen)?;
    }
    let fold = FOLDS.iter().find(|(known, _)| Some(*known) == word);
    Ok(Remembered {
        name,
        back: back as usize,
        fold: fold.map_or(Fold::At, |(_, fold)| *fold),
        of,
    })
}

/// Refuses the clause where a rule measures nothing.
pub(super) fn check(rule: &Constraint) -> Result<()> {
    let Some(first) = rule.past.first() else {
        return Ok(());
    };
    let measures = matches!(rule.expectation, Expectation::Row(_)) && rule.mostly.is_none();
    match measures {
        true => Ok(()),
        false => Err(wrong(
            "HISTORY is what the aggregate of a rule was before, and this rule has none",
            first.name.place.unwrap_or(rule.place),
        )
        .hint("write EXPECT (count(*) BETWEEN 0.8 * prev AND 1.2 * prev) WITH prev => HISTORY(7)")),
    }
}
