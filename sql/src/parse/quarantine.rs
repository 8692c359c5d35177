//! `REPLAY | RELEASE | DISCARD FROM quarantine.t [WHERE (expr)] [SET (column = expr, ...)]`, and
//! `REPLAY QUARANTINE t`.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, SetExpr, Value};
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::quarantine::Action;
use weir_engine::rules::{OPEN, STATUS};

use super::constraint::assignments;
use super::cursor::Cursor;
use super::unsupported::unsupported;
use crate::ast::{Name, QuarantineRequest, StatementKind};
use crate::stored::QUARANTINE;

/// Whether the statement asks something of rows in quarantine.
pub(super) fn action(word: &str, cursor: &Cursor<'_>) -> Option<Action> {
    let action = Action::of_word(word)?;
    let next = |words: [&str; 2]| {
        let next = cursor.nth_word(1);
        words
            .iter()
            .any(|word| next.is_some_and(|next| next.eq_ignore_ascii_case(word)))
    };
    // REPLAY DEAD LETTERS, DISCARD ALL and the like mean something else.
    (cursor.nth_word(1).is_none() || next(["from", QUARANTINE])).then_some(action)
}

/// Parses one of the statements.
pub(super) fn parse(cursor: &mut Cursor<'_>, action: Action) -> Result<StatementKind> {
    cursor.next();
    let what = "the name of a quarantine table: quarantine.name";
    let table = if cursor.accept(&[QUARANTINE]) {
        cursor.name(what)?
    } else {
        if !cursor.accept(&["from"]) {
            return Err(cursor.expected("FROM quarantine.name or QUARANTINE name"));
        }
        let start = cursor.place();
        if !cursor.accept(&[QUARANTINE]) {
            let hint = "rows that rules have kept back are in tables of the schema \"quarantine\"";
            return Err(cursor.expected(what).hint(hint));
        }
        cursor.expect_token(&Token::Period)?;
        Name {
            place: Some(start),
            ..cursor.name(what)?
        }
    };
    let (mut filter, mut set) = (None, Vec::new());
    loop {
        if filter.is_none() && cursor.accept(&["where"]) {
            filter = Some(cursor.expr()?);
        } else if set.is_empty() && cursor.at_words(&["set"]) {
            if action == Action::Discard {
                let hint = "a row that is not wanted needs no other values";
                return Err(unsupported("DISCARD with SET", hint).at(Some(cursor.place())));
            }
            cursor.next();
            set = assignments(cursor)?;
        } else {
            break;
        }
    }
    if filter.is_none() && set.is_empty() {
        cursor.expect_end("WHERE, SET (column = expression) or ")?;
    }
    let mut rows = cursor.all_of(&[QUARANTINE, &table.text], table.place)?;
    if let SetExpr::Select(select) = rows.body.as_mut() {
        let open = Expr::BinaryOp {
            left: Box::new(Expr::Identifier(Ident::with_quote('"', STATUS))),
            op: BinaryOperator::Eq,
            right: Box::new(Expr::Value(
                Value::SingleQuotedString(OPEN.to_owned()).into(),
            )),
        };
        select.selection = Some(match filter {
            Some(filter) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(filter))),
                op: BinaryOperator::And,
                right: Box::new(open),
            },
            None => open,
        });
    }
    Ok(StatementKind::Quarantine(Box::new(QuarantineRequest {
        action,
        table,
        rows,
        set,
    })))
}
