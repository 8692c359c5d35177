//! The logical node of a window table function: its input's columns, then `window_start` and
//! `window_end`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as DfResult, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use weir_engine::window::WindowSpec;

/// The name of the column with a window's first moment.
pub(crate) const WINDOW_START: &str = "window_start";
/// The name of the column with the first moment after a window.
pub(crate) const WINDOW_END: &str = "window_end";

/// How rows are put into windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Windowing {
    /// `TUMBLE`, `HOP` or `CUMULATE`: by the clock.
    Fixed(WindowSpec),
    /// `SESSION`: a row that comes `gap` microseconds or more after the one before it, of those with
    /// the same keys, starts a window; the window ends `gap` after its last row.
    Session {
        /// The pause in microseconds.
        gap: i64,
        /// Columns whose values have windows of their own.
        keys: Vec<Column>,
    },
}

impl fmt::Display for Windowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(spec) => spec.fmt(f),
            Self::Session { gap, keys } => {
                write!(f, "SESSION(gap {}", Length(*gap))?;
                for key in keys {
                    write!(f, ", {key}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// A length of time in its largest whole unit.
struct Length(i64);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (3_600_000_000, "h"),
            (60_000_000, "min"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        let found = units.iter().find(|(unit, _)| self.0 % unit == 0);
        let (unit, name) = found.copied().unwrap_or((1, "us"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// A window table function over a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTableNode {
    input: LogicalPlan,
    time: Column,
    windowing: Windowing,
    lateness: i64,
    schema: DFSchemaRef,
}

impl WindowTableNode {
    /// Puts rows of `input` into windows by its column `time`. Rows that come at most `lateness`
    /// microseconds after their window was complete still count.
    pub(crate) fn try_new(
        input: LogicalPlan,
        time: Column,
        windowing: Windowing,
        lateness: i64,
    ) -> DfResult<Self> {
        let (qualifier, field) = input.schema().qualified_field_from_column(&time)?;
        let window = |name: &str| {
            let field = Field::new(name, field.data_type().clone(), false);
            (qualifier.cloned(), Arc::new(field))
        };
        let mut fields: Vec<_> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        fields.extend([window(WINDOW_START), window(WINDOW_END)]);
        let schema = Arc::new(DFSchema::new_with_metadata(
            fields,
            input.schema().metadata().clone(),
        )?);
        Ok(Self {
            input,
            time,
            windowing,
            lateness,
            schema,
        })
    }

    /// The rows that are put into windows.
    pub(crate) fn input(&self) -> &LogicalPlan {
        &self.input
    }

    /// The column of event time.
    pub(crate) fn time(&self) -> &Column {
        &self.time
    }

    /// The windows.
    pub(crate) fn windowing(&self) -> &Windowing {
        &self.windowing
    }

    /// The windows, if they go by the clock.
    pub(crate) fn spec(&self) -> Option<WindowSpec> {
        match &self.windowing {
            Windowing::Fixed(spec) => Some(*spec),
            Windowing::Session { .. } => None,
        }
    }

    /// How long after their completion windows take late rows in, in microseconds.
    pub(crate) fn lateness(&self) -> i64 {
        self.lateness
    }
}

impl PartialOrd for WindowTableNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for WindowTableNode {
    fn name(&self) -> &'static str {
        "WindowTable"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = match &self.windowing {
            Windowing::Fixed(_) => &[][..],
            Windowing::Session { keys, .. } => keys,
        };
        let columns = std::iter::once(&self.time).chain(keys);
        columns.cloned().map(Expr::Column).collect()
    }

    /// A filter on the window columns must see them; all others commute with the replication. Rows
    /// that are left out make other sessions of those that stay, unless all of a key are.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let mut columns = HashSet::from([WINDOW_START.to_owned(), WINDOW_END.to_owned()]);
        if let Windowing::Session { keys, .. } = &self.windowing {
            let fields = self.schema.fields().iter();
            let others = fields.filter(|f| !keys.iter().any(|key| key.name == *f.name()));
            columns.extend(others.map(|field| field.name().clone()));
        }
        columns
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTable: {} over {}", self.windowing, self.time)?;
        if self.lateness > 0 {
            write!(f, ", lateness {}", Length(self.lateness))?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let mut columns = exprs
            .into_iter()
            .map(column)
            .collect::<DfResult<Vec<_>>>()?;
        let Some(input) = inputs.pop() else {
            return plan_err!("a window table has one input");
        };
        if columns.is_empty() {
            return plan_err!("a window table has a time column");
        }
        let keys = columns.split_off(1);
        let windowing = match &self.windowing {
            Windowing::Fixed(spec) => Windowing::Fixed(*spec),
            Windowing::Session { gap, .. } => Windowing::Session { gap: *gap, keys },
        };
        Self::try_new(input, columns.swap_remove(0), windowing, self.lateness)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        Some(vec![
            output_columns
                .iter()
                .copied()
                .filter(|column| *column < inputs)
                .collect(),
        ])
    }
}

/// The column that an expression of the node is.
fn column(expr: Expr) -> DfResult<Column> {
    match expr {
        Expr::Column(column) => Ok(column),
        // Rules may wrap a column in an alias to keep its name.
        other => match other.unalias() {
            Expr::Column(column) => Ok(column),
            other => plan_err!("the time or key of a window is {other}, not a column"),
        },
    }
}
