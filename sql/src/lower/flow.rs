//! Where a lowered stretch of the plan ends, and what is known of its columns.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::changelog;
use weir_engine::graph::NodeIndex;
use weir_engine::window::{WindowKind, WindowSpec};

/// The windows that a column tells of. A table function over windowed rows makes windows of a
/// greater depth, which are others even if their lengths are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// Which they are.
    pub(super) kind: Kind,
    /// For how long after its end a window takes rows, in microseconds.
    pub(super) lateness: i64,
    /// How many window table functions lie under them, their own included.
    pub(super) depth: u32,
}

/// How rows find their windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By the clock.
    Fixed(WindowSpec),
    /// By the pauses between rows of equal keys, of so many microseconds.
    Session(i64),
}

impl Windows {
    /// Their length in microseconds, where all have the same.
    pub(super) fn length(&self) -> Option<i64> {
        match self.kind {
            Kind::Fixed(spec) => match spec.kind() {
                WindowKind::Tumble { .. } | WindowKind::Hop { .. } => Some(spec.size()),
                WindowKind::Cumulate { .. } => None,
            },
            Kind::Session(_) => None,
        }
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Fixed(spec) => spec.fmt(f),
            Kind::Session(_) => f.write_str("SESSION"),
        }
    }
}

/// What a column means for event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Plain,
    /// The column over which the source's watermark is declared.
    EventTime,
    /// `PROCTIME()`: windows over it go by the clock.
    Clock,
    /// The first moment of a window.
    Start(Windows),
    /// The first moment after a window.
    End(Windows),
}

impl Role {
    /// The windows that it tells of.
    pub(super) fn windows(self) -> Option<Windows> {
        match self {
            Self::Start(windows) | Self::End(windows) => Some(windows),
            Self::Plain | Self::EventTime | Self::Clock => None,
        }
    }
}

/// Where a column of a flow comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A column of the node.
    Input(usize),
    /// The start of the window that is not lowered yet.
    Start,
    /// Its end.
    End,
}

/// A window table function that is not lowered yet: an aggregation above it may take it in.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// The windows.
    pub(super) windows: Windows,
    /// The time column among those of the node.
    pub(super) time: usize,
    /// The columns of the node whose values have sessions of their own.
    pub(super) keys: Vec<usize>,
}

impl Pending {
    /// Whether rows that are left out make other windows of those that stay.
    pub(super) fn is_session(&self) -> bool {
        matches!(self.windows.kind, Kind::Session(_))
    }
}

/// The end of a lowered stretch: a node, and what is still to be done with its rows. Filters,
/// window table functions and the picking of columns are kept back as long as what comes above may
/// take them in.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// The node.
    pub(super) at: NodeIndex,
    /// Its subtasks.
    pub(super) parallelism: u32,
    /// The rows of the node. Of a changelog the last column is the kind of each row, which is
    /// not among the columns of the flow: the plan does not know it.
    pub(super) schema: SchemaRef,
    /// A filter over the node's columns that is not lowered yet.
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    /// A window table function over the node that is not lowered yet.
    pub(super) pending: Option<Pending>,
    /// The columns of the flow, with their names.
    pub(super) columns: Vec<(Origin, String)>,
    /// What the columns of the node mean.
    pub(super) roles: Vec<Role>,
    /// Whether a watermark comes before the end.
    pub(super) watermarked: bool,
    /// The columns of the node, if any are known, of which the result has no two equal rows, and
    /// by which its changes are in order: all rows that agree in them take one way.
    pub(super) key: Option<Vec<usize>>,
}

impl Flow {
    /// A flow of all columns of a node.
    pub(super) fn of(at: NodeIndex, parallelism: u32, schema: SchemaRef, roles: Vec<Role>) -> Self {
        let columns = all(&schema);
        let (filter, pending) = (None, None);
        Self {
            at,
            parallelism,
            schema,
            filter,
            pending,
            columns,
            roles,
            watermarked: false,
            key: None,
        }
    }

    /// The same flow behind another node with the same subtasks, all of whose columns it has.
    pub(super) fn behind(self, at: NodeIndex, schema: SchemaRef, roles: Vec<Role>) -> Self {
        let columns = all(&schema);
        Self {
            at,
            schema,
            columns,
            roles,
            filter: None,
            pending: None,
            key: None,
            ..self
        }
    }

    /// Whether the rows are changes: insertions and deletions.
    pub(super) fn is_changelog(&self) -> bool {
        changelog::is_changelog(&self.schema)
    }

    /// How many columns the rows of the node have, the kind of a change left out.
    pub(super) fn width(&self) -> usize {
        self.schema.fields().len() - usize::from(self.is_changelog())
    }

    /// The meaning of a column of the node.
    pub(super) fn node_role(&self, index: usize) -> Role {
        self.roles.get(index).copied().unwrap_or(Role::Plain)
    }

    /// The meaning of a column of the flow.
    pub(super) fn role(&self, column: usize) -> Role {
        match (self.origin(column), &self.pending) {
            (Some(Origin::Input(index)), _) => self.node_role(index),
            (Some(Origin::Start), Some(pending)) => Role::Start(pending.windows),
            (Some(Origin::End), Some(pending)) => Role::End(pending.windows),
            _ => Role::Plain,
        }
    }

    /// Where a column comes from.
    pub(super) fn origin(&self, column: usize) -> Option<Origin> {
        self.columns.get(column).map(|(origin, _)| *origin)
    }

    /// The greatest depth of the windows that the columns tell of.
    pub(super) fn depth(&self) -> u32 {
        self.roles
            .iter()
            .filter_map(|role| role.windows())
            .map(|w| w.depth)
            .max()
            .unwrap_or(0)
    }

    /// Whether the columns are those of the node, under its names.
    pub(super) fn is_whole(&self) -> bool {
        self.columns.len() == self.width()
            && self
                .columns
                .iter()
                .zip(self.schema.fields())
                .enumerate()
                .all(|(at, ((origin, name), field))| {
                    *origin == Origin::Input(at) && name == field.name()
                })
    }
}

fn all(schema: &SchemaRef) -> Vec<(Origin, String)> {
    let rows = changelog::rows_schema(schema);
    let fields = rows.fields().iter().enumerate();
    fields
        .map(|(at, field)| (Origin::Input(at), field.name().clone()))
        .collect()
}
