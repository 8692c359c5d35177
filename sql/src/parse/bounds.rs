//! Bounds on the shape of a statement, checked on its tokens before anything is built from them.
//!
//! A chain of operators or of `UNION`s becomes a tree as deep as the chain is long, and types and
//! some prefixes nest without sqlparser's counter: cloning or dropping such a tree would overflow
//! the stack. The depth that a token sequence can reach is bounded from above here, in one pass.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_engine::error::{Kind, codes};
use weir_engine::{Error, Result};

use super::place_of;

/// Depth of brackets: more than sqlparser's own limit lets through in expressions.
const BRACKETS_MAX: usize = 200;
/// Tokens between two commas of one bracket level, those of the longest bracket inside included:
/// a chain of operators of half this depth, which can be built and dropped on a small stack. 3,000
/// terms of `a = 1 OR a = 2 OR ...` fit.
const CHAIN_TOKENS_MAX: usize = 12_000;
/// Set operations of one query.
const SET_OPERATIONS_MAX: usize = 100;
/// `INTERVAL INTERVAL ...`, `[][]...` and nested `ARRAY<`, which take a stack frame each.
const REPEATED_MAX: usize = 50;

/// Checks a statement's tokens, spaces left out.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut bounds = Bounds::default();
    let mut levels = vec![Level::default()];
    for token in tokens {
        bounds
            .token(&token.token, &mut levels)
            .map_err(|e| e.at(place_of(token)))?;
    }
    Ok(())
}

/// One bracket level: the depth that its current and its longest stretch between commas reach.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    own: usize,
    inner: usize,
    longest: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.longest.max(self.own + self.inner)
    }

    fn check(&self) -> Result<()> {
        if self.own + self.inner > CHAIN_TOKENS_MAX {
            return Err(too_deep("the expression is too long").hint(
                "write a long list of OR as IN (...), or join with a source that holds the values",
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Bounds {
    set_operations: usize,
    intervals: usize,
    subscripts: usize,
    typed: usize,
    generic: bool,
    after_word: bool,
}

impl Bounds {
    fn token(&mut self, token: &Token, levels: &mut Vec<Level>) -> Result<()> {
        self.repeated(token)?;
        let result = self.nested(token, levels);
        self.after_word = matches!(token, Token::Word(_));
        result
    }

    fn nested(&mut self, token: &Token, levels: &mut Vec<Level>) -> Result<()> {
        let inside = levels.len() > 1;
        let Some(level) = levels.last_mut() else {
            return Ok(());
        };
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push(Level::default());
                if levels.len() > BRACKETS_MAX {
                    return Err(too_deep("the brackets are nested too deeply"));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace if inside => {
                let closed = levels.pop().map_or(0, |level| level.depth());
                if let Some(level) = levels.last_mut() {
                    level.own += 1;
                    level.inner = level.inner.max(closed);
                    return level.check();
                }
            }
            Token::Comma => {
                *level = Level {
                    own: 0,
                    inner: 0,
                    longest: level.depth(),
                };
            }
            // Queries of a set operation are counted as such: a query is no chain.
            Token::Word(word)
                if word.quote_style.is_none()
                    && ["union", "except", "intersect"]
                        .iter()
                        .any(|w| word.value.eq_ignore_ascii_case(w)) =>
            {
                self.set_operations += 1;
                level.own += 1;
                if self.set_operations > SET_OPERATIONS_MAX {
                    return Err(too_deep("the query has too many set operations")
                        .hint("split the query into several views or INSERT statements"));
                }
            }
            // `UNION ALL SELECT` starts afresh: two words in a row are in no chain of operators.
            Token::Word(word) if self.after_word && word.value.eq_ignore_ascii_case("select") => {
                *level = Level {
                    own: 1,
                    inner: 0,
                    longest: level.depth(),
                };
            }
            _ => {
                level.own += 1;
                return level.check();
            }
        }
        Ok(())
    }

    /// Counts what nests without a bracket.
    fn repeated(&mut self, token: &Token) -> Result<()> {
        let mut generic = false;
        let mut interval = false;
        match token {
            Token::Word(word) if word.quote_style.is_none() => {
                interval = word.value.eq_ignore_ascii_case("interval");
                generic = ["array", "struct", "map"]
                    .iter()
                    .any(|w| word.value.eq_ignore_ascii_case(w));
            }
            Token::Lt if self.generic => self.typed += 1,
            Token::Gt => self.typed = self.typed.saturating_sub(1),
            Token::ShiftRight => self.typed = self.typed.saturating_sub(2),
            _ => {}
        }
        self.generic = generic;
        self.intervals = if interval { self.intervals + 1 } else { 0 };
        self.subscripts = match token {
            Token::LBracket | Token::RBracket => self.subscripts + 1,
            _ => 0,
        };
        let repeated = self.intervals.max(self.subscripts / 2).max(self.typed);
        if repeated > REPEATED_MAX {
            return Err(too_deep("the type or expression is nested too deeply"));
        }
        Ok(())
    }
}

/// The error for a statement that exceeds a bound.
pub(super) fn too_deep(message: &str) -> Error {
    Error::new(Kind::Limit, codes::LIMIT, message)
}
