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

/// `TUMBLE`, `HOP` or `CUMULATE` over a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WindowTableNode {
    input: LogicalPlan,
    time: Column,
    spec: WindowSpec,
    schema: DFSchemaRef,
}

impl WindowTableNode {
    /// Puts rows of `input` into windows by its column `time`.
    pub(crate) fn try_new(input: LogicalPlan, time: Column, spec: WindowSpec) -> DfResult<Self> {
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
            spec,
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
    pub(crate) fn spec(&self) -> WindowSpec {
        self.spec
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
        vec![Expr::Column(self.time.clone())]
    }

    /// A filter on the window columns must see them; all others commute with the replication.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([WINDOW_START.to_owned(), WINDOW_END.to_owned()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTable: {} over {}", self.spec, self.time)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let (Some(time), Some(input)) = (exprs.pop(), inputs.pop()) else {
            return plan_err!("a window table has one time column and one input");
        };
        let time = match time {
            Expr::Column(column) => column,
            // Rules may wrap a column in an alias to keep its name.
            other => match other.unalias() {
                Expr::Column(column) => column,
                other => return plan_err!("the time of a window is {other}, not a column"),
            },
        };
        Self::try_new(input, time, self.spec)
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
