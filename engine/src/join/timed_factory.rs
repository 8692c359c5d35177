//! Joins that time bounds, as the planner makes them: by window and by interval.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use super::program::Program;
use super::shape::Shape;
use super::spec::JoinSpec;
use super::timed::TimedJoin;
use super::timing::Timing;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::window::length::Length;

/// Makes joins of rows in the same window.
///
/// Pairs come out at once; rows without a match, and the state of a window, go when the watermark
/// reaches the window's end. Rows of a window that is closed are late.
#[derive(Debug)]
pub struct WindowJoinFactory {
    shape: Arc<Shape>,
    sources: [Arc<str>; 2],
}

impl WindowJoinFactory {
    /// Checks a join. `on` of the join must have the windows' starts and ends among its keys;
    /// `window_ends` are the ends, a timestamp over each input.
    pub fn try_new(spec: JoinSpec, window_ends: [Arc<dyn PhysicalExpr>; 2]) -> Result<Self> {
        let program = Program::try_new(spec, Some(window_ends))?;
        Ok(Self {
            shape: Arc::new(Shape::timed(program, Timing::Window)),
            sources: ["".into(), "".into()],
        })
    }

    /// Names the sources that feed each input, for the dead letters of late rows.
    pub fn with_sources(self, sources: [Arc<str>; 2]) -> Self {
        Self { sources, ..self }
    }
}

/// Makes joins of rows whose times are near each other.
///
/// Pairs come out at once; a row without a match when no row that is not late can match it. A row
/// is late when its time is before the watermark. Results may be older than the watermark by the
/// bounds of the interval: what goes on is held back by as much.
#[derive(Debug)]
pub struct IntervalJoinFactory {
    shape: Arc<Shape>,
    sources: [Arc<str>; 2],
}

impl IntervalJoinFactory {
    /// Checks a join of rows for which `right + lower <= left <= right + upper`, where `times` are
    /// the event times, a timestamp over each input, and the bounds are microseconds.
    pub fn try_new(
        spec: JoinSpec,
        times: [Arc<dyn PhysicalExpr>; 2],
        lower: i64,
        upper: i64,
    ) -> Result<Self> {
        let program = Program::try_new(spec, Some(times))?;
        let timing = Timing::interval(lower, upper);
        Ok(Self {
            shape: Arc::new(Shape::timed(program, timing)),
            sources: ["".into(), "".into()],
        })
    }

    /// Names the sources that feed each input, for the dead letters of late rows.
    pub fn with_sources(self, sources: [Arc<str>; 2]) -> Self {
        Self { sources, ..self }
    }
}

impl OperatorFactory for WindowJoinFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TimedJoin::new(
            &self.shape,
            &self.sources,
            context,
        )))
    }

    fn describe(&self) -> String {
        format!("Window join {}", self.shape.program.text())
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.shape.fingerprint())
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

impl OperatorFactory for IntervalJoinFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shape.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TimedJoin::new(
            &self.shape,
            &self.sources,
            context,
        )))
    }

    fn describe(&self) -> String {
        let text = self.shape.program.text();
        match self.shape.timing {
            Timing::Interval { lower, upper, .. } => {
                let (lower, upper) = (Length(lower), Length(upper));
                format!("Interval join {text} within {lower} to {upper}")
            }
            _ => format!("Interval join {text}"),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.shape.fingerprint())
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}
