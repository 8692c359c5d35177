//! Passes the rows of all inputs on, under one schema.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Consumes, Operator, OperatorFactory, Output};
use crate::error::Result;
use crate::job::TaskContext;

/// UNION ALL.
#[derive(Debug)]
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// Makes the factory; the inputs differ from `schema` at most in names and nullability.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl OperatorFactory for Union {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Rename {
            schema: Arc::clone(&self.schema),
        }))
    }

    fn describe(&self) -> String {
        "Union".to_owned()
    }

    fn consumes(&self) -> Consumes {
        Consumes::Filters
    }
}

#[derive(Debug)]
struct Rename {
    schema: SchemaRef,
}

impl Operator for Rename {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        out.send(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?);
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
