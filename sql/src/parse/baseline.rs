//! `psi(column, REFERENCE baseline)`: on the tokens, a reference becomes a string that sqlparser can read, with the column
//! that it means: that of the call, unless it names another, `REFERENCE baseline(other)`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_engine::Result;
use weir_engine::error::{Error, Place};

use super::anomaly::{arguments, word};
use super::syntax;
use crate::ast::Baseline;
use crate::statistics::Distance;

/// Puts strings in place of references, and tells of them.
pub(super) fn name_references(tokens: &mut Vec<TokenWithSpan>) -> Result<Vec<Baseline>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 1 < tokens.len() {
        let is_call = tokens.get(at).is_some_and(is_distance)
            && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
        if is_call {
            let all = arguments(tokens, at + 2);
            if let [compared, reference] = all.as_slice() {
                let part = |of: &std::ops::Range<usize>| tokens.get(of.clone()).unwrap_or_default();
                if let Some((baseline, span)) = reference_of(part(compared), part(reference))? {
                    let text = Token::SingleQuotedString(baseline.to_string());
                    tokens.splice(reference.clone(), [TokenWithSpan::new(text, span)]);
                    found.push(baseline);
                }
            }
        }
        at += 1;
    }
    Ok(found)
}

fn is_distance(token: &TokenWithSpan) -> bool {
    let is = |text: &str| {
        Distance::ALL
            .iter()
            .any(|(name, _)| text.eq_ignore_ascii_case(name))
    };
    word(token).is_some_and(|word| is(&word.value))
}

/// A name as SQL reads it: in lower case, unless it is quoted.
fn name(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    }
}

type Found = Option<(Baseline, datafusion::sql::sqlparser::tokenizer::Span)>;

fn reference_of(compared: &[TokenWithSpan], argument: &[TokenWithSpan]) -> Result<Found> {
    let [first, rest @ ..] = argument else {
        return Ok(None);
    };
    let begins = word(first).is_some_and(|word| word.value.eq_ignore_ascii_case("reference"));
    // A column may be called so.
    if !begins || rest.is_empty() {
        return Ok(None);
    }
    let place = Place {
        line: first.span.start.line,
        column: first.span.start.column,
    };
    let tokens: Vec<&Token> = rest.iter().map(|token| &token.token).collect();
    let named = match tokens.as_slice() {
        [_] => {
            let column = match compared {
                [.., dot, column] if dot.token == Token::Period => name(column),
                [column] => name(column),
                _ => None,
            };
            let Some(column) = column else {
                return Err(
                    wrong("it is not known which column the reference means", place)
                        .hint("write REFERENCE name(column)"),
                );
            };
            rest.first().and_then(name).zip(Some(column))
        }
        [_, Token::LParen, _, Token::RParen] => {
            rest.first().and_then(name).zip(rest.get(2).and_then(name))
        }
        _ => None,
    };
    let Some((table, column)) = named else {
        return Err(wrong(
            "a reference is the name of a profile, a source or a view",
            place,
        )
        .hint("write REFERENCE name, or REFERENCE name(column)"));
    };
    let baseline = Baseline {
        table,
        column,
        place,
    };
    Ok(Some((baseline, first.span)))
}

fn wrong(message: &str, place: Place) -> Error {
    syntax::error(message.to_owned()).at(Some(place))
}
