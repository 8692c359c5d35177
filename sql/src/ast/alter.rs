//! `ALTER TABLE` and `CREATE RULE SET`: the rules of tables that are there.

use weir_engine::rules::Switch;

use super::{Constraint, Existing, Name};

/// `ALTER TABLE name ...`.
#[derive(Debug, Clone)]
pub struct AlterTable {
    /// The source, materialized view or sink.
    pub table: Name,
    /// What becomes of its rules.
    pub change: Alteration,
}

/// What becomes of the rules of a table.
#[derive(Debug, Clone)]
pub enum Alteration {
    /// `ADD CONSTRAINT name EXPECT ...`.
    Add(Box<Constraint>),
    /// `ADD RULE SET name`: all rules of the set.
    AddSet(Name),
    /// `DROP CONSTRAINT [IF EXISTS] name`.
    Drop {
        /// The rule.
        name: Name,
        /// No error when it is missing.
        if_exists: bool,
    },
    /// `ENABLE | DISABLE | DRY RUN CONSTRAINT name`.
    Switch(Name, Switch),
}

/// `CREATE RULE SET name (CONSTRAINT ..., ...)`.
#[derive(Debug, Clone)]
pub struct CreateRuleSet {
    /// Its name.
    pub name: Name,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// Its rules.
    pub constraints: Vec<Constraint>,
}
