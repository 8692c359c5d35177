//! `VALIDATE TABLE table [USING set, ...] [FAIL ON severity | NONE]`.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;

use super::create::object_name;
use super::cursor::Cursor;
use crate::ast::{FailOn, StatementKind, ValidateTable};

const LEVELS: [(&str, FailOn); 4] = [
    ("CRITICAL", FailOn::Critical),
    ("WARNING", FailOn::Warning),
    ("INFO", FailOn::Info),
    ("NONE", FailOn::None),
];

/// Parses the statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    cursor.next();
    cursor.expect(&["TABLE"])?;
    let table = cursor.dotted_name("the name of a source or a view")?;
    let mut using = Vec::new();
    if cursor.accept(&["using"]) {
        loop {
            using.push(object_name(cursor, "the name of a rule set")?);
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    let mut fail_on = FailOn::Critical;
    if cursor.accept(&["fail"]) {
        cursor.expect(&["ON"])?;
        let names = LEVELS.map(|(name, _)| name);
        let Some(found) = cursor.accept_one(&names) else {
            return Err(cursor.expected("CRITICAL, WARNING, INFO or NONE"));
        };
        let mut levels = LEVELS.iter();
        fail_on = levels
            .find(|(name, _)| *name == found)
            .map_or(fail_on, |(_, level)| *level);
    }
    Ok(StatementKind::Validate(ValidateTable {
        table,
        using,
        fail_on,
    }))
}
