//! `CREATE SOURCE`, `CREATE VIEW`, `CREATE MATERIALIZED VIEW` and `CREATE SINK`.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::options::nearest;

use super::cursor::Cursor;
use super::{alter, columns, constraint, deviation, emit, options, syntax, unsupported};
use crate::ast::{
    ColumnValue, Constraint, CreateMaterializedView, CreateSink, CreateSource, CreateView,
    Existing, Name, StatementKind,
};

/// What can be created and dropped.
pub(super) const KINDS: [&str; 4] = ["SOURCE", "VIEW", "MATERIALIZED VIEW", "SINK"];

/// Parses what follows `CREATE`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    let or_replace = cursor.accept(&["or", "replace"]);
    let place = Some(cursor.place());
    if cursor.accept(&["expectation"]) {
        if or_replace || cursor.at_words(&["if", "not", "exists"]) {
            let hint = "a rule is part of its table: create the table anew with other rules";
            let what = "OR REPLACE and IF NOT EXISTS of an expectation";
            return Err(unsupported::unsupported(what, hint).at(place));
        }
        let expectation = constraint::expectation(cursor)?;
        return Ok(StatementKind::CreateExpectation(Box::new(expectation)));
    }
    let is_set = cursor.accept(&["rule", "set"]);
    let kind = match cursor.accept(&["materialized", "view"]) {
        true => Some("materialized view"),
        false => cursor.accept_one(&["source", "view", "sink"]),
    };
    let kind = kind.or(is_set.then_some("rule set"));
    let Some(kind) = kind else {
        if let Some(word) = cursor.word() {
            if let Some(refused) = unsupported::object("CREATE", word) {
                return Err(refused.at(place));
            }
            let error = syntax::error(format!("unknown CREATE {word}"));
            return Err(nearest(error, word, KINDS.into_iter()).at(place));
        }
        return Err(cursor.expected("SOURCE, VIEW, MATERIALIZED VIEW or SINK"));
    };
    let if_not_exists = cursor.accept(&["if", "not", "exists"]);
    if or_replace && if_not_exists {
        return Err(syntax::error("OR REPLACE and IF NOT EXISTS exclude each other").at(place));
    }
    let existing = Existing {
        if_not_exists,
        or_replace,
    };
    if is_set {
        return alter::rule_set(cursor, existing);
    }
    let name = object_name(cursor, &format!("the name of the {kind}"))?;
    match kind {
        "source" => source(cursor, name, existing),
        "view" => view(cursor, name, existing),
        "materialized view" => materialized_view(cursor, name, existing),
        _ => sink(cursor, name, existing),
    }
}

/// Takes the name of something in the catalog, which has one part.
pub(super) fn object_name(cursor: &mut Cursor<'_>, what: &str) -> Result<Name> {
    let name = cursor.name(what)?;
    if cursor.peek().token == Token::Period {
        let hint = "all names live in one catalog: use the last part alone";
        return Err(unsupported::unsupported("a name with a schema", hint).at(name.place));
    }
    Ok(name)
}

fn source(cursor: &mut Cursor<'_>, name: Name, existing: Existing) -> Result<StatementKind> {
    let declared = if cursor.peek().token == Token::LParen {
        columns::parse(cursor)?
    } else {
        columns::Columns::default()
    };
    let mut deviations = deviation::Clauses::default();
    deviations.take(cursor)?;
    if cursor.at_words(&["as"]) {
        return Err(cursor
            .expected("WITH (connector = ...)")
            .hint("a source reads from outside; for a query use CREATE VIEW name AS SELECT ..."));
    }
    if !cursor.accept(&["with"]) {
        return Err(cursor.expected("WITH (connector = ...)"));
    }
    let options = options::parse(cursor)?;
    deviations.take(cursor)?;
    cursor.expect_end("")?;
    Ok(StatementKind::CreateSource(Box::new(CreateSource {
        on_parse_error: deviations.on_parse_error,
        on_schema_change: deviations.on_schema_change,
        name,
        existing,
        columns: declared.columns,
        primary_key: declared.primary_key,
        watermark: declared.watermark,
        constraints: declared.constraints,
        rule_sets: declared.rule_sets,
        options,
    })))
}

fn view(cursor: &mut Cursor<'_>, name: Name, existing: Existing) -> Result<StatementKind> {
    let (columns, rules) = view_columns(cursor)?;
    let constraint = rules.constraints.first().map(|rule| rule.place);
    let set = rules.sets.first().and_then(|set| set.place);
    if let Some(place) = constraint.or(set) {
        let hint = "put the rule on the source, on a MATERIALIZED VIEW or on the sink";
        let what = "CONSTRAINT of a view that is not materialized";
        return Err(unsupported::unsupported(what, hint).at(Some(place)));
    }
    let query = *cursor.query()?;
    if cursor.at_words(&["emit"]) {
        let hint = "a view is computed where it is used: write EMIT behind that query";
        return Err(syntax::error("a view has no EMIT")
            .hint(hint)
            .at(Some(cursor.place())));
    }
    cursor.expect_end("")?;
    Ok(StatementKind::CreateView(Box::new(CreateView {
        name,
        existing,
        columns,
        query,
    })))
}

fn materialized_view(
    cursor: &mut Cursor<'_>,
    name: Name,
    existing: Existing,
) -> Result<StatementKind> {
    let (columns, rules) = view_columns(cursor)?;
    let (query, emit) = emit::query(cursor)?;
    cursor.expect_end("")?;
    let create = CreateMaterializedView {
        name,
        existing,
        columns,
        constraints: rules.constraints,
        rule_sets: rules.sets,
        query: *query,
        emit,
    };
    Ok(StatementKind::CreateMaterializedView(Box::new(create)))
}

/// The rules of a table as they are written.
#[derive(Debug, Default)]
struct Rules {
    constraints: Vec<Constraint>,
    sets: Vec<Name>,
}

/// Takes what stands between a view's name and its query: names of columns, and rules.
fn view_columns(cursor: &mut Cursor<'_>) -> Result<(Vec<Name>, Rules)> {
    let (mut columns, mut rules) = (Vec::new(), Rules::default());
    if cursor.accept_token(&Token::LParen) {
        loop {
            if constraint::is_next(cursor) {
                let rule = constraint::parse(cursor)?;
                constraint::check_new(&rules.constraints, &rule)?;
                rules.constraints.push(rule);
            } else if let Some(set) = alter::set_used(cursor)? {
                rules.sets.push(set);
            } else {
                columns.push(cursor.name("the name of a column")?);
            }
            if !cursor.list_goes_on()? {
                break;
            }
        }
    }
    if cursor.at_words(&["with"]) {
        return Err(cursor
            .expected("AS")
            .hint("a view has no options; a query starts with AS"));
    }
    cursor.expect(&["AS"])?;
    Ok((columns, rules))
}

fn sink(cursor: &mut Cursor<'_>, name: Name, existing: Existing) -> Result<StatementKind> {
    if cursor.at_words(&["from"]) {
        let hint = "write CREATE SINK name WITH (...) AS SELECT * FROM ...";
        return Err(unsupported::unsupported("CREATE SINK ... FROM", hint).at(Some(cursor.place())));
    }
    let place = cursor.place();
    let declared = if cursor.peek().token == Token::LParen {
        columns::parse(cursor)?
    } else {
        columns::Columns::default()
    };
    if let Some(column) = declared
        .columns
        .iter()
        .find(|c| !matches!(c.value, ColumnValue::Physical))
    {
        let message = format!(
            "the column \"{}\" of a sink can't be computed",
            column.name.text
        );
        return Err(syntax::error(message)
            .hint("compute it in the query that writes into the sink")
            .at(column.name.place));
    }
    if let Some((watermark, _)) = &declared.watermark {
        return Err(syntax::error("a sink has no watermark")
            .hint("declare it on the source")
            .at(watermark.place));
    }
    if !declared.primary_key.is_empty() {
        let hint = "the sinks of this version append: leave the key out";
        return Err(unsupported::unsupported("PRIMARY KEY of a sink", hint).at(Some(place)));
    }
    let options = if cursor.accept(&["with"]) {
        Some(options::parse(cursor)?)
    } else {
        None
    };
    let (query, emit) = if cursor.accept(&["as"]) {
        let (query, emit) = emit::query(cursor)?;
        (Some(*query), emit)
    } else {
        (None, None)
    };
    match (&options, &query) {
        (None, None) => return Err(cursor.expected("WITH (connector = ...)")),
        (_, Some(_)) => cursor.expect_end("")?,
        (Some(_), None) => cursor.expect_end("AS or ")?,
    }
    Ok(StatementKind::CreateSink(Box::new(CreateSink {
        name,
        existing,
        columns: declared.columns,
        constraints: declared.constraints,
        rule_sets: declared.rule_sets,
        options: options.unwrap_or_default(),
        query,
        emit,
    })))
}
