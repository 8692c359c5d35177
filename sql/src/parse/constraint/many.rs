//! Rules over many rows: what follows EXPECT where it is not an expression, and the clauses that say which
//! rows one verdict is about.

use datafusion::sql::sqlparser::ast::{
    ColumnDef, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident,
    Value,
};
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use super::{number, wrong};
use crate::ast::{Asks, Constraint, Expectation, Scope};
use crate::parse::create::object_name;
use crate::parse::cursor::Cursor;
use crate::parse::{skeleton, syntax};

const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];
/// Rows of each segment that a rule over the last ones keeps at most: all of them are measured for each verdict.
const LAST_ROWS_MAX: usize = 1_000_000;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// Takes what begins with a word of its own, if it does.
pub(super) fn expectation(cursor: &mut Cursor<'_>) -> Result<Option<Expectation>> {
    if cursor.accept(&["fresh"]) {
        return fresh(cursor).map(Some);
    }
    if cursor.accept(&["sla"]) {
        return daily(cursor).map(Some);
    }
    if cursor.accept(&["no", "rows"]) {
        cursor.expect_token(&Token::LParen)?;
        let query = cursor.query()?;
        cursor.expect_token(&Token::RParen)?;
        return Ok(Some(Expectation::NoRows(query)));
    }
    if cursor.accept(&["same", "rows"]) {
        cursor.expect(&["AS"])?;
        let table = object_name(cursor, "the table that has the same rows")?;
        let key = match cursor.accept(&["key"]) {
            true => cursor.names("a column")?,
            false => Vec::new(),
        };
        return Ok(Some(Expectation::SameRows { table, key }));
    }
    if cursor.accept(&["distinct"]) {
        return distinct(cursor).map(Some);
    }
    if cursor.accept(&["schema"]) {
        return schema(cursor).map(Some);
    }
    if cursor.at_words(&["normal"]) {
        return normal(cursor).map(Some);
    }
    Ok(None)
}

/// What an expectation tells of the data unless the rule says so.
pub(super) fn dimension(expectation: &Expectation) -> &'static str {
    match expectation {
        Expectation::Fresh { .. } | Expectation::Daily { .. } => "timeliness",
        Expectation::Schema { .. } => "schema",
        Expectation::SameRows { .. } | Expectation::Equals { .. } => "accuracy",
        Expectation::Keyed(keyed) => match keyed.asks {
            Asks::Unique { .. } => "uniqueness",
            Asks::Last(_) | Asks::Outliers { .. } => "validity",
            _ => "consistency",
        },
        _ => "validity",
    }
}

/// `FRESH (column, INTERVAL '10' MINUTE)`.
fn fresh(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    cursor.expect_token(&Token::LParen)?;
    let column = cursor.name("the column of the time of a row")?;
    cursor.expect_token(&Token::Comma)?;
    let within = Box::new(cursor.expr()?);
    cursor.expect_token(&Token::RParen)?;
    Ok(Expectation::Fresh { column, within })
}

/// `SLA ('07:00')`, in UTC, which may be said.
fn daily(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    cursor.expect_token(&Token::LParen)?;
    let place = cursor.place();
    let Token::SingleQuotedString(text) = cursor.peek().token.clone() else {
        return Err(cursor.expected("a time of the day such as '07:00'"));
    };
    cursor.next();
    let two = |part: &str| match part.len() {
        2 => part.parse::<i64>().ok(),
        _ => None,
    };
    let at = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute) = (two(hour)?, two(minute)?);
        ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
    });
    let Some(minutes) = at else {
        let message = format!("'{text}' is no time of the day");
        return Err(wrong(&message, place).hint("write hours and minutes: '07:00'"));
    };
    cursor.accept(&["utc"]);
    cursor.expect_token(&Token::RParen)?;
    Ok(Expectation::Daily {
        at: minutes * MINUTE,
    })
}

/// `DISTINCT (column) IN | CONTAINS | = (values)`, as an aggregate that says the same.
fn distinct(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    cursor.expect_token(&Token::LParen)?;
    let value = cursor.expr()?;
    cursor.expect_token(&Token::RParen)?;
    let equal = cursor.accept_token(&Token::Eq);
    let contains = !equal && cursor.accept(&["contains"]);
    if !equal && !contains && !cursor.accept(&["in"]) {
        return Err(cursor.expected("IN, CONTAINS or = with a list of values"));
    }
    cursor.expect_token(&Token::LParen)?;
    let mut list: Vec<Expr> = Vec::new();
    loop {
        let value = cursor.expr()?;
        if !list.contains(&value) {
            list.push(value);
        }
        if !cursor.list_goes_on()? {
            break;
        }
    }
    let only = "count(*) FILTER (WHERE x NOT IN (l)) = 0";
    let all = format!("count(DISTINCT x) FILTER (WHERE x IN (l)) = {}", list.len());
    let text = match (equal, contains) {
        (true, _) => format!("{only} AND {all}"),
        (_, true) => all,
        _ => only.to_owned(),
    };
    let parts: [(&str, &[Expr]); 2] = [("x", std::slice::from_ref(&value)), ("l", &list)];
    Ok(Expectation::Row(Box::new(skeleton::expression(
        &text, &parts,
    )?)))
}

/// `NORMAL (aggregate, ... [, METHOD 'rcf' ...])`, which is read as a call.
fn normal(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    let place = cursor.place();
    let Expr::Function(call) = cursor.expr()? else {
        return Err(wrong("NORMAL needs what is measured", place)
            .hint("write EXPECT NORMAL (count(*)) EVERY INTERVAL '5' MINUTE"));
    };
    let (mut values, mut options) = (Vec::new(), Vec::new());
    if let FunctionArguments::List(list) = call.args {
        for argument in list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => values.push(value),
                option => options.push(option),
            }
        }
    }
    match values.is_empty() {
        true => Err(wrong("NORMAL needs what is measured", place)
            .hint("write EXPECT NORMAL (count(*)) EVERY INTERVAL '5' MINUTE")),
        false => Ok(Expectation::Normal { values, options }),
    }
}

/// `USING MODEL name` of a rule with NORMAL: the option `MODEL` of its model.
pub(super) fn using(cursor: &mut Cursor<'_>, rule: &mut Constraint) -> Result<()> {
    let place = cursor.place();
    cursor.expect(&["USING", "MODEL"])?;
    let name = cursor.name("the name of an anomaly model")?;
    let Expectation::Normal { options, .. } = &mut rule.expectation else {
        return Err(wrong("only a rule with NORMAL has a model", place)
            .hint("write EXPECT NORMAL (count(*)) EVERY INTERVAL '5' MINUTE USING MODEL name"));
    };
    let text = Value::SingleQuotedString(name.text).into();
    options.push(FunctionArg::Named {
        name: Ident::new("MODEL"),
        arg: FunctionArgExpr::Expr(Expr::Value(text)),
        operator: FunctionArgOperator::RightArrow,
    });
    Ok(())
}

/// `SCHEMA (id BIGINT, ...) [STRICT]`.
fn schema(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    cursor.expect_token(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let name = cursor.name("the name of a column")?;
        let data_type = cursor.data_type()?;
        let is_known = |other: &ColumnDef| other.name.value == name.text;
        if columns.iter().any(is_known) {
            let message = format!("column \"{}\" is in SCHEMA twice", name.text);
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(name.place));
        }
        columns.push(ColumnDef {
            name: Ident::new(name.text),
            data_type,
            options: Vec::new(),
        });
        if !cursor.list_goes_on()? {
            break;
        }
    }
    let strict = cursor.accept(&["strict"]);
    Ok(Expectation::Schema { columns, strict })
}

/// Takes what follows `EXPECT (expr)` where it is compared with a query.
pub(super) fn compared(cursor: &mut Cursor<'_>, left: &Expr) -> Result<Option<Expectation>> {
    if !cursor.accept_token(&Token::Eq) {
        return Ok(None);
    }
    cursor.expect_token(&Token::LParen)?;
    let right = cursor.query()?;
    cursor.expect_token(&Token::RParen)?;
    let mut tolerance = 0.0;
    if cursor.accept(&["tolerance"]) {
        let place = cursor.place();
        let (value, _) = number(cursor, "how far the values may be apart: 0.01, or 1%")?;
        tolerance = match cursor.accept_token(&Token::Mod) {
            true => value / 100.0,
            false => value,
        };
        if !(0.0..1.0).contains(&tolerance) {
            return Err(wrong("a tolerance is a share from 0 to less than 1", place));
        }
    }
    // Both sides are as of the same checkpoint in any case.
    if cursor.accept(&["align"]) {
        cursor.expect(&["BY", "WATERMARK"])?;
    }
    Ok(Some(Expectation::Equals {
        left: Box::new(left.clone()),
        right,
        tolerance,
    }))
}

/// Takes a clause that says which rows a verdict is about: `SCOPE`, `EVERY` or `LAST`, of which a rule has one.
pub(super) fn scope(cursor: &mut Cursor<'_>) -> Result<Option<Option<Scope>>> {
    if cursor.accept(&["scope"]) {
        return behind_scope(cursor).map(Some);
    }
    if cursor.accept(&["last"]) {
        return last(cursor).map(Some).map(Some);
    }
    match cursor.accept(&["every"]) {
        true => Ok(Some(Some(Scope::Every(Box::new(cursor.expr()?))))),
        false => Ok(None),
    }
}

/// Takes what follows `SCOPE`; none for rows by themselves.
fn behind_scope(cursor: &mut Cursor<'_>) -> Result<Option<Scope>> {
    if cursor.accept(&["row"]) {
        return Ok(None);
    }
    if cursor.accept(&["batch"]) {
        return Ok(Some(Scope::Batch));
    }
    if cursor.accept(&["table"]) {
        return Ok(Some(Scope::Table));
    }
    if cursor.accept(&["last"]) {
        return last(cursor).map(Some);
    }
    if !cursor.accept(&["window"]) {
        return Err(cursor.expected("ROW, BATCH, TABLE, WINDOW or LAST"));
    }
    let bracket = cursor.accept_token(&Token::LParen);
    let Some(function) = cursor.accept_one(&WINDOWS) else {
        return Err(cursor.expected("TUMBLE, HOP, CUMULATE or SESSION"));
    };
    cursor.expect_token(&Token::LParen)?;
    let column = cursor.name("the column of the time of a row")?;
    let mut lengths = Vec::new();
    while cursor.accept_token(&Token::Comma) {
        lengths.push(cursor.expr()?);
    }
    cursor.expect_token(&Token::RParen)?;
    if bracket {
        cursor.expect_token(&Token::RParen)?;
    }
    if lengths.is_empty() {
        let message = format!("{} has no interval", function.to_ascii_uppercase());
        return Err(syntax::error(message).at(column.place));
    }
    // The last one may be the offset of the windows.
    let (form, least, most) = match function {
        "tumble" => ("TUMBLE (column, size [, offset])", 1, 2),
        "session" => ("SESSION (column, gap)", 1, 1),
        "hop" => ("HOP (column, slide, size [, offset])", 2, 3),
        _ => ("CUMULATE (column, step, size [, offset])", 2, 3),
    };
    if !(least..=most).contains(&lengths.len()) {
        let message = format!(
            "{} does not take {} intervals",
            function.to_ascii_uppercase(),
            lengths.len()
        );
        let error = syntax::error(message).hint(format!("write SCOPE WINDOW ({form})"));
        return Err(error.at(column.place));
    }
    Ok(Some(Scope::Window {
        function,
        column,
        lengths,
    }))
}

/// Takes what follows `LAST`: how many rows, or how long a time.
fn last(cursor: &mut Cursor<'_>) -> Result<Scope> {
    cursor.expect_token(&Token::LParen)?;
    let place = cursor.place();
    let scope = match cursor.at_words(&["interval"]) {
        true => Scope::LastTime(Box::new(cursor.expr()?)),
        false => {
            let (count, is_whole) =
                number(cursor, "how many rows, or an interval: LAST (1000 ROWS)")?;
            if !is_whole || count < 1.0 || count > LAST_ROWS_MAX as f64 {
                let message =
                    format!("LAST needs a whole number of rows from 1 to {LAST_ROWS_MAX}");
                return Err(wrong(&message, place).hint(
                    "for more of them use SCOPE TABLE, or SCOPE WINDOW (TUMBLE (column, interval))",
                ));
            }
            cursor.expect(&["ROWS"])?;
            Scope::LastRows(count as usize)
        }
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(scope)
}

/// Takes what follows `MOSTLY`.
pub(super) fn mostly(cursor: &mut Cursor<'_>) -> Result<f64> {
    let place = cursor.place();
    let (value, _) = number(cursor, "the share of rows that has to hold, such as 0.99")?;
    let share = match cursor.accept_token(&Token::Mod) {
        true => value / 100.0,
        false => value,
    };
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    Err(
        wrong("a share of rows is greater than 0 and at most 1", place)
            .hint("write MOSTLY 0.99, or MOSTLY 99%"),
    )
}
