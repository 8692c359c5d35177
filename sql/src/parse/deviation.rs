//! `ON PARSE ERROR` and `ON SCHEMA CHANGE` of a source, in front of `WITH (..)` or behind it.

use weir_engine::Result;
use weir_engine::deviation::OnChange;
use weir_engine::error::Place;

use super::cursor::Cursor;
use super::syntax;
use super::unsupported::unsupported;
use crate::ast::{Name, OnParseError};

/// The clauses that were found so far.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub(super) on_parse_error: Option<(OnParseError, Place)>,
    pub(super) on_schema_change: Option<(OnChange, Option<Name>, Place)>,
}

impl Clauses {
    /// Takes the clauses that come next, each once.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        loop {
            let place = cursor.place();
            let twice = if cursor.accept(&["on", "parse", "error"]) {
                let action = parse_error(cursor)?;
                self.on_parse_error.replace((action, place)).is_some()
            } else if cursor.accept(&["on", "schema", "change"]) {
                let (action, into) = schema_change(cursor)?;
                let clause = (action, into, place);
                self.on_schema_change.replace(clause).is_some()
            } else if cursor.at_words(&["on"]) {
                return Err(cursor.expected("ON PARSE ERROR or ON SCHEMA CHANGE"));
            } else {
                return Ok(());
            };
            if twice {
                let message = "a source says ON PARSE ERROR and ON SCHEMA CHANGE once each";
                return Err(syntax::error(message).at(Some(place)));
            }
        }
    }
}

fn parse_error(cursor: &mut Cursor<'_>) -> Result<OnParseError> {
    Ok(
        match cursor.accept_one(&["FAIL", "SKIP", "QUARANTINE", "RESCUE"]) {
            Some("FAIL") => OnParseError::Fail,
            Some("SKIP") => OnParseError::Skip,
            Some("QUARANTINE") => OnParseError::Quarantine,
            Some(_) => {
                cursor.expect(&["INTO"])?;
                OnParseError::Rescue(cursor.name("the column that takes what cannot be decoded")?)
            }
            None => return Err(cursor.expected("FAIL, SKIP, QUARANTINE or RESCUE INTO column")),
        },
    )
}

fn schema_change(cursor: &mut Cursor<'_>) -> Result<(OnChange, Option<Name>)> {
    if cursor.at_words(&["evolve"]) {
        let hint = "RESCUE keeps new columns as JSON in a column, from which a query can take them; to have \
                    them as columns declare them and start again: they are null where data lacks them";
        return Err(unsupported("ON SCHEMA CHANGE EVOLVE", hint)
            .detail(
                "a query and its sinks are planned for the columns that are there when it starts",
            )
            .at(Some(cursor.place())));
    }
    let words = ["FAIL", "WIDEN", "RESCUE", "IGNORE"];
    let Some(word) = cursor.accept_one(&words) else {
        return Err(cursor.expected("FAIL, WIDEN, RESCUE or IGNORE"));
    };
    let into = match word == "RESCUE" && cursor.accept(&["into"]) {
        true => Some(cursor.name("the column that takes what is not declared")?),
        false => None,
    };
    let on_change = match word {
        "FAIL" => OnChange::Fail,
        "WIDEN" => OnChange::Widen,
        "RESCUE" => OnChange::Rescue,
        _ => OnChange::Ignore,
    };
    Ok((on_change, into))
}
