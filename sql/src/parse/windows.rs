//! Flink's form of the window table functions, brought to Weir's on the tokens, since sqlparser
//! has no `TABLE t` as an argument: `TUMBLE(TABLE t, ...)` becomes `TUMBLE(t, ...)`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

const FUNCTIONS: &[&str] = &["tumble", "hop", "cumulate", "session", "detect_anomalies"];

/// Takes `TABLE` out where it starts an argument of a window table function.
pub(super) fn drop_table_words(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| is_word(token, &["table"])) {
        return;
    }
    // Whether each open bracket is that of a window table function.
    let mut open = Vec::new();
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        let starts_argument = kept
            .last()
            .is_some_and(|last| matches!(last.token, Token::LParen | Token::Comma | Token::RArrow));
        let inside = open.last() == Some(&true);
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(kept.last().is_some_and(|last| is_word(last, FUNCTIONS)));
            }
            Token::RParen | Token::RBracket | Token::RBrace => drop(open.pop()),
            _ => {}
        }
        if !(inside && starts_argument && is_word(&token, &["table"])) {
            kept.push(token);
        }
    }
    *tokens = kept;
}

fn is_word(token: &TokenWithSpan, words: &[&str]) -> bool {
    match &token.token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => words.iter().any(|word| value.eq_ignore_ascii_case(word)),
        _ => false,
    }
}
