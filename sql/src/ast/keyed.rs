//! Rules over keys as parsed: what has to hold between a row and those before it.

use std::fmt;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::Expr;
use weir_engine::rules::keyed::Far;

use super::Name;

/// A rule over the rows of a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// What has to hold.
    pub asks: Asks,
    /// `ORDER BY column`: the order in which rows are asked, if it is not that of their arrival.
    pub order: Option<Name>,
}

/// What has to hold between rows of a key.
#[derive(Debug, Clone)]
pub enum Asks {
    /// `UNIQUE (a, b) [WITHIN INTERVAL ..]`, or `UNIQUE (*)`.
    Unique {
        /// The columns; all if there are none.
        columns: Vec<Name>,
        /// How far apart in event time rows may be equal.
        within: Option<Duration>,
        /// `KEEP LAST`: of two rows the earlier one breaks the rule.
        keep_last: bool,
    },
    /// `(a) DETERMINES (b)`.
    Determines {
        /// The columns that determine.
        from: Vec<Name>,
        /// The columns that are determined.
        to: Vec<Name>,
    },
    /// `TRANSITION (state) IN ((from, to), ...)`.
    Transition {
        /// The column of the state.
        state: Name,
        /// The pairs.
        pairs: Vec<(Expr, Expr)>,
    },
    /// `INCREASING | DECREASING [STRICTLY] (column)`.
    Ordered {
        /// The column.
        column: Name,
        /// `DECREASING`.
        descending: bool,
        /// `STRICTLY`.
        strictly: bool,
    },
    /// `SEQUENTIAL (column)`.
    Sequential(Name),
    /// `NO OVERLAP (from, to)`.
    Apart {
        /// The column where a range begins.
        from: Name,
        /// The column where it ends.
        to: Name,
    },
    /// `(column) REFERENCES table(column)`.
    References {
        /// The columns of the row.
        columns: Vec<Name>,
        /// The other table.
        table: Name,
        /// Its columns.
        to: Vec<Name>,
        /// `GRACE INTERVAL ..`: how long a row waits for that of the other table.
        grace: Option<Duration>,
    },
    /// `NO OUTLIERS (column [, method => 'mad'] [, k => 5]) [LAST (n ROWS)]`.
    Outliers {
        /// The column.
        column: Name,
        /// What is far from the values before, and how far.
        far: Far,
        /// How many values are remembered.
        last: usize,
    },
    /// An expression with `lag(column)`.
    Last(Box<Expr>),
}

impl fmt::Display for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asks {
            Asks::Unique {
                columns,
                within,
                keep_last,
            } => {
                match columns.as_slice() {
                    [] => f.write_str("UNIQUE (*)")?,
                    columns => write!(f, "UNIQUE ({})", list(columns))?,
                }
                if let Some(within) = within {
                    write!(f, " WITHIN {within:?}")?;
                }
                if *keep_last {
                    f.write_str(" KEEP LAST")?;
                }
            }
            Asks::Determines { from, to } => {
                write!(f, "({}) DETERMINES ({})", list(from), list(to))?;
            }
            Asks::Transition { state, pairs } => {
                let pairs = pairs.iter().map(|(from, to)| format!("({from}, {to})"));
                let pairs: Vec<_> = pairs.collect();
                write!(f, "TRANSITION ({}) IN ({})", state.text, pairs.join(", "))?;
            }
            Asks::Ordered {
                column,
                descending,
                strictly,
            } => {
                let word = match descending {
                    true => "DECREASING",
                    false => "INCREASING",
                };
                let strictly = if *strictly { " STRICTLY" } else { "" };
                write!(f, "{word}{strictly} ({})", column.text)?;
            }
            Asks::Sequential(column) => write!(f, "SEQUENTIAL ({})", column.text)?,
            Asks::Apart { from, to } => write!(f, "NO OVERLAP ({}, {})", from.text, to.text)?,
            Asks::References {
                columns,
                table,
                to,
                grace,
            } => {
                write!(
                    f,
                    "({}) REFERENCES {}({})",
                    list(columns),
                    table.text,
                    list(to)
                )?;
                if let Some(grace) = grace {
                    write!(f, " GRACE {grace:?}")?;
                }
            }
            Asks::Outliers { column, far, last } => {
                let column = &column.text;
                write!(
                    f,
                    "NO OUTLIERS ({column}, {}) LAST ({last} ROWS)",
                    Method(far)
                )?;
            }
            Asks::Last(expr) => write!(f, "({expr})")?,
        }
        match &self.order {
            Some(order) => write!(f, " ORDER BY {}", order.text),
            None => Ok(()),
        }
    }
}

/// How far values may be from others, as it is written.
struct Method<'a>(&'a Far);

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, k) = match self.0 {
            Far::FromMean(k) => ("zscore", k),
            Far::FromMedian(k) => ("mad", k),
            Far::FromQuartiles(k) => ("iqr", k),
        };
        write!(f, "method => '{method}', k => {k}")
    }
}

/// The names of columns, as they stand in a list.
pub(crate) fn list(names: &[Name]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.text.as_str()).collect();
    names.join(", ")
}
