//! `EMIT ...` behind a query, and the errors of one that stands elsewhere or says something else.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::Query;
use weir_engine::Result;
use weir_engine::error::{Error, Place};
use weir_engine::options::parse_duration;

use super::cursor::Cursor;
use super::{options, syntax};
use crate::ast::Emit;

/// How it is written.
const FORMS: &str = "EMIT ON WINDOW CLOSE, EMIT ON UPDATE or EMIT EVERY INTERVAL '10 seconds'";

/// Takes a query with the EMIT behind it, if there is one.
pub(super) fn query(cursor: &mut Cursor<'_>) -> Result<(Box<Query>, Option<Emit>)> {
    let query = cursor.query()?;
    Ok((query, clause(cursor)?))
}

/// Takes EMIT, if it comes next.
pub(super) fn clause(cursor: &mut Cursor<'_>) -> Result<Option<Emit>> {
    let place = cursor.place();
    if !cursor.accept(&["emit"]) {
        return Ok(None);
    }
    if cursor.accept(&["on", "window", "close"]) {
        return Ok(Some(Emit::OnWindowClose));
    }
    if cursor.accept(&["on", "update"]) {
        return Ok(Some(Emit::OnUpdate));
    }
    if cursor.accept(&["every"]) {
        return every(cursor).map(Some);
    }
    Err(unknown(Some(place)))
}

fn every(cursor: &mut Cursor<'_>) -> Result<Emit> {
    let place = cursor.place();
    let time = options::literal(cursor)?
        .and_then(|text| parse_duration(&text))
        .filter(|time| *time >= Duration::from_millis(1));
    match time {
        Some(time) => Ok(Emit::Every(time)),
        None => Err(
            syntax::error("EMIT EVERY needs a time span of a millisecond or more")
                .hint("write EMIT EVERY INTERVAL '10 seconds'")
                .at(Some(place)),
        ),
    }
}

/// The error for an EMIT that says nothing known.
fn unknown(place: Option<Place>) -> Error {
    syntax::error("unknown EMIT")
        .hint(format!("write {FORMS}"))
        .at(place)
}

/// The error for an EMIT at a place where parsing has stopped.
pub(super) fn misplaced() -> Error {
    syntax::error("EMIT cannot stand here").hint(format!(
        "write {FORMS} once, behind the whole query of CREATE SINK, INSERT, \
         CREATE MATERIALIZED VIEW or SUBSCRIBE"
    ))
}
