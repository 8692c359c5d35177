//! `CONSTRAINT name EXPECT (expr) [WHEN (expr)] ...` and `CREATE EXPECTATION`. What belongs to rules and
//! is not built yet is refused by name, never passed over.

mod keyed;
mod many;
mod outliers;
mod past;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};
use weir_engine::options::nearest;
use weir_engine::rules::{Grade, Most, Overflow, Switch};

use crate::ast::{
    Asks, Constraint, CreateExpectation, Expectation, Held, Keyed, Name, OnViolation,
};
use crate::parse::create::object_name;
use crate::parse::cursor::Cursor;
use crate::parse::syntax;
use crate::parse::unsupported::unsupported;

/// What a rule tells of the data.
const DIMENSIONS: [&str; 8] = [
    "completeness",
    "uniqueness",
    "validity",
    "consistency",
    "timeliness",
    "accuracy",
    "volume",
    "schema",
];
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// Whether a rule comes next. A column may be called `constraint`: a type follows it.
pub(super) fn is_next(cursor: &Cursor<'_>) -> bool {
    let expects = |n| {
        let word = cursor.nth_word(n);
        word.is_some_and(|word| word.eq_ignore_ascii_case("expect"))
    };
    cursor.at_words(&["constraint"]) && (expects(1) || expects(2))
}

/// Takes the braces from `{this}`: the table of a rule within its query, as it is often written.
pub(super) fn without_braces(tokens: &mut Vec<TokenWithSpan>) {
    let is_this = |three: &[TokenWithSpan]| match three {
        [open, word, close] => {
            let this = Token::make_keyword("this");
            let named = match (&word.token, &this) {
                (Token::Word(word), Token::Word(this)) => {
                    word.value.eq_ignore_ascii_case(&this.value)
                }
                _ => false,
            };
            open.token == Token::LBrace && named && close.token == Token::RBrace
        }
        _ => false,
    };
    while let Some(at) = tokens.windows(3).position(is_this) {
        tokens.remove(at + 2);
        tokens.remove(at);
    }
}

/// Parses `CONSTRAINT name EXPECT ...`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Constraint> {
    cursor.expect(&["CONSTRAINT"])?;
    if cursor.at_words(&["expect"]) && !cursor.nth_word(1).is_some_and(is_expect) {
        return Err(cursor.expected("the name of the rule"));
    }
    let name = cursor.name("the name of the rule")?;
    rule(cursor, name)
}

/// Parses what follows `CREATE EXPECTATION`.
pub(super) fn expectation(cursor: &mut Cursor<'_>) -> Result<CreateExpectation> {
    let name = cursor.name("the name of the rule")?;
    cursor.expect(&["ON"])?;
    let table = object_name(
        cursor,
        "the name of a source, a materialized view or a sink",
    )?;
    let constraint = rule(cursor, name)?;
    cursor.expect_end("")?;
    Ok(CreateExpectation { table, constraint })
}

/// Refuses a second rule of a name.
pub(crate) fn check_new(known: &[Constraint], rule: &Constraint) -> Result<()> {
    match known.iter().any(|other| other.name.text == rule.name.text) {
        true => Err(taken(rule)),
        false => Ok(()),
    }
}

/// Says that a table has a rule of this name already.
fn taken(rule: &Constraint) -> Error {
    let message = format!("the table has two rules called \"{}\"", rule.name.text);
    Error::new(Kind::Invalid, codes::DUPLICATE, message)
        .hint("rules are counted by their names: give one of them another")
        .at(rule.name.place)
}

fn is_expect(word: &str) -> bool {
    word.eq_ignore_ascii_case("expect")
}

fn rule(cursor: &mut Cursor<'_>, name: Name) -> Result<Constraint> {
    cursor.expect(&["EXPECT"])?;
    let place = cursor.place();
    let expectation = expected(cursor)?;
    let dimension = many::dimension(&expectation);
    // What a model has learned is no promise of anybody: it is told apart, unless the rule weighs it.
    let learned = matches!(expectation, Expectation::Normal { .. });
    let mut constraint = Constraint {
        name,
        expectation,
        when: None,
        grade: Grade {
            dimension: dimension.to_owned(),
            severity: "warning".to_owned(),
            weight: if learned { 0.0 } else { 1.0 },
        },
        on_violation: OnViolation::Warn,
        unknown_violates: false,
        on_overflow: None,
        scope: None,
        by_row: false,
        mostly: None,
        per: Vec::new(),
        switch: Switch::On,
        of_set: None,
        past: Vec::new(),
        place,
    };
    let mut seen: Vec<&str> = Vec::new();
    loop {
        let place = cursor.place();
        let Some(clause) = clause(cursor, &mut constraint)? else {
            break;
        };
        if seen.contains(&clause) {
            let message = format!("the rule has {clause} twice");
            return Err(syntax::error(message).at(Some(place)));
        }
        seen.push(clause);
    }
    past::check(&constraint)?;
    let of_many = constraint.scope.is_some() || constraint.mostly.is_some();
    match &constraint.expectation {
        Expectation::Keyed(_) if of_many => {
            let hint = match &constraint.expectation {
                Expectation::Keyed(Keyed {
                    asks: Asks::Unique { .. },
                    ..
                }) => {
                    "ask for the share: EXPECT (unique_ratio(column) >= 0.99), with SCOPE or EVERY"
                }
                _ => "count what such a rule finds in weir.quality_results",
            };
            Err(unsupported("a rule over keys with SCOPE, EVERY or MOSTLY", hint).at(Some(place)))
        }
        _ => Ok(constraint),
    }
}

/// Takes what stands between EXPECT and the clauses.
fn expected(cursor: &mut Cursor<'_>) -> Result<Expectation> {
    if let Some(expectation) = many::expectation(cursor)? {
        return Ok(expectation);
    }
    if let Some(keyed) = keyed::parse(cursor)? {
        return Ok(Expectation::Keyed(keyed));
    }
    if let Some(refused) = of_none(cursor) {
        return Err(refused);
    }
    let expr = parenthesis(cursor, "the expression of a rule stands in parentheses")?;
    if let Some(compared) = many::compared(cursor, &expr)? {
        return Ok(compared);
    }
    match keyed::looks_back(&expr) {
        true => Ok(Expectation::Keyed(Keyed {
            asks: Asks::Last(Box::new(expr)),
            order: None,
        })),
        false => Ok(Expectation::Row(Box::new(expr))),
    }
}

/// Takes one clause of a rule and gives its name, or `None` where the rule ends.
fn clause(cursor: &mut Cursor<'_>, rule: &mut Constraint) -> Result<Option<&'static str>> {
    let is_last = cursor.at_words(&["last"]) || cursor.at_words(&["scope", "last"]);
    if let Expectation::Keyed(keyed) = &mut rule.expectation
        && let Asks::Outliers { last, .. } = &mut keyed.asks
        && is_last
    {
        cursor.accept(&["scope"]);
        cursor.expect(&["LAST"])?;
        *last = outliers::last(cursor)?;
        return Ok(Some("LAST"));
    }
    if let Some(refused) = later_clause(cursor) {
        return Err(refused);
    }
    if cursor.accept(&["when"]) {
        rule.when = Some(parenthesis(cursor, "the condition stands in parentheses")?);
        return Ok(Some("WHEN"));
    }
    if cursor.at_words(&["order", "by"])
        && let Expectation::Keyed(keyed) = &mut rule.expectation
    {
        cursor.expect(&["ORDER", "BY"])?;
        keyed.order = Some(keyed::order(cursor)?);
        return Ok(Some("ORDER BY"));
    }
    if cursor.accept(&["dimension"]) {
        rule.grade.dimension = one_of(cursor, "dimension", &DIMENSIONS)?;
        return Ok(Some("DIMENSION"));
    }
    if cursor.accept(&["severity"]) {
        rule.grade.severity = one_of(cursor, "severity", &SEVERITIES)?;
        return Ok(Some("SEVERITY"));
    }
    if cursor.accept(&["weight"]) {
        let place = cursor.place();
        let (weight, _) = number(cursor, "the weight, a number")?;
        if weight <= 0.0 {
            return Err(wrong("a weight is greater than 0", place));
        }
        rule.grade.weight = weight;
        return Ok(Some("WEIGHT"));
    }
    if let Some(scope) = many::scope(cursor)? {
        // One or the other: both say which rows a verdict is about.
        rule.by_row = scope.is_none();
        rule.scope = scope;
        return Ok(Some("SCOPE"));
    }
    if cursor.accept(&["mostly"]) {
        rule.mostly = Some(many::mostly(cursor)?);
        return Ok(Some("MOSTLY"));
    }
    if past::is_next(cursor) {
        rule.past = past::past(cursor)?;
        return Ok(Some("WITH"));
    }
    if cursor.accept(&["per"]) {
        rule.per = cursor.names("a column")?;
        return Ok(Some("PER"));
    }
    if cursor.at_words(&["using"]) {
        many::using(cursor, rule)?;
        return Ok(Some("USING MODEL"));
    }
    match cursor.accept(&["on"]) {
        true => event(cursor, rule).map(Some),
        false => Ok(None),
    }
}

/// Takes what follows ON in a rule.
fn event(cursor: &mut Cursor<'_>, rule: &mut Constraint) -> Result<&'static str> {
    let Some(event) = cursor.accept_one(&["VIOLATION", "UNKNOWN", "OVERFLOW"]) else {
        return Err(cursor.expected("VIOLATION, UNKNOWN or OVERFLOW"));
    };
    match event {
        "VIOLATION" => {
            rule.on_violation = violation(cursor)?;
            Ok("ON VIOLATION")
        }
        "UNKNOWN" => {
            let Some(what) = cursor.accept_one(&["PASS", "VIOLATE"]) else {
                return Err(cursor.expected("PASS or VIOLATE"));
            };
            rule.unknown_violates = what == "VIOLATE";
            Ok("ON UNKNOWN")
        }
        _ => {
            rule.on_overflow = Some(overflow(cursor)?);
            Ok("ON OVERFLOW")
        }
    }
}

fn violation(cursor: &mut Cursor<'_>) -> Result<OnViolation> {
    if cursor.accept(&["warn"]) {
        return Ok(OnViolation::Warn);
    }
    if cursor.accept(&["drop"]) {
        cursor.expect(&["ROW"])?;
        return Ok(OnViolation::DropRow);
    }
    if cursor.accept(&["fail"]) {
        cursor.expect(&["UPDATE"])?;
        return Ok(OnViolation::FailUpdate);
    }
    if cursor.accept(&["quarantine"]) {
        let what = match cursor.accept_one(&["ROW", "BATCH", "WINDOW"]) {
            Some("BATCH") => Held::Batch,
            Some("WINDOW") => Held::Window,
            _ => Held::Row,
        };
        let into = match cursor.accept(&["into"]) {
            true => Some(object_name(cursor, "the name of a quarantine table")?),
            false => None,
        };
        return Ok(OnViolation::Quarantine { what, into });
    }
    if cursor.accept(&["set"]) {
        return Ok(OnViolation::Set(assignments(cursor)?));
    }
    if cursor.at_words(&["call"]) {
        let hint = "use WARN, DROP ROW, QUARANTINE, FAIL UPDATE or SET (column = expression)";
        return Err(unsupported("ON VIOLATION CALL", hint).at(Some(cursor.place())));
    }
    Err(cursor.expected("WARN, DROP ROW, QUARANTINE, FAIL UPDATE or SET (column = expression)"))
}

/// Parses `(column = expression, ...)`.
pub(super) fn assignments(cursor: &mut Cursor<'_>) -> Result<Vec<(Name, Expr)>> {
    cursor.expect_token(&Token::LParen)?;
    let mut set: Vec<(Name, Expr)> = Vec::new();
    loop {
        let name = cursor.name("the name of a column")?;
        if set.iter().any(|(other, _)| other.text == name.text) {
            let message = format!("the column \"{}\" is set twice", name.text);
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(name.place));
        }
        cursor.expect_token(&Token::Eq)?;
        set.push((name, cursor.expr()?));
        if !cursor.list_goes_on()? {
            return Ok(set);
        }
    }
}

fn overflow(cursor: &mut Cursor<'_>) -> Result<Overflow> {
    let place = cursor.place();
    let (value, is_count) = number(cursor, "a number of rows, or a share such as 0.01")?;
    let pauses = cursor.accept(&["pause", "source"]);
    if !pauses && !cursor.accept(&["fail", "update"]) {
        return Err(cursor.expected("FAIL UPDATE or PAUSE SOURCE"));
    }
    let most = match is_count {
        true => Most::Rows(value as u64),
        false if value > 0.0 && value < 1.0 => Most::Share(value),
        false => {
            let error = wrong("a share of rows is greater than 0 and less than 1", place);
            let hint = "a number of rows is written without a point: ON OVERFLOW 100 FAIL UPDATE";
            return Err(error.hint(hint));
        }
    };
    Ok(Overflow { most, pauses })
}

/// Takes a number, and says whether it is written as a whole one.
fn number(cursor: &mut Cursor<'_>, what: &str) -> Result<(f64, bool)> {
    let Token::Number(text, _) = &cursor.peek().token else {
        return Err(cursor.expected(what));
    };
    let Ok(value) = text.parse::<f64>() else {
        return Err(cursor.expected(what));
    };
    let whole = text.parse::<u64>().is_ok();
    cursor.next();
    Ok((value, whole))
}

fn one_of(cursor: &mut Cursor<'_>, what: &str, words: &[&str]) -> Result<String> {
    if let Some(found) = cursor.accept_one(words) {
        return Ok(found.to_owned());
    }
    let place = Some(cursor.place());
    match cursor.word() {
        Some(word) => {
            let error = syntax::error(format!("unknown {what} {word}"));
            Err(nearest(error, word, words.iter().copied()).at(place))
        }
        None => Err(cursor.expected(&format!("one of {}", words.join(", ")))),
    }
}

fn parenthesis(cursor: &mut Cursor<'_>, hint: &str) -> Result<Expr> {
    if cursor.peek().token != Token::LParen {
        return Err(cursor.expected("'('").hint(hint));
    }
    cursor.next();
    let expr = cursor.expr()?;
    if cursor.peek().token == Token::Comma {
        // Several columns: the rules over keys begin so.
        return Err(not_yet("a rule over a list of columns", cursor.place()));
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(expr)
}

/// What may stand behind NO.
fn of_none(cursor: &mut Cursor<'_>) -> Option<Error> {
    cursor
        .accept(&["no"])
        .then(|| cursor.expected("ROWS, OVERLAP or OUTLIERS"))
}

/// The clauses of rules of other kinds, behind the expression.
fn later_clause(cursor: &Cursor<'_>) -> Option<Error> {
    let found = cursor.at_words(&["references"]);
    found.then(|| not_yet(&format!("{} of a rule", upper(cursor)), cursor.place()))
}

fn upper(cursor: &Cursor<'_>) -> String {
    cursor.word().unwrap_or_default().to_ascii_uppercase()
}

fn not_yet(what: &str, place: Place) -> Error {
    let hint = "rules look at one row, EXPECT (expression), or at an aggregate of many, EXPECT (count(*) > 0)";
    unsupported(what, hint).at(Some(place))
}

fn wrong(message: &str, place: Place) -> Error {
    Error::new(Kind::Invalid, codes::RULE, message).at(Some(place))
}
