//! What a join is: its kind, keys, filter and output, as the planner says it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{JoinType, NullEquality};
use datafusion_physical_expr::PhysicalExpr;

/// Which rows a join gives. Semi and anti joins keep left rows: the planner swaps the inputs for
/// those that keep right ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without one.
    Left,
    /// Pairs, and right rows without one.
    Right,
    /// Pairs, and rows of both sides without one.
    Full,
    /// Left rows that have a pair, once each.
    LeftSemi,
    /// Left rows that have none.
    LeftAnti,
}

impl JoinKind {
    /// The kind of a join type of DataFusion; `None` where the inputs must be swapped first, and
    /// for mark joins.
    pub fn of(join: JoinType) -> Option<Self> {
        match join {
            JoinType::Inner => Some(Self::Inner),
            JoinType::Left => Some(Self::Left),
            JoinType::Right => Some(Self::Right),
            JoinType::Full => Some(Self::Full),
            JoinType::LeftSemi => Some(Self::LeftSemi),
            JoinType::LeftAnti => Some(Self::LeftAnti),
            _ => None,
        }
    }

    /// Whether pairs come out, not only rows of one side.
    pub(super) fn gives_pairs(self) -> bool {
        matches!(self, Self::Inner | Self::Left | Self::Right | Self::Full)
    }

    /// Whether rows of a side come out when they have no pair.
    pub(super) fn keeps_unmatched(self, side: Side) -> bool {
        match side {
            Side::Left => matches!(self, Self::Left | Self::Full | Self::LeftAnti),
            Side::Right => matches!(self, Self::Right | Self::Full),
        }
    }

    /// Whether it matters if a row of a side has a pair.
    pub(super) fn counts(self, side: Side) -> bool {
        self.keeps_unmatched(side) || (self == Self::LeftSemi && side == Side::Left)
    }
}

impl fmt::Display for JoinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::LeftSemi => "left semi",
            Self::LeftAnti => "left anti",
        })
    }
}

/// One of the two inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// Input 0.
    Left,
    /// Input 1.
    Right,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Left, Self::Right];

    pub(super) fn of_input(input: usize) -> Self {
        if input == 0 { Self::Left } else { Self::Right }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The member of a pair that belongs to the side.
    pub(super) fn get<T>(self, [left, right]: &[T; 2]) -> &T {
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }

    /// The member of a pair that belongs to the side.
    pub(super) fn get_mut<T>(self, [left, right]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }
}

/// A join as the planner says it. Input 0 is the left side, input 1 the right one.
///
/// Both inputs must be partitioned by hash over the expressions of `on`, in their order; equal
/// positions must have equal types. The columns of both sides are counted through: first all of the
/// left input, then all of the right one, without the column of row kinds of a changelog.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Which rows come out.
    pub kind: JoinKind,
    /// The schemas of the inputs.
    pub inputs: [SchemaRef; 2],
    /// What must be equal: an expression over the left input and one over the right input.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// Whether two NULL keys are equal.
    pub null_equality: NullEquality,
    /// What else must be true of a pair: an expression over the columns of both sides.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns that come out, of the columns of both sides. Semi and anti joins have left
    /// columns only.
    pub output: Vec<usize>,
    /// The names and types of what comes out, without a column of row kinds.
    pub schema: SchemaRef,
}
