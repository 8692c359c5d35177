//! What is asked of rows in quarantine: `REPLAY`, `RELEASE` and `DISCARD`.

use datafusion::sql::sqlparser::ast::{Expr, Query};
use weir_engine::quarantine::Action;

use super::Name;

/// `REPLAY FROM quarantine.t [WHERE ...] [SET (column = expression, ...)]`, and so on.
#[derive(Debug, Clone)]
pub struct QuarantineRequest {
    /// What is asked.
    pub action: Action,
    /// The quarantine table, without its schema.
    pub table: Name,
    /// `SELECT * FROM quarantine.t WHERE ...`: the rows that are meant, if they are open.
    pub rows: Box<Query>,
    /// The columns that get other values first.
    pub set: Vec<(Name, Expr)>,
}
