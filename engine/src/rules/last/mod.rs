//! What rules measure of the last rows of a table, `SCOPE LAST (n ROWS)` and `LAST (INTERVAL ..)`, or of those between
//! two checkpoints.
//!
//! An aggregation cannot forget a row, so the rows themselves are kept, with the columns that the rule needs, and are
//! measured when a verdict is due: before each checkpoint and at the end. What was measured goes to
//! [`check`](super::check), a row for each segment of which something else is known than before.

mod epoch;
mod kept;
mod operator;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::epoch::Epoch;
use self::operator::LastRows;
use super::gate::Measures;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::updating::RowCodec;

/// Which rows one verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// So many of each segment.
    Rows(usize),
    /// Those within so many microseconds of event time behind the watermark.
    Time(i64),
    /// Those since the last checkpoint.
    Epoch,
}

/// Rows, and what is measured of the last of them.
#[derive(Debug, Clone)]
pub struct LastSpec {
    /// The rows.
    pub input: SchemaRef,
    /// The column of their event time, which says which are the last; without it they are in the order in which
    /// they come.
    pub time: Option<usize>,
    /// The column that says which rows the rule is about: the others only show how late it is.
    pub when: Option<usize>,
    /// Which of them are meant.
    pub reach: Reach,
    /// What is measured, over these columns.
    pub measures: Arc<Measures>,
    /// Whether the job ends with its input: nothing is measured before.
    pub bounded: bool,
}

/// Makes the operator; there is one subtask of it.
#[derive(Debug)]
pub struct LastFactory {
    spec: Arc<LastSpec>,
    codecs: Arc<Codecs>,
}

/// How rows are kept.
#[derive(Debug)]
struct Codecs {
    rows: RowCodec,
    measured: RowCodec,
}

impl LastFactory {
    /// Refuses rows that can't be kept.
    pub fn try_new(mut spec: LastSpec) -> Result<Self> {
        spec.measures = Arc::new(spec.measures.over(&spec.input)?);
        let of = |schema: &SchemaRef| {
            let fields = schema.fields().iter();
            RowCodec::of(fields.map(|field| field.data_type().clone()))
        };
        Ok(Self {
            codecs: Arc::new(Codecs {
                rows: of(&spec.input)?,
                measured: of(spec.measures.schema())?,
            }),
            spec: Arc::new(spec),
        })
    }
}

impl OperatorFactory for LastFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.spec.measures.schema())
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let (spec, codecs) = (Arc::clone(&self.spec), Arc::clone(&self.codecs));
        Ok(match spec.reach {
            Reach::Epoch => Box::new(Epoch::new(&spec, context)?),
            Reach::Rows(_) | Reach::Time(_) => Box::new(LastRows::new(spec, codecs, context)),
        })
    }

    fn describe(&self) -> String {
        match self.spec.reach {
            Reach::Rows(count) => format!("Last {count} rows"),
            Reach::Time(micros) => format!("Last {} s", micros as f64 / 1e6),
            Reach::Epoch => "Rows between checkpoints".to_owned(),
        }
    }

    fn fingerprint(&self) -> Option<String> {
        let timed = self.spec.time.is_some();
        (self.spec.reach != Reach::Epoch)
            .then(|| format!("last {timed} {:?}", self.codecs.rows.types()))
    }

    fn outlives_input(&self) -> bool {
        true
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

#[cfg(test)]
mod tests;
