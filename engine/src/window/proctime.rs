//! Processing time: rows get the time of the clock, and the clock gives the watermark.
//!
//! The times of one subtask never go back, also when the clock does, so that no row is late.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::program::check_time;
use super::times;
use crate::env::Env;
use crate::error::Result;
use crate::job::TaskContext;
use crate::message::EventTime;
use crate::operator::{Consumes, Operator, OperatorFactory, Output};

/// Makes the operators that give rows their processing time: in front of windows over it.
#[derive(Debug)]
pub struct ProcTimeFactory {
    schema: SchemaRef,
    column: usize,
}

impl ProcTimeFactory {
    /// The values of a timestamp column are replaced by the clock's time; the other columns and
    /// the schema stay as they are.
    pub fn try_new(schema: SchemaRef, column: usize) -> Result<Self> {
        check_time(&schema, column)?;
        Ok(Self { schema, column })
    }
}

impl OperatorFactory for ProcTimeFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ProcTime {
            column: self.column,
            env: context.job.env.clone(),
            last: i64::MIN,
        }))
    }

    fn describe(&self) -> String {
        let column = self.schema.fields().get(self.column);
        format!("ProcessingTime as {}", column.map_or("?", |f| f.name()))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Filters
    }
}

#[derive(Debug)]
struct ProcTime {
    column: usize,
    env: Env,
    /// The last time that was given.
    last: i64,
}

impl Operator for ProcTime {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        self.last = self.last.max(self.env.clock().now_micros());
        let rows = batch.num_rows();
        let (schema, mut columns, _) = batch.into_parts();
        if let (Some(column), Some(field)) = (
            columns.get_mut(self.column),
            schema.fields().get(self.column),
        ) {
            *column = times::timestamps(vec![self.last; rows], field.data_type())?;
        }
        out.send(RecordBatch::try_new(schema, columns)?);
        Ok(())
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        self.last = self.last.max(now_micros);
        out.watermark(EventTime(self.last));
        Ok(())
    }

    /// The input's event time means nothing behind it.
    fn output_watermark(&self, _watermark: EventTime) -> EventTime {
        EventTime(self.last)
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
