//! What all subtasks of a join with state share: the checked join, and how its rows are kept.

use super::program::Program;
use super::spec::Side;
use super::timing::Timing;

/// A checked join and what is kept of its rows.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) program: Program,
    pub(super) timing: Timing,
    /// Whether rows of each side have counts of their matches.
    pub(super) counts: [bool; 2],
    /// Whether rows have times.
    pub(super) times: bool,
}

impl Shape {
    /// A join that time bounds.
    pub(super) fn timed(program: Program, timing: Timing) -> Self {
        Self {
            counts: [Side::Left, Side::Right].map(|side| program.kind.counts(side)),
            times: timing != Timing::Window,
            program,
            timing,
        }
    }

    pub(super) fn counts(&self, side: Side) -> bool {
        *side.get(&self.counts)
    }

    pub(super) fn fingerprint(&self) -> String {
        format!("{:?} {}", self.timing, self.program.fingerprint())
    }
}
