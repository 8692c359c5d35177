//! A script cut into statements: tokens with places, and the source text of each.

use std::str::Chars;

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};

use super::dialect::WeirDialect;
use super::scan::{OpenKind, advance, scan};
use super::{anomaly, anomaly_model, baseline, bounds, place_of, windows};
use crate::ast::Baseline;
use crate::variables::Variables;

/// One statement, not parsed yet.
#[derive(Debug)]
pub(super) struct Piece {
    /// Its tokens without spaces and comments, variables put in; at least one.
    pub(super) tokens: Vec<TokenWithSpan>,
    /// Its source text.
    pub(super) text: String,
    /// Where it starts.
    pub(super) place: Place,
    /// Where it ends: behind its last token.
    pub(super) end: Place,
    /// What distributions in it are compared with.
    pub(super) baselines: Vec<Baseline>,
}

/// Cuts a script at its semicolons. Statements of nothing are left out.
pub(super) fn split(script: &str, variables: &Variables) -> Result<Vec<Piece>> {
    // Some editors put a byte order mark in front.
    let script = script.strip_prefix('\u{feff}').unwrap_or(script);
    let mut pieces = Vec::new();
    let mut tokens = Vec::new();
    let mut source = Source::new(script);
    for mut token in tokenize(script)? {
        match &token.token {
            Token::Whitespace(_) => {}
            Token::SemiColon => {
                pieces.extend(piece(std::mem::take(&mut tokens), &mut source)?);
            }
            Token::LBrace if tokens.last().is_some_and(is_dollar) => {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::VARIABLE,
                    "a variable stands outside of a string",
                )
                .hint("write '${NAME}', and CAST('${NAME}' AS BIGINT) for a number")
                .at(tokens.last().and_then(place_of)));
            }
            _ => {
                substitute(&mut token.token, variables).map_err(|e| e.at(place_of(&token)))?;
                tokens.push(token);
            }
        }
    }
    pieces.extend(piece(tokens, &mut source)?);
    Ok(pieces)
}

fn tokenize(script: &str) -> Result<Vec<TokenWithSpan>> {
    let dialect = WeirDialect::new(&[]);
    Tokenizer::new(&dialect, script)
        .tokenize_with_location()
        .map_err(|e| {
            if let Some(open) = scan(script).open {
                return unterminated(open.kind).at(Some(open.place));
            }
            let place = Place {
                line: e.location.line,
                column: e.location.column,
            };
            let mut message = e.message;
            if let Some(first) = message.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            Error::new(Kind::Invalid, codes::SYNTAX, message.trim_end_matches('.')).at(Some(place))
        })
}

fn unterminated(kind: OpenKind) -> Error {
    let (what, hint) = match kind {
        OpenKind::Text => ("the string", "end it with ', and write a ' inside as ''"),
        OpenKind::QuotedName => (
            "the quoted name",
            "end it with \"; strings are written in single quotes",
        ),
        OpenKind::Comment => ("the comment", "end it with */; comments nest"),
        OpenKind::DollarText => (
            "the dollar-quoted string",
            "end it with the $...$ it starts with",
        ),
    };
    let message = format!("{what} that starts here is not terminated");
    Error::new(Kind::Invalid, codes::UNTERMINATED, message).hint(hint)
}

fn is_dollar(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Placeholder(name) if name == "$")
}

/// Puts the variables into a string literal.
fn substitute(token: &mut Token, variables: &Variables) -> Result<()> {
    let text = match token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        Token::DollarQuotedString(quoted) => &mut quoted.value,
        _ => return Ok(()),
    };
    *text = variables.substitute(text)?.into_owned();
    Ok(())
}

fn piece(mut tokens: Vec<TokenWithSpan>, source: &mut Source<'_>) -> Result<Option<Piece>> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Ok(None);
    };
    let (start, end) = (first.span.start, last.span.end);
    bounds::check(&tokens)?;
    windows::drop_table_words(&mut tokens);
    anomaly_model::expand(&mut tokens)?;
    anomaly::name_options(&mut tokens);
    let baselines = baseline::name_references(&mut tokens)?;
    Ok(Some(Piece {
        baselines,
        place: Place {
            line: start.line,
            column: start.column,
        },
        end: Place {
            line: end.line,
            column: end.column,
        },
        text: source.slice(start, end).to_owned(),
        tokens,
    }))
}

/// Cuts text out by places; walks forward only.
#[derive(Debug)]
pub(super) struct Source<'s> {
    rest: Chars<'s>,
    place: Place,
}

impl<'s> Source<'s> {
    fn new(text: &'s str) -> Self {
        Self::starting_at(text, Place { line: 1, column: 1 })
    }

    /// Cuts a text whose first character stands at a place.
    pub(super) fn starting_at(text: &'s str, place: Place) -> Self {
        Self {
            rest: text.chars(),
            place,
        }
    }

    pub(super) fn slice(&mut self, start: Location, end: Location) -> &'s str {
        self.advance_to(start);
        let from = self.rest.as_str();
        self.advance_to(end);
        let length = from.len() - self.rest.as_str().len();
        from.split_at_checked(length).map_or(from, |(text, _)| text)
    }

    fn advance_to(&mut self, location: Location) {
        let target = Place {
            line: location.line,
            column: location.column,
        };
        while self.place < target {
            let Some(c) = self.rest.next() else { return };
            advance(&mut self.place, c);
        }
    }
}
