//! Syntax errors: what was found, what was expected, and what the user may have meant.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_engine::error::{Error, Kind, Place, codes};

use super::{KEYWORDS, bounds, place_of, unsupported};

/// Characters of the script that an error repeats.
const FOUND_CHARS_MAX: usize = 40;

/// Words that a typing error inside a statement is compared with.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "UNION",
    "VALUES",
    "INTERVAL",
    "BETWEEN",
    "DISTINCT",
    "WITH",
    "WATERMARK",
    "METADATA",
    "PRIMARY",
    "GENERATED",
    "INSERT",
    "CREATE",
    "SOURCE",
    "SINK",
    "VIEW",
    "EXISTS",
    "REPLACE",
    "CASCADE",
];

/// Words that start a statement.
const STARTS: &[&str] = &[
    "create", "drop", "insert", "set", "show", "describe", "explain", "select", "with",
];

/// A syntax error of its own words.
pub(super) fn error(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, codes::SYNTAX, message)
}

/// The error for something else than what was expected at a place.
pub(super) fn expected(what: &str, place: Place, tokens: &[TokenWithSpan]) -> Error {
    let index = tokens
        .iter()
        .position(|token| place_of(token).is_some_and(|p| p >= place));
    let found = index.and_then(|index| tokens.get(index));
    let last = index
        .unwrap_or(tokens.len())
        .checked_sub(1)
        .and_then(|index| tokens.get(index));
    if let Some(refused) = unsupported::clause(last, found) {
        return refused;
    }
    let message = format!("expected {what} but found {}", describe(found));
    hint(error(message).at(Some(place)), last, found)
}

/// Turns sqlparser's error into Weir's. `start` is where parsing began.
pub(super) fn translate(
    error: ParserError,
    start: Place,
    end: Place,
    tokens: &[TokenWithSpan],
) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return bounds::too_deep("the expression or query is nested too deeply")
                .hint("split it with WITH or CREATE VIEW")
                .at(Some(start));
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (text, place) = split_place(&text);
    if let Some(rest) = text.strip_prefix("Expected: ")
        && let Some((what, _)) = rest.rsplit_once(", found: ")
    {
        return expected(&expectation(what), place.unwrap_or(end), tokens);
    }
    if text.starts_with("Expected an expression, found: ") {
        // A comma stands in front of FROM, and sqlparser is one token behind it.
        let at = place.unwrap_or(end);
        let before = tokens
            .iter()
            .rev()
            .filter_map(place_of)
            .find(|before| *before < at);
        return expected("an expression", before.unwrap_or(at), tokens);
    }
    let mut message = text.trim_end_matches('.').to_owned();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    self::error(message).at(Some(place.unwrap_or(start)))
}

/// Takes ` at Line: 3, Column: 7` from the end of a message.
fn split_place(text: &str) -> (&str, Option<Place>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((
            message,
            Place {
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            },
        ))
    });
    match parsed {
        Some((message, place)) => (message, Some(place)),
        None => (text, None),
    }
}

/// Words what sqlparser expected as Weir would.
fn expectation(what: &str) -> String {
    match what {
        "an expression" | "an expression:" | "a value" | "a concrete value" | "A value?" => {
            "an expression".to_owned()
        }
        "identifier" => "a name".to_owned(),
        "a data type name" => "a type".to_owned(),
        "joined table" => "a join".to_owned(),
        "SELECT, VALUES, or a subquery in the query body" => "a query".to_owned(),
        _ if what.chars().all(|c| c.is_ascii_punctuation()) => format!("'{what}'"),
        _ => what.to_owned(),
    }
}

/// Shows a token. The text of a string stays out: a variable may have put a password into it.
fn describe(found: Option<&TokenWithSpan>) -> String {
    match found.map(|found| &found.token) {
        None | Some(Token::EOF) => "the end of the statement".to_owned(),
        Some(Token::Word(Word {
            value,
            quote_style: Some(_),
            ..
        })) => {
            format!("the name \"{}\"", cut(value))
        }
        Some(Token::Word(word)) => format!("'{}'", cut(&word.value)),
        Some(Token::Number(number, _)) => format!("the number {}", cut(number)),
        Some(
            Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_),
        ) => "a string".to_owned(),
        Some(other) => format!("'{}'", cut(&other.to_string())),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Adds what the user may have meant.
fn hint(error: Error, last: Option<&TokenWithSpan>, found: Option<&TokenWithSpan>) -> Error {
    let token = found.map(|found| &found.token);
    match token {
        Some(Token::Placeholder(_)) => {
            return error.hint(
                "variables are put into strings only: write '${NAME}', with CAST for numbers",
            );
        }
        Some(Token::Word(word)) if word.quote_style.is_none() => {
            let starts = STARTS
                .iter()
                .any(|start| word.value.eq_ignore_ascii_case(start));
            let new_line = match (last, found) {
                (Some(last), Some(found)) => last.span.end.line < found.span.start.line,
                _ => false,
            };
            if starts && new_line {
                return error.hint("end the statement before it with ';'");
            }
        }
        Some(Token::DoubleEq) => return error.hint("write one '='"),
        _ => {}
    }
    if let Some(Token::Word(word)) = token
        && matches!(word.keyword, Keyword::GROUP | Keyword::ORDER)
    {
        return error.hint(format!("write {} BY", word.value.to_uppercase()));
    }
    if let Some(meant) = [found, last].into_iter().flatten().find_map(meant) {
        return error.hint(meant);
    }
    let after_comma = last.is_some_and(|last| last.token == Token::Comma);
    let closes = matches!(token, None | Some(Token::RParen))
        || matches!(token, Some(Token::Word(w)) if w.keyword == Keyword::FROM);
    if after_comma && closes {
        error.hint("remove the ',' before it")
    } else {
        error
    }
}

/// Finds the word of the language that a name was meant to be.
fn meant(token: &TokenWithSpan) -> Option<String> {
    let Token::Word(Word {
        value,
        quote_style: None,
        keyword: Keyword::NoKeyword,
    }) = &token.token
    else {
        return None;
    };
    // A short name is one letter away from some keyword by chance.
    let length = value.chars().count();
    if length < 4 {
        return None;
    }
    let upper = value.to_uppercase();
    // `orders` is a good name for a table.
    if upper.ends_with('S') || KEYWORDS.contains(&upper.as_str()) {
        return None;
    }
    let (distance, clause) = CLAUSES
        .iter()
        .map(|clause| (strsim::damerau_levenshtein(&upper, clause), *clause))
        .min()?;
    (distance <= length / 4).then(|| format!("did you mean {clause} instead of {value}?"))
}
