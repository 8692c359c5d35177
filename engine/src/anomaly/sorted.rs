//! Rows that somebody has sorted by key, then by time: one model at a time.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use weir_anomaly::Model;

use super::AnomalySpec;
use super::feedback::Said;
use super::judge::{Lookup, judge};
use super::program::Program;
use crate::error::Result;

/// Judges rows that come in order: those of a key together, by time and what decides between equal times. The model of a
/// key is given up with its last row.
#[derive(Debug)]
pub struct SortedJudge {
    program: Arc<Program>,
    current: Current,
    /// What was said of anomalies in earlier runs, once it was looked for.
    said: Option<Vec<Said>>,
}

/// The series that is being judged.
#[derive(Debug)]
struct Current {
    program: Arc<Program>,
    key: Vec<u8>,
    model: Option<Model>,
}

impl SortedJudge {
    /// Checks what is judged.
    pub fn try_new(spec: AnomalySpec) -> Result<Self> {
        Ok(Self::of(Arc::new(Program::try_new(spec)?)))
    }

    fn of(program: Arc<Program>) -> Self {
        let current = Current {
            program: Arc::clone(&program),
            key: Vec::new(),
            model: None,
        };
        Self {
            program,
            current,
            said: None,
        }
    }

    /// The rows that come out: the input's columns and the verdict.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    /// One line for EXPLAIN.
    pub fn describe(&self) -> String {
        self.program.describe()
    }

    /// A judge of the same, that has seen nothing.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::of(Arc::clone(&self.program))
    }

    /// Judges the next rows.
    pub fn judge(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let times = self.program.times(rows)?;
        let said = match &mut self.said {
            Some(said) => said,
            none => none.insert(self.program.said_after(0)?),
        };
        judge(&self.program, rows, &times, (&mut self.current, said))
    }
}

impl Lookup for Current {
    fn model(&mut self, key: &[u8]) -> Result<&mut Model> {
        if self.key != key {
            self.model = None;
            self.key = key.to_vec();
        }
        match &mut self.model {
            Some(model) => Ok(model),
            none => Ok(none.insert(self.program.model()?)),
        }
    }
}
