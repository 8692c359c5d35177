//! The rules of a view or a sink as an operator: in front of where its rows become visible.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::judge::Judge;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory, Output};

/// Makes the operators that judge the rows of a table.
#[derive(Debug)]
pub struct RulesFactory {
    judge: Arc<Judge>,
    schema: SchemaRef,
    table: String,
}

impl RulesFactory {
    /// Judges rows of a schema before a table of this name.
    pub fn new(table: &str, judge: Arc<Judge>, schema: SchemaRef) -> Self {
        Self {
            judge,
            schema,
            table: table.to_owned(),
        }
    }
}

impl OperatorFactory for RulesFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Rules {
            judge: Arc::clone(&self.judge),
            task: context.clone(),
        }))
    }

    fn describe(&self) -> String {
        format!("Rules {}: {}", self.table, self.judge)
    }

    fn consumes(&self) -> Consumes {
        Consumes::Judges
    }
}

/// The counts are kept with the epochs of the job: the operator has no state.
#[derive(Debug)]
struct Rules {
    judge: Arc<Judge>,
    task: TaskContext,
}

impl Operator for Rules {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        out.send(self.judge.judge(batch, None, &self.task)?.rows);
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
