//! Rules as parsed: `CONSTRAINT name EXPECT ...` within a table, `CREATE EXPECTATION` outside.

use datafusion::sql::sqlparser::ast::Expr;
use weir_engine::error::Place;
use weir_engine::rules::Grade;

use super::Name;

/// One rule of a table.
#[derive(Debug, Clone)]
pub struct Constraint {
    /// Its name, which its table has once.
    pub name: Name,
    /// What has to hold.
    pub expectation: Expectation,
    /// `WHEN (expr)`: the rows that it is about.
    pub when: Option<Expr>,
    /// `DIMENSION`, `SEVERITY` and `WEIGHT`.
    pub grade: Grade,
    /// `ON VIOLATION`.
    pub on_violation: OnViolation,
    /// `ON UNKNOWN VIOLATE`: a row for which it is null breaks it.
    pub unknown_violates: bool,
    /// `ON OVERFLOW`.
    pub on_overflow: Option<OnOverflow>,
    /// Where its expression stands.
    pub place: Place,
}

/// What a rule expects, by what has to be looked at.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// `EXPECT (expr)`: each row by itself.
    Row(Box<Expr>),
}

/// What happens to a row that breaks a rule.
#[derive(Debug, Clone)]
pub enum OnViolation {
    /// It is counted.
    Warn,
    /// It is dropped.
    DropRow,
    /// It is kept aside.
    Quarantine {
        /// The name of the quarantine table, if it is not that of the table.
        into: Option<Name>,
    },
    /// The job ends.
    FailUpdate,
    /// Its columns are set.
    Set(Vec<(Name, Expr)>),
}

impl OnViolation {
    /// The quarantine table that rows go to, that of the table itself if no other is named.
    pub(crate) fn quarantine<'a>(&'a self, table: &'a str) -> Option<&'a str> {
        match self {
            Self::Quarantine { into } => Some(into.as_ref().map_or(table, |name| &name.text)),
            _ => None,
        }
    }
}

/// How many rows may break a rule before the job ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnOverflow {
    /// So many.
    Count(u64),
    /// This share of them.
    Ratio(f64),
}

/// `CREATE EXPECTATION name ON table EXPECT ...`.
#[derive(Debug, Clone)]
pub struct CreateExpectation {
    /// The table.
    pub table: Name,
    /// The rule.
    pub constraint: Constraint,
}
