//! Rules as parsed: `CONSTRAINT name EXPECT ...` within a table, `CREATE EXPECTATION` outside.

use std::fmt;

use datafusion::sql::sqlparser::ast::{ColumnDef, Expr, FunctionArg, Query};
use weir_engine::error::Place;
use weir_engine::rules::{Fold, Grade, Overflow, Switch};

use super::{Keyed, Name};

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
    pub on_overflow: Option<Overflow>,
    /// `SCOPE` or `EVERY`: the rows that one verdict is about, if it is not each by itself.
    pub scope: Option<Scope>,
    /// `SCOPE ROW` is written: each row is asked by itself.
    pub by_row: bool,
    /// `MOSTLY ratio`: the share of the rows of a scope that has to hold the expression.
    pub mostly: Option<f64>,
    /// `PER (columns)`: rows with other values have verdicts of their own, or are another key's.
    pub per: Vec<Name>,
    /// `WITH name => HISTORY(...)`: what was measured before.
    pub past: Vec<Remembered>,
    /// Whether it is asked, and whether what it says is done.
    pub switch: Switch,
    /// The set that it was taken from, where the table says so.
    pub of_set: Option<Name>,
    /// Where its expression stands.
    pub place: Place,
}

/// `name => HISTORY(n [, aggregate])`, or `AVG(HISTORY(n))` and the like.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Its name in the expression.
    pub name: Name,
    /// How many verdicts ago, or how many verdicts.
    pub back: usize,
    /// What is taken of them.
    pub fold: Fold,
    /// The aggregate, if it is not the only one of the expression.
    pub of: Option<Expr>,
}

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of.as_ref();
        let of = of.map_or_else(String::new, |of| format!(", {of}"));
        let history = format!("HISTORY({}{of})", self.back);
        let name = &self.name.text;
        match self.fold {
            Fold::At => write!(f, "{name} => {history}"),
            Fold::Mean => write!(f, "{name} => AVG({history})"),
            Fold::Least => write!(f, "{name} => MIN({history})"),
            Fold::Greatest => write!(f, "{name} => MAX({history})"),
            Fold::Sum => write!(f, "{name} => SUM({history})"),
        }
    }
}

/// What a rule expects, by what has to be looked at.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// `EXPECT (expr)`: each row by itself, or an aggregate of many.
    Row(Box<Expr>),
    /// Each row with those before it that have its key.
    Keyed(Keyed),
    /// `EXPECT FRESH (column, interval)`: the newest row is not older, by the clock.
    Fresh {
        /// The time of a row.
        column: Name,
        /// How old it may be.
        within: Box<Expr>,
    },
    /// `EXPECT SLA ('07:00')`: rows have come since the day before, each day at this time in UTC.
    Daily {
        /// Microseconds after midnight.
        at: i64,
    },
    /// `EXPECT NO ROWS (query)`.
    NoRows(Box<Query>),
    /// `EXPECT SAME ROWS AS table [KEY (columns)]`.
    SameRows {
        /// The other table.
        table: Name,
        /// The columns that are compared; all without it.
        key: Vec<Name>,
    },
    /// `EXPECT (aggregate) = (query) [TOLERANCE share]`.
    Equals {
        /// An aggregate of the table.
        left: Box<Expr>,
        /// A query of one value.
        right: Box<Query>,
        /// How far they may be apart, as a share of the query's value.
        tolerance: f64,
    },
    /// `EXPECT NORMAL (aggregate, ... [, option ...])`: what a window measures is no anomaly.
    Normal {
        /// The aggregates.
        values: Vec<Expr>,
        /// The options of the model, as in `ANOMALY`.
        options: Vec<FunctionArg>,
    },
    /// `EXPECT SCHEMA (column type, ...) [STRICT]`.
    Schema {
        /// The columns.
        columns: Vec<ColumnDef>,
        /// Whether the table has no others, in this order.
        strict: bool,
    },
}

/// The rows that one verdict is about.
#[derive(Debug, Clone)]
pub enum Scope {
    /// `SCOPE BATCH`: those that become visible together.
    Batch,
    /// `SCOPE TABLE`: all so far.
    Table,
    /// `SCOPE WINDOW (TUMBLE (column, interval))`, or another window function.
    Window {
        /// `tumble`, `hop`, `cumulate` or `session`.
        function: &'static str,
        /// The time of a row.
        column: Name,
        /// The intervals of the function.
        lengths: Vec<Expr>,
    },
    /// `EVERY interval`: windows that follow each other; one without rows counts too.
    Every(Box<Expr>),
    /// `SCOPE LAST (n ROWS)`, the last rows of each segment.
    LastRows(usize),
    /// `SCOPE LAST (interval)`, those that are not further behind the watermark.
    LastTime(Box<Expr>),
}

/// What goes to quarantine together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A row by itself.
    Row,
    /// All rows that become visible at once, or those of a segment.
    Batch,
    /// All rows of a window, or those of a segment.
    Window,
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
        /// What is kept aside.
        what: Held,
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
            Self::Quarantine { into, .. } => Some(into.as_ref().map_or(table, |name| &name.text)),
            _ => None,
        }
    }
}

/// `CREATE EXPECTATION name ON table EXPECT ...`.
#[derive(Debug, Clone)]
pub struct CreateExpectation {
    /// The table.
    pub table: Name,
    /// The rule.
    pub constraint: Constraint,
}
