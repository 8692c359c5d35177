//! `REFERENCE name [(column)]`: what a distribution is compared with.

use std::fmt;

use weir_engine::error::Place;

/// A column of a stored profile, or of a source or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The profile, source or view.
    pub table: String,
    /// The column.
    pub column: String,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "REFERENCE {}({})", self.table, self.column)
    }
}
