//! `VALIDATE TABLE`: rules asked of what a table holds now.

use super::Name;

/// `VALIDATE TABLE table [USING set, ...] [FAIL ON ...]`.
#[derive(Debug, Clone)]
pub struct ValidateTable {
    /// The table.
    pub table: Name,
    /// The sets whose rules are asked; those of the table itself without any.
    pub using: Vec<Name>,
    /// The least severity of a rule that fails the statement if it does not hold.
    pub fail_on: FailOn,
}

/// Rules that fail a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailOn {
    /// All of them.
    Info,
    /// Warnings and critical ones.
    Warning,
    /// Critical ones.
    Critical,
    /// None.
    None,
}

impl FailOn {
    /// Whether a rule of this severity fails the statement.
    pub(crate) fn takes(self, severity: &str) -> bool {
        let of_rule = match severity {
            "critical" => Self::Critical,
            "warning" => Self::Warning,
            _ => Self::Info,
        };
        of_rule >= self
    }
}
