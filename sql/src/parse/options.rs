//! `WITH (name = value, ...)`, and the values of `SET`.

use datafusion::sql::sqlparser::tokenizer::{Token, Word};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};
use weir_engine::options::{GivenOptions, OptionValue};

use super::cursor::Cursor;
use super::unsupported::unsupported;

/// Parses the parenthesis behind `WITH`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<GivenOptions> {
    let mut options = GivenOptions::new();
    cursor.expect_token(&Token::LParen)?;
    if cursor.accept_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let (name, place) = name(cursor)?;
        cursor.expect_token(&Token::Eq)?;
        let value = OptionValue {
            place: Some(cursor.place()),
            text: value(cursor)?,
        };
        if options.insert(name.clone(), value).is_some() {
            let message = format!("the option \"{name}\" is given twice");
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(Some(place)));
        }
        if !cursor.list_goes_on()? {
            return Ok(options);
        }
    }
}

/// Parses an option's name: words with dots, or one string as in Flink.
fn name(cursor: &mut Cursor<'_>) -> Result<(String, Place)> {
    let place = cursor.place();
    if let Token::SingleQuotedString(name) = &cursor.peek().token {
        let name = name.clone();
        cursor.next();
        return Ok((name, place));
    }
    // Any word may name an option, also one that can't name a table.
    let mut text = String::new();
    loop {
        let Token::Word(word) = &cursor.peek().token else {
            return Err(cursor.expected("the name of an option"));
        };
        match word.quote_style {
            Some(_) => text.push_str(&word.value),
            None => text.push_str(&word.value.to_lowercase()),
        }
        cursor.next();
        if !cursor.accept_token(&Token::Period) {
            return Ok((text, place));
        }
        text.push('.');
    }
}

/// Parses an option's value: a string, a number or a boolean.
fn value(cursor: &mut Cursor<'_>) -> Result<String> {
    if let Some(text) = literal(cursor)? {
        return Ok(text);
    }
    let error = cursor.expected("a string, a number, true or false");
    match &cursor.peek().token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => {
            if value.eq_ignore_ascii_case("secret") && matches!(cursor.nth(1).token, Token::Word(_))
            {
                let hint = "use a variable: '${NAME}' with --set NAME=value";
                return Err(
                    unsupported("SECRET as the value of an option", hint).at(Some(cursor.place()))
                );
            }
            Err(error.hint(format!("write it as a string: '{value}'")))
        }
        Token::Word(Word { value, .. }) => {
            Err(error.hint(format!("strings are written in single quotes: '{value}'")))
        }
        _ => Err(error),
    }
}

/// Parses a value of `SET`: as an option's, or a word.
pub(super) fn setting(cursor: &mut Cursor<'_>) -> Result<String> {
    if let Some(text) = literal(cursor)? {
        return Ok(text);
    }
    Ok(cursor.name("a value")?.text)
}

/// Parses a number of rows.
pub(super) fn count(cursor: &mut Cursor<'_>) -> Result<u64> {
    let parsed = match &cursor.peek().token {
        Token::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let Some(count) = parsed else {
        return Err(cursor.expected("a number of rows"));
    };
    cursor.next();
    Ok(count)
}

/// Parses a string, a number with or without a unit, an interval or a boolean, if one comes next.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if let Some(word) = cursor.accept_one(&["true", "false"]) {
        return Ok(Some(word.to_owned()));
    }
    if cursor.at_words(&["interval"]) && text_of(&cursor.nth(1).token).is_some() {
        cursor.next();
        let mut text = text_of(&cursor.next().token).unwrap_or_default();
        if let Some(unit) = cursor.word().map(str::to_lowercase) {
            cursor.next();
            text = format!("{text} {unit}");
        }
        return Ok(Some(text));
    }
    if let Some(text) = text_of(&cursor.peek().token) {
        cursor.next();
        return Ok(Some(text));
    }
    let sign = match cursor.peek().token {
        Token::Minus => "-",
        Token::Plus => "+",
        _ => "",
    };
    let number = if sign.is_empty() {
        cursor.peek()
    } else {
        cursor.nth(1)
    };
    let Token::Number(digits, _) = &number.token else {
        return Ok(None);
    };
    let (mut text, end) = (format!("{sign}{digits}").replace('_', ""), number.span.end);
    if !sign.is_empty() {
        cursor.next();
    }
    cursor.next();
    // `512MB` and `5 seconds` without quotes.
    if let Some(unit) = cursor.word().map(str::to_owned) {
        if cursor.peek().span.start != end {
            text.push(' ');
        }
        text.push_str(&unit);
        cursor.next();
    }
    Ok(Some(text.trim_start_matches('+').to_owned()))
}

fn text_of(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Some(text.clone()),
        Token::DollarQuotedString(quoted) => Some(quoted.value.clone()),
        _ => None,
    }
}
