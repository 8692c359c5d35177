//! The parenthesis of column definitions, keys, watermark and constraints.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, Place, codes};
use weir_engine::options::{nearest, unknown};

use super::alter;
use super::constraint;
use super::cursor::Cursor;
use super::syntax;
use super::unsupported::unsupported;
use crate::ast::{ColumnDef, ColumnValue, Constraint, Name};

/// The types that errors name.
const TYPES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "REAL",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "VARCHAR",
    "STRING",
    "TEXT",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "INTERVAL",
    "ARRAY",
    "STRUCT",
];

/// What stands between the parentheses.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) columns: Vec<ColumnDef>,
    pub(super) primary_key: Vec<Name>,
    pub(super) watermark: Option<(Name, Expr)>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) rule_sets: Vec<Name>,
}

/// Parses `(column type ..., PRIMARY KEY (...), WATERMARK FOR ...)`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Columns> {
    let mut columns = Columns::default();
    cursor.expect_token(&Token::LParen)?;
    if cursor.accept_token(&Token::RParen) {
        return Ok(columns);
    }
    loop {
        if cursor.at_words(&["watermark", "for"]) {
            columns.watermark(cursor)?;
        } else if cursor.at_words(&["primary", "key"]) {
            let place = cursor.place();
            cursor.expect(&["primary", "key"])?;
            let names = cursor.names("the name of a column")?;
            columns.set_primary_key(names, place)?;
        } else if constraint::is_next(cursor) {
            let rule = constraint::parse(cursor)?;
            constraint::check_new(&columns.constraints, &rule)?;
            columns.constraints.push(rule);
        } else if let Some(set) = alter::set_used(cursor)? {
            columns.rule_sets.push(set);
        } else if let Some(refused) = refused_constraint(cursor) {
            return Err(refused);
        } else {
            columns.column(cursor)?;
        }
        if !cursor.list_goes_on()? {
            break;
        }
    }
    columns.finish()?;
    Ok(columns)
}

impl Columns {
    fn watermark(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let place = cursor.place();
        cursor.expect(&["watermark", "for"])?;
        let name = cursor.name("the name of a column")?;
        let expr = if cursor.accept(&["as"]) {
            cursor.expr()?
        } else {
            Expr::Identifier(Ident::with_quote('"', name.text.clone()))
        };
        if self.watermark.replace((name, expr)).is_some() {
            return Err(syntax::error("there are two watermarks, one is allowed").at(Some(place)));
        }
        Ok(())
    }

    fn set_primary_key(&mut self, names: Vec<Name>, place: Place) -> Result<()> {
        if !self.primary_key.is_empty() {
            return Err(syntax::error("there are two primary keys, one is allowed")
                .hint("a key of several columns is written PRIMARY KEY (a, b)")
                .at(Some(place)));
        }
        self.primary_key = names;
        Ok(())
    }

    fn column(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let name = cursor.name("the name of a column")?;
        if self
            .columns
            .iter()
            .any(|column| column.name.text == name.text)
        {
            let message = format!("the column \"{}\" is declared twice", name.text);
            return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(name.place));
        }
        let data_type = column_type(cursor)?;
        let mut column = ColumnDef {
            name,
            data_type,
            not_null: false,
            value: ColumnValue::Physical,
        };
        loop {
            let place = cursor.place();
            if cursor.accept(&["not", "null"]) {
                column.not_null = true;
            } else if cursor.accept(&["null"]) {
                // What holds anyway.
            } else if cursor.accept(&["primary", "key"]) {
                self.set_primary_key(vec![column.name.clone()], place)?;
            } else if cursor.at_words(&["as"])
                || cursor.at_words(&["generated"])
                || cursor.at_words(&["metadata"])
            {
                if !matches!(column.value, ColumnValue::Physical) {
                    return Err(cursor.expected("',' or ')'"));
                }
                column.value = column_value(cursor, &column.name)?;
            } else if let Some(refused) = column_constraint(cursor) {
                return Err(refused);
            } else {
                break;
            }
        }
        self.columns.push(column);
        Ok(())
    }

    /// Checks the key against the columns, and makes its columns NOT NULL.
    fn finish(&mut self) -> Result<()> {
        // Without a physical column the schema is discovered, and the key may be in it.
        let declared = self
            .columns
            .iter()
            .any(|column| matches!(column.value, ColumnValue::Physical));
        for (index, key) in self.primary_key.iter().enumerate() {
            if self
                .primary_key
                .iter()
                .take(index)
                .any(|other| other.text == key.text)
            {
                let message = format!("the column \"{}\" is in the key twice", key.text);
                return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(key.place));
            }
            match self
                .columns
                .iter_mut()
                .find(|column| column.name.text == key.text)
            {
                Some(column) => column.not_null = true,
                None if declared => {
                    let names = self.columns.iter().map(|column| column.name.text.as_str());
                    let code = codes::UNKNOWN_COLUMN;
                    return Err(unknown(code, "column", &key.text, names).at(key.place));
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn column_type(cursor: &mut Cursor<'_>) -> Result<DataType> {
    let place = cursor.place();
    let missing = matches!(cursor.peek().token, Token::Comma | Token::RParen)
        || ["as", "generated", "metadata", "not", "null", "primary"]
            .iter()
            .any(|word| cursor.at_words(&[word]));
    if missing {
        return Err(cursor
            .expected("a type")
            .hint("every column needs one: a BIGINT, b VARCHAR, c DOUBLE AS (a * 2.0)"));
    }
    match cursor.data_type()? {
        DataType::Custom(name, _) => {
            let name = name.to_string();
            let error = Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!("unknown type \"{name}\""),
            );
            Err(nearest(error, &name, TYPES.iter().copied()).at(Some(place)))
        }
        data_type => Ok(data_type),
    }
}

/// Parses where a column's value comes from: `AS expr`, `GENERATED ALWAYS AS expr`, `METADATA`.
fn column_value(cursor: &mut Cursor<'_>, name: &Name) -> Result<ColumnValue> {
    if cursor.accept(&["metadata"]) {
        if !cursor.accept(&["from"]) {
            return Ok(ColumnValue::Metadata(name.text.clone()));
        }
        let Token::SingleQuotedString(key) = &cursor.peek().token else {
            return Err(cursor.expected("the metadata's name as a string"));
        };
        let key = key.clone();
        cursor.next();
        return Ok(ColumnValue::Metadata(key));
    }
    if cursor.accept(&["generated"]) {
        cursor.expect(&["ALWAYS"])?;
    }
    cursor.expect(&["AS"])?;
    if cursor.at_words(&["identity"]) {
        let hint = "take the number from the data";
        return Err(unsupported("GENERATED AS IDENTITY", hint).at(Some(cursor.place())));
    }
    if cursor.at_words(&["proctime"]) && cursor.nth(1).token == Token::LParen {
        return Ok(ColumnValue::Computed(Box::new(cursor.expr()?)));
    }
    if cursor.peek().token != Token::LParen {
        return Err(cursor
            .expected("'('")
            .hint("the expression of a column stands in parentheses: AS (a + b)"));
    }
    cursor.next();
    let expr = cursor.expr()?;
    cursor.expect_token(&Token::RParen)?;
    // Both words only say how a table would keep the value.
    cursor.accept_one(&["stored", "virtual"]);
    Ok(ColumnValue::Computed(Box::new(expr)))
}

/// Refuses a table constraint. A column may still have such a name: a type follows it.
fn refused_constraint(cursor: &Cursor<'_>) -> Option<Error> {
    let place = Some(cursor.place());
    if cursor.at_words(&["constraint"]) && matches!(cursor.nth(2).token, Token::Word(_)) {
        let hint = "a rule over rows is written CONSTRAINT name EXPECT (expression)";
        return Some(unsupported("CONSTRAINT without EXPECT", hint).at(place));
    }
    let parenthesis = cursor.nth(1).token == Token::LParen;
    let word = ["check", "unique", "expect"]
        .into_iter()
        .find(|word| cursor.at_words(&[word]));
    match word {
        Some(word) if parenthesis => {
            let hint = "a rule over rows is written CONSTRAINT name EXPECT (expression)";
            Some(unsupported(&word.to_ascii_uppercase(), hint).at(place))
        }
        _ if cursor.at_words(&["foreign", "key"]) => Some(unsupported("FOREIGN KEY", "").at(place)),
        _ => None,
    }
}

/// Where the rules of a column stand.
const RULE_HINT: &str = "behind a comma of its own: CONSTRAINT name EXPECT (expression)";

fn column_constraint(cursor: &Cursor<'_>) -> Option<Error> {
    let (word, hint) = [
        ("default", "use a computed column with coalesce(...)"),
        ("check", RULE_HINT),
        ("expect", RULE_HINT),
        ("constraint", RULE_HINT),
        ("unique", "remove duplicates with DISTINCT or GROUP BY"),
        ("references", "leave it out"),
        ("collate", "leave it out"),
    ]
    .into_iter()
    .find(|(word, _)| cursor.at_words(&[word]))?;
    let what = format!("{} of a column", word.to_ascii_uppercase());
    Some(unsupported(&what, hint).at(Some(cursor.place())))
}
