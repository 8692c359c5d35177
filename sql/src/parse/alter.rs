//! `ALTER TABLE name ADD | DROP | ENABLE | DISABLE | DRY RUN CONSTRAINT ...`, `ALTER TABLE name ADD RULE SET
//! name`, and `CREATE RULE SET name (CONSTRAINT ..., ...)` with its `DROP`.

use datafusion::sql::sqlparser::tokenizer::Token;
use weir_engine::Result;
use weir_engine::rules::Switch;

use super::constraint;
use super::create::object_name;
use super::cursor::Cursor;
use super::unsupported::unsupported;
use crate::ast::{
    AlterTable, Alteration, Constraint, CreateRuleSet, Existing, Name, StatementKind,
};

/// Parses `ALTER TABLE`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    let start = Some(cursor.place());
    cursor.next();
    if !cursor.accept(&["materialized", "view"])
        && cursor.accept_one(&["table", "source", "sink"]).is_none()
    {
        let hint = "rules are altered by ALTER TABLE; replace all else with CREATE OR REPLACE";
        return Err(unsupported("ALTER", hint).at(start));
    }
    let what = "the name of a source, a materialized view or a sink";
    let table = object_name(cursor, what)?;
    let change = change(cursor)?;
    Ok(StatementKind::AlterTable(Box::new(AlterTable {
        table,
        change,
    })))
}

fn change(cursor: &mut Cursor<'_>) -> Result<Alteration> {
    const RULE: &str = "the name of the rule";
    if cursor.at_words(&["add", "constraint"]) {
        cursor.next();
        return Ok(Alteration::Add(Box::new(constraint::parse(cursor)?)));
    }
    if cursor.at_words(&["add", "rule"]) {
        cursor.next();
        if let Some(set) = set_used(cursor)? {
            return Ok(Alteration::AddSet(set));
        }
    }
    if cursor.accept(&["drop", "constraint"]) {
        let if_exists = cursor.accept(&["if", "exists"]);
        let name = cursor.name(RULE)?;
        return Ok(Alteration::Drop { name, if_exists });
    }
    let switches = [
        (&["enable", "constraint"][..], Switch::On),
        (&["disable", "constraint"][..], Switch::Off),
        (&["dry", "run", "constraint"][..], Switch::DryRun),
    ];
    for (words, switch) in switches {
        if cursor.accept(words) {
            return Ok(Alteration::Switch(cursor.name(RULE)?, switch));
        }
    }
    let what = "ADD CONSTRAINT, ADD RULE SET, or DROP, ENABLE, DISABLE or DRY RUN CONSTRAINT";
    Err(cursor
        .expected(what)
        .hint("only rules are altered; replace all else with CREATE OR REPLACE"))
}

/// Takes `RULE SET name`, by which a table gets the rules of a set. No type is called `SET`, so that a
/// column may be called `rule`.
pub(super) fn set_used(cursor: &mut Cursor<'_>) -> Result<Option<Name>> {
    match cursor.accept(&["rule", "set"]) {
        true => cursor.name("the name of a rule set").map(Some),
        false => Ok(None),
    }
}

/// Parses what follows `CREATE [OR REPLACE] RULE SET`.
pub(super) fn rule_set(cursor: &mut Cursor<'_>, existing: Existing) -> Result<StatementKind> {
    let name = object_name(cursor, "the name of the rule set")?;
    cursor.expect_token(&Token::LParen)?;
    let mut constraints: Vec<Constraint> = Vec::new();
    loop {
        let rule = constraint::parse(cursor)?;
        constraint::check_new(&constraints, &rule)?;
        constraints.push(rule);
        if !cursor.list_goes_on()? {
            break;
        }
    }
    Ok(StatementKind::CreateRuleSet(Box::new(CreateRuleSet {
        name,
        existing,
        constraints,
    })))
}

/// Parses what follows `DROP RULE SET`.
pub(super) fn drop_sets(cursor: &mut Cursor<'_>) -> Result<StatementKind> {
    let if_exists = cursor.accept(&["if", "exists"]);
    let mut names = vec![object_name(cursor, "the name of a rule set")?];
    while cursor.accept_token(&Token::Comma) {
        names.push(object_name(cursor, "the name of a rule set")?);
    }
    Ok(StatementKind::DropRuleSets { names, if_exists })
}
