//! Rules over many rows that rows wait for: they are on hold until their window is closed, or their batch
//! is whole, and are then published or quarantined together.
//!
//! The rules of a table that look at the same rows are a [`GateStage`]: behind the rules over single rows,
//! before those over keys. What they measure is computed of the rows on hold, so that what is measured is
//! what is published. Rows on hold are in checkpoints, and on disk where memory is short ([`hold`]); they are
//! counted in the epoch in which they are let go. A batch is what becomes visible at once: all rows of a job
//! that ends, in a stream those between two barriers.

mod again;
mod hold;
mod measures;
mod operator;
mod panes;
mod stage;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::reassign_expr_columns;

pub(in crate::rules) use measures::Measuring;
pub use measures::{Measure, Measures};
pub(super) use operator::GateFactory;
pub use stage::GateStage;

use super::check::{Check, ChecksSpec, Consequence};
use super::rule::names_in;
use crate::error::Result;
use crate::window::WindowSpec;

/// The rows that one verdict is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Over {
    /// Those that become visible at once.
    Batch,
    /// All of a table that ends.
    Table,
    /// Those of a window.
    Window {
        /// The time of a row.
        time: Arc<dyn PhysicalExpr>,
        /// Windows side by side.
        spec: WindowSpec,
        /// One without rows is judged too.
        every: bool,
    },
}

/// One rule over many rows that rows wait for.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The rows of a verdict.
    pub over: Over,
    /// What is measured of them, by segment.
    pub measures: Arc<Measures>,
    /// What is asked of the measures: segments, start and end of the window if there is one, measures.
    pub check: Check,
    /// The job ends with its input, and nothing is visible before.
    pub bounded: bool,
}

impl Gate {
    /// Whether rows wait for the verdict. One that only tells of a batch, or ends the job before the batch
    /// is visible, needs none to wait.
    pub fn holds(&self) -> bool {
        self.quarantines() || matches!(self.over, Over::Window { .. })
    }

    /// Whether rows go to quarantine when it does not hold.
    pub fn quarantines(&self) -> bool {
        matches!(self.check.consequence, Consequence::Quarantine(_))
    }

    /// What rows are divided by.
    fn segments(&self) -> &[Arc<dyn PhysicalExpr>] {
        self.measures.keys()
    }

    /// The names of the columns that it reads.
    pub(super) fn columns(&self) -> BTreeSet<String> {
        let time = match &self.over {
            Over::Window { time, .. } => names_in(time),
            Over::Batch | Over::Table => Vec::new(),
        };
        let measured = self.measures.exprs().flat_map(names_in);
        measured.chain(time).collect()
    }

    /// The same over rows that have its columns in other places.
    pub(super) fn over(&self, schema: &Schema) -> Result<Self> {
        let place = |expr: &Arc<dyn PhysicalExpr>| {
            Ok::<_, crate::Error>(reassign_expr_columns(Arc::clone(expr), schema)?)
        };
        let over = match &self.over {
            Over::Batch => Over::Batch,
            Over::Table => Over::Table,
            Over::Window { time, spec, every } => Over::Window {
                time: place(time)?,
                spec: *spec,
                every: *every,
            },
        };
        Ok(Self {
            over,
            measures: Arc::new(self.measures.over(schema)?),
            ..self.clone()
        })
    }

    /// The columns of what is judged: those of the measures, with the window behind the segments.
    fn judged_schema(&self) -> SchemaRef {
        let measures = self.measures.schema().fields().iter();
        let mut fields: Vec<_> = measures.map(Arc::clone).collect();
        if let Over::Window { .. } = self.over {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            for (at, name) in ["window_start", "window_end"].into_iter().enumerate() {
                let field = Arc::new(Field::new(name, micros.clone(), true));
                fields.insert(self.segments().len() + at, field);
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// What judges the measures.
    fn checks(&self, table: &str) -> Result<ChecksSpec> {
        let first = self.segments().len();
        let (scope, every) = match &self.over {
            Over::Batch => ("batch", None),
            Over::Table => ("table", None),
            Over::Window { every: false, .. } => ("window", None),
            Over::Window { spec, .. } => (
                "every",
                Some((spec.size(), self.judged(&self.measures.of_nothing()?, 0)?)),
            ),
        };
        Ok(ChecksSpec {
            table: table.to_owned(),
            scope,
            input: self.judged_schema(),
            segments: (0..first).collect(),
            window: matches!(self.over, Over::Window { .. }).then_some((first, first + 1)),
            bounded: self.bounded,
            every,
            baselines: Vec::new(),
            checks: vec![self.check.clone()],
        })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.check.text)
    }
}
