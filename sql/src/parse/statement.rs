//! One statement: told by its first word.

use datafusion::sql::sqlparser::tokenizer::{Location, Token};
use weir_engine::Result;
use weir_engine::error::Place;
use weir_engine::options::nearest;

use super::create::{self, KINDS, object_name};
use super::cursor::Cursor;
use super::dialect::WeirDialect;
use super::script::{Piece, Source};
use super::{
    alter, constraint, emit, feedback, options, quarantine, syntax, unsupported, validate,
};
use crate::ast::{ObjectKind, ProfileTable, Show, Statement, StatementKind, Subscribe};

/// The words that start a statement.
const STARTS: &[&str] = &[
    "CREATE",
    "ALTER",
    "DROP",
    "INSERT",
    "SET",
    "SHOW",
    "DESCRIBE",
    "EXPLAIN",
    "PROFILE",
    "SUGGEST",
    "VALIDATE",
    "REPLAY",
    "RELEASE",
    "DISCARD",
    "RESUME",
    "FEEDBACK",
    "SELECT",
    "SUBSCRIBE",
    "WITH",
    "VALUES",
];

/// Parses one statement.
pub(super) fn parse(mut piece: Piece) -> Result<Statement> {
    constraint::without_braces(&mut piece.tokens);
    let dialect = WeirDialect::new(&piece.tokens);
    let mut cursor = Cursor::new(&piece.tokens, piece.end, &dialect);
    let kind = kind(&mut cursor, &piece)?;
    cursor.expect_end("")?;
    Ok(Statement {
        baselines: piece.baselines,
        place: piece.place,
        text: piece.text,
        kind,
    })
}

fn kind(cursor: &mut Cursor<'_>, piece: &Piece) -> Result<StatementKind> {
    let place = Some(cursor.place());
    let Some(word) = cursor.word().map(str::to_ascii_lowercase) else {
        if cursor.peek().token == Token::LParen {
            return query(cursor);
        }
        return Err(cursor.expected("a statement"));
    };
    match word.as_str() {
        "select" | "with" | "values" | "table" => query(cursor),
        "subscribe" => subscribe(cursor),
        "create" => {
            cursor.next();
            create::parse(cursor)
        }
        "alter" => alter::parse(cursor),
        "insert" => insert(cursor),
        "drop" => drop_objects(cursor),
        "set" => set(cursor),
        "show" => show(cursor),
        "describe" | "desc" => {
            cursor.next();
            skip_kind(cursor);
            Ok(StatementKind::Describe(
                cursor.dotted_name("the name of a source, view or sink")?,
            ))
        }
        "explain" => explain(cursor, piece),
        "feedback" => feedback::parse(cursor).map(StatementKind::Feedback),
        "profile" => profile(cursor),
        "validate" => validate::parse(cursor),
        "resume" => {
            cursor.next();
            cursor.expect(&["SOURCE"])?;
            let source = object_name(cursor, "the name of a source")?;
            Ok(StatementKind::Resume(source))
        }
        "suggest" => {
            cursor.next();
            cursor.expect(&["CONSTRAINTS", "FOR"])?;
            cursor.accept(&["table"]);
            let table = object_name(cursor, "the name of a source or a view")?;
            Ok(StatementKind::Suggest(table))
        }
        _ => {
            if let Some(action) = quarantine::action(&word, cursor) {
                return quarantine::parse(cursor, action);
            }
            if let Some(refused) = unsupported::statement(&word) {
                return Err(refused.at(place));
            }
            let error = cursor.expected("a statement");
            Err(nearest(error, &word, STARTS.iter().copied()))
        }
    }
}

fn query(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    let (query, emit) = emit::query(cursor)?;
    Ok(StatementKind::Query { query, emit })
}

fn profile(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    cursor.expect(&["TABLE"])?;
    let table = object_name(cursor, "the name of a source or a view")?;
    let columns = match cursor.accept(&["columns"]) {
        true => cursor.names("the name of a column")?,
        false => Vec::new(),
    };
    let into = match cursor.accept(&["into"]) {
        true => Some(object_name(cursor, "the name of the profile")?),
        false => None,
    };
    Ok(StatementKind::Profile(ProfileTable {
        table,
        columns,
        into,
    }))
}

/// Parses `SUBSCRIBE TO (query)`, or `SUBSCRIBE TO name` for all of its columns; EMIT may stand
/// inside of the parentheses or behind them, LIMIT behind them.
fn subscribe(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    cursor.accept(&["to"]);
    let (query, mut emit) = if cursor.accept_token(&Token::LParen) {
        let (query, emit) = emit::query(cursor)?;
        cursor.expect_token(&Token::RParen)?;
        (query, emit)
    } else if cursor.at_words(&["select"]) || cursor.at_words(&["with"]) {
        let hint = "write SUBSCRIBE TO (SELECT ...)";
        return Err(cursor.expected("'('").hint(hint));
    } else {
        let name = object_name(cursor, "a query in parentheses or the name of a view")?;
        (cursor.all_of(&[&name.text], name.place)?, None)
    };
    if emit.is_none() {
        emit = emit::clause(cursor)?;
    }
    let limit = match cursor.accept(&["limit"]) {
        true => Some(options::count(cursor)?),
        false => None,
    };
    Ok(StatementKind::Subscribe(Box::new(Subscribe {
        query: *query,
        emit,
        limit,
    })))
}

/// Passes over `SOURCE`, `VIEW` or `SINK` in front of a name, where it only repeats what is known.
fn skip_kind(cursor: &mut Cursor<'_>) {
    let has_name = matches!(cursor.nth(1).token, Token::Word(_));
    if has_name && !cursor.accept(&["materialized", "view"]) {
        cursor.accept_one(&["source", "view", "sink", "table"]);
    }
}

fn insert(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    if cursor.at_words(&["overwrite"]) {
        let hint = "a sink's options say how files are named; INSERT INTO appends";
        return Err(unsupported::unsupported("INSERT OVERWRITE", hint).at(Some(cursor.place())));
    }
    cursor.expect(&["INTO"])?;
    skip_kind(cursor);
    let sink = object_name(cursor, "the name of a sink")?;
    let starts_query = match &cursor.nth(1).token {
        Token::LParen => true,
        _ => cursor
            .nth_word(1)
            .is_some_and(|w| ["select", "with", "values"].contains(&&*w.to_ascii_lowercase())),
    };
    let columns = if cursor.peek().token == Token::LParen && !starts_query {
        cursor.names("the name of a column")?
    } else {
        Vec::new()
    };
    let (query, emit) = emit::query(cursor)?;
    Ok(StatementKind::Insert {
        sink,
        columns,
        query,
        emit,
    })
}

fn drop_objects(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    let place = Some(cursor.place());
    if cursor.accept(&["rule", "set"]) {
        return alter::drop_sets(cursor);
    }
    let materialized = cursor.accept(&["materialized", "view"]);
    let what = match (materialized, cursor.accept_one(&["source", "view", "sink"])) {
        (true, _) => ObjectKind::MaterializedView,
        (_, Some("source")) => ObjectKind::Source,
        (_, Some("view")) => ObjectKind::View,
        (_, Some(_)) => ObjectKind::Sink,
        (false, None) => {
            let refused = cursor
                .word()
                .and_then(|word| unsupported::object("DROP", word));
            return Err(match (refused, cursor.word()) {
                (Some(refused), _) => refused.at(place),
                (None, Some(word)) => {
                    let error = syntax::error(format!("unknown DROP {word}"));
                    nearest(error, word, KINDS.into_iter()).at(place)
                }
                (None, None) => cursor.expected("SOURCE, VIEW, MATERIALIZED VIEW or SINK"),
            });
        }
    };
    let if_exists = cursor.accept(&["if", "exists"]);
    let mut names = vec![object_name(cursor, "a name")?];
    while cursor.accept_token(&Token::Comma) {
        names.push(object_name(cursor, "a name")?);
    }
    let cascade = cursor.accept(&["cascade"]);
    if !cascade {
        cursor.accept(&["restrict"]);
    }
    Ok(StatementKind::Drop {
        what,
        names,
        if_exists,
        cascade,
    })
}

fn set(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    let name = cursor.dotted_name("the name of a setting")?;
    if !cursor.accept_token(&Token::Eq) && !cursor.accept(&["to"]) {
        return Err(cursor.expected("'=' or TO"));
    }
    let value = options::setting(cursor)?;
    Ok(StatementKind::Set { name, value })
}

fn show(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    let place = Some(cursor.place());
    if cursor.accept(&["create"]) {
        skip_kind(cursor);
        let name = cursor.dotted_name("the name of a source, view or sink")?;
        return Ok(StatementKind::ShowCreate(name));
    }
    if cursor.accept(&["materialized", "views"]) {
        return Ok(StatementKind::Show(Show::Objects(
            ObjectKind::MaterializedView,
        )));
    }
    if cursor.accept(&["rule", "sets"]) {
        return Ok(StatementKind::Show(Show::RuleSets));
    }
    if cursor.accept(&["constraints"]) {
        let table = match cursor.accept_one(&["from", "of", "in"]) {
            Some(_) => Some(object_name(cursor, "the name of a source, view or sink")?),
            None => None,
        };
        return Ok(StatementKind::Show(Show::Constraints(table)));
    }
    let lists = ["SOURCES", "SINKS", "VIEWS", "TABLES", "SETTINGS"];
    if cursor.nth(1).token == Token::EOF
        && let Some(list) = cursor.accept_one(&[&lists[..], &["ALL"]].concat())
    {
        return Ok(StatementKind::Show(match list {
            "SOURCES" => Show::Objects(ObjectKind::Source),
            "SINKS" => Show::Objects(ObjectKind::Sink),
            "VIEWS" => Show::Objects(ObjectKind::View),
            "TABLES" => Show::Tables,
            _ => Show::Settings,
        }));
    }
    if let Some(word) = cursor.word() {
        if let Some(refused) = unsupported::show(word) {
            return Err(refused.at(place));
        }
        // Settings have dotted names: a single word that is nearly a list was meant to be one.
        let near = nearest(
            syntax::error(format!("unknown SHOW {word}")),
            word,
            lists.into_iter(),
        );
        let meant = near
            .hint_text()
            .is_some_and(|hint| hint.starts_with("did you mean"));
        if meant && cursor.nth(1).token == Token::EOF {
            return Err(near.at(place));
        }
    }
    let name =
        cursor.dotted_name("SOURCES, SINKS, VIEWS, TABLES, SETTINGS or the name of a setting")?;
    Ok(StatementKind::Show(Show::Setting(name)))
}

fn explain(cursor: &mut Cursor<'_>, piece: &Piece) -> Result<StatementKind> {
    cursor.next();
    let analyze = cursor.accept(&["analyze"]);
    let place = cursor.place();
    if let Some(word) = cursor.word()
        && [
            "verbose", "format", "extended", "explain", "logical", "analyze",
        ]
        .contains(&&*word.to_ascii_lowercase())
    {
        let what = format!("EXPLAIN {}", word.to_ascii_uppercase());
        let hint = "use EXPLAIN or EXPLAIN ANALYZE and the statement";
        return Err(unsupported::unsupported(&what, hint).at(Some(place)));
    }
    let kind = kind(cursor, piece)?;
    let explained = match &kind {
        StatementKind::Query { .. }
        | StatementKind::Insert { .. }
        | StatementKind::CreateMaterializedView(_) => true,
        StatementKind::CreateSink(sink) => sink.query.is_some(),
        _ => false,
    };
    if !explained {
        let hint = "explain a query, INSERT INTO, CREATE SINK ... AS or CREATE MATERIALIZED VIEW";
        let what = "EXPLAIN of a statement without a query";
        return Err(unsupported::unsupported(what, hint).at(Some(place)));
    }
    cursor.expect_end("")?;
    let statement = Statement {
        place,
        text: inner_text(piece, place),
        kind,
        baselines: piece.baselines.clone(),
    };
    Ok(StatementKind::Explain {
        analyze,
        statement: Box::new(statement),
    })
}

/// Cuts the text of a statement inside a statement.
fn inner_text(piece: &Piece, place: Place) -> String {
    let location = |place: Place| Location {
        line: place.line,
        column: place.column,
    };
    Source::starting_at(&piece.text, piece.place)
        .slice(location(place), location(piece.end))
        .to_owned()
}
