//! The rules of a view or a sink as an operator: in front of where its rows become visible.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::judge::Judge;
use super::origin::Origin;
use super::requests::Requests;
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
            requests: Requests::of(&self.judge, context),
            schema: Arc::clone(&self.schema),
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
    requests: Option<Requests>,
    schema: SchemaRef,
    task: TaskContext,
}

impl Operator for Rules {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        out.send(
            self.judge
                .judge(batch, &Origin::default(), &self.task)?
                .rows,
        );
        Ok(())
    }

    /// Takes rows out of quarantine, those of one request at a time.
    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        let Some(requests) = &mut self.requests else {
            return Ok(false);
        };
        let Some(request) = requests.next()? else {
            return Ok(false);
        };
        self.task.metrics.add_in(request.rows.num_rows());
        let judged = self.judge.again(&request, &self.schema, &self.task)?;
        out.send(judged.rows);
        Ok(true)
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        if let Some(requests) = &mut self.requests {
            requests.ask_now();
        }
        Ok(())
    }
}
