//! `ANOMALY(value, METHOD 'rcf', WARMUP 100 ROWS) OVER (...)`: on the tokens its options get the arrows that sqlparser
//! wants, and in the tree they are checked and become one text behind the values, which the planner reads.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem,
    Spanned, Value, ValueWithSpan, WindowType,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};

use crate::anomaly::options::{EXCLUDE, Options};
use crate::anomaly::value::text_of;
use crate::anomaly::{FORM, FUNCTION};

/// The word of a rule that takes the same options: `EXPECT NORMAL (value, METHOD 'rcf')`.
const RULE: &str = "normal";

/// Puts `=>` between the names and the values of options: `METHOD 'rcf'` becomes `METHOD => 'rcf'`.
pub(super) fn name_options(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let is_call = tokens.get(at).is_some_and(is_function)
            && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
        if is_call {
            // From the last to the first, so that the places of those before stay.
            for argument in arguments(tokens, at + 2).into_iter().skip(1).rev() {
                if let Some(option) = option(tokens.get(argument.clone()).unwrap_or_default()) {
                    tokens.splice(argument, option);
                }
            }
        }
        at += 1;
    }
}

fn is_function(token: &TokenWithSpan) -> bool {
    let names = [FUNCTION, RULE];
    word(token).is_some_and(|word| {
        names
            .iter()
            .any(|name| word.value.eq_ignore_ascii_case(name))
    })
}

pub(super) fn word(token: &TokenWithSpan) -> Option<&Word> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word),
        _ => None,
    }
}

/// The arguments of a call whose first one begins at `from`.
pub(super) fn arguments(tokens: &[TokenWithSpan], from: usize) -> Vec<Range<usize>> {
    let (mut found, mut start, mut depth) = (Vec::new(), from, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => {
                found.push(start..at);
                break;
            }
            Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
            Token::Comma if depth == 0 => {
                found.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// An argument that is an option, with its arrow; words without quotes become one string.
fn option(argument: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let [name, value @ ..] = argument else {
        return None;
    };
    let first = value.first()?;
    let is_constant = matches!(
        first.token,
        Token::Number(..) | Token::SingleQuotedString(_)
    );
    let spelled = word(name)?;
    let is_option = if Options::is_name(&spelled.value) {
        is_constant
            || matches!(first.token, Token::LParen | Token::Minus)
            || word(first).is_some_and(|word| !is_operator(word.keyword))
    } else {
        // A typing error, which gets the error of an unknown option; not DATE '2020-01-01'.
        is_constant && spelled.keyword == Keyword::NoKeyword
    };
    if !is_option {
        return None;
    }
    let arrow = TokenWithSpan::new(Token::RArrow, first.span);
    let mut option = vec![name.clone(), arrow];
    let is_query = value
        .get(1)
        .and_then(word)
        .is_some_and(|word| matches!(word.keyword, Keyword::SELECT | Keyword::WITH));
    match plain(value).filter(|_| !is_query) {
        Some(text) => option.push(TokenWithSpan::new(
            Token::SingleQuotedString(text),
            first.span,
        )),
        None => option.extend_from_slice(value),
    }
    Some(option)
}

/// Words and numbers as one text: `100 ROWS`, `EXCEPT ANOMALIES`, `(daily, 5 hours)`.
fn plain(value: &[TokenWithSpan]) -> Option<String> {
    let mut text = String::new();
    for token in value {
        let part = match &token.token {
            Token::Word(word) if word.keyword != Keyword::INTERVAL => &word.value,
            Token::Number(number, _) => number,
            Token::Comma => ",",
            Token::Minus => "-",
            Token::LParen => "(",
            Token::RParen => ")",
            _ => return None,
        };
        if !text.is_empty() && !text.ends_with('-') {
            text.push(' ');
        }
        text.push_str(part);
    }
    Some(text)
}

/// Words that go on with an expression: then a column has the name of an option.
fn is_operator(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::AND
            | K::OR
            | K::IS
            | K::IN
            | K::NOT
            | K::LIKE
            | K::ILIKE
            | K::BETWEEN
            | K::SIMILAR
            | K::COLLATE
            | K::AT
    )
}

/// Checks a call of the window function, and puts its options into one text behind the values. Other calls stay.
pub(super) fn normalize(call: &mut Function) -> Result<()> {
    if !call.name.to_string().eq_ignore_ascii_case(FUNCTION) {
        return Ok(());
    }
    let place = place_of(call.name.span());
    check(call).map_err(|error| error.at(place))?;
    let FunctionArguments::List(list) = &mut call.args else {
        return Err(wrong("ANOMALY needs a value to judge").at(place));
    };
    let mut options = Options::default();
    let mut values = Vec::new();
    for argument in std::mem::take(&mut list.args) {
        match argument {
            FunctionArg::Named { name, arg, .. } => set(&mut options, &name, &arg)?,
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                if !options.to_text().is_empty() || is_text(&value) {
                    return Err(
                        wrong("an option of ANOMALY has a name, and values come first")
                            .at(place_of(value.span()).or(place)),
                    );
                }
                values.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(value)));
            }
            other => {
                let message = format!("ANOMALY takes no argument of the form {other}");
                return Err(wrong(message).at(place_of(other.span()).or(place)));
            }
        }
    }
    if values.is_empty() {
        return Err(wrong("ANOMALY needs a value to judge").at(place));
    }
    let text = ValueWithSpan {
        value: Value::SingleQuotedString(options.to_text()),
        span: Span::empty(),
    };
    values.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(
        text,
    ))));
    list.args = values;
    Ok(())
}

/// A call that stands alone in a list of columns is called `anomaly`, unless it has a name.
pub(super) fn name_column(select: &mut Select) {
    let is_call = |item: &&mut SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Function(call)) => {
            call.name.to_string().eq_ignore_ascii_case(FUNCTION)
        }
        _ => false,
    };
    let mut calls = select.projection.iter_mut().filter(is_call);
    if let (Some(item), None) = (calls.next(), calls.next())
        && let SelectItem::UnnamedExpr(expr) = item
    {
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::new(FUNCTION),
        };
    }
}

/// Sets an option of a call.
pub(crate) fn set(options: &mut Options, name: &Ident, value: &FunctionArgExpr) -> Result<()> {
    let text = match value {
        FunctionArgExpr::Expr(Expr::Subquery(query))
            if name.value.eq_ignore_ascii_case(EXCLUDE) =>
        {
            Some(query.to_string())
        }
        FunctionArgExpr::Expr(value) => text_of(value),
        _ => None,
    };
    let set = match text {
        Some(text) => options.set(&name.value, &text),
        None if Options::is_name(&name.value) => Err(wrong(format!(
            "the value of option \"{}\" must be a constant",
            name.value.to_lowercase()
        ))),
        None => options.set(&name.value, ""),
    };
    set.map_err(|error| error.at(place_of(name.span)))
}

fn check(call: &Function) -> Result<()> {
    let Some(over) = &call.over else {
        return Err(wrong(
            "ANOMALY needs OVER: the order in which rows are judged",
        ));
    };
    let clause = if call.filter.is_some() {
        "FILTER"
    } else if call.null_treatment.is_some() {
        "IGNORE or RESPECT NULLS"
    } else if !call.within_group.is_empty() {
        "WITHIN GROUP"
    } else if matches!(over, WindowType::WindowSpec(spec) if spec.window_frame.is_some()) {
        "ROWS, RANGE or GROUPS: a row is judged by all rows before it"
    } else if matches!(&call.args, FunctionArguments::List(list)
        if list.duplicate_treatment.is_some() || !list.clauses.is_empty())
    {
        "DISTINCT, ALL or ORDER BY within its brackets"
    } else {
        return Ok(());
    };
    Err(wrong(format!("ANOMALY takes no {clause}")))
}

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message).hint(format!("write {FORM}"))
}

fn place_of(span: Span) -> Option<Place> {
    let start = span.start;
    (start.line > 0).then_some(Place {
        line: start.line,
        column: start.column,
    })
}
