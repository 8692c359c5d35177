//! When a window gives its results: at its end, or earlier and again, as a changelog.

use std::fmt;

use super::length::Length;

/// When results come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emit {
    /// Once, when the watermark has passed the window's end.
    #[default]
    OnClose,
    /// With every batch of rows that changes them.
    OnUpdate,
    /// At most once in this many microseconds of processing time, and when the window ends.
    Every(i64),
}

/// When results come out, and for how long after its end a window takes rows.
///
/// With the default each result comes once and is final. With anything else the results are a
/// changelog: see [`crate::changelog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Firing {
    /// When results come out.
    pub emit: Emit,
    /// Microseconds of event time after its end for which a window is kept: rows for it change
    /// its results. Rows that come after that are late.
    pub allowed_lateness: i64,
}

impl Firing {
    /// Whether results may change after they were given, so that they are a changelog.
    pub fn is_updating(&self) -> bool {
        self.emit != Emit::OnClose || self.allowed_lateness > 0
    }

    /// The watermark at which a window with this end takes no more rows.
    pub(super) fn gone(&self, end: i64) -> i64 {
        end.saturating_add(self.allowed_lateness.max(0))
    }
}

impl fmt::Display for Firing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.emit {
            Emit::OnClose => {}
            Emit::OnUpdate => f.write_str(" emit on update")?,
            Emit::Every(every) => write!(f, " emit every {}", Length(every))?,
        }
        if self.allowed_lateness > 0 {
            write!(f, " lateness {}", Length(self.allowed_lateness))?;
        }
        Ok(())
    }
}
