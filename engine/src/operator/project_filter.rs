//! Projection and filter, fused: evaluates `PhysicalExpr`s per batch.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_physical_expr::PhysicalExpr;

use super::{Consumes, Operator, OperatorFactory, Output};
use crate::error::{Error, Result};
use crate::job::TaskContext;

/// `SELECT columns WHERE predicate`, without state.
#[derive(Debug)]
pub struct ProjectFilter {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    schema: SchemaRef,
}

impl ProjectFilter {
    /// Keeps the rows for which the predicate is true.
    pub fn filter(predicate: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> Self {
        Self {
            predicate: Some(predicate),
            columns: None,
            schema,
        }
    }

    /// Computes columns; `schema` names them.
    pub fn project(columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Self {
        Self {
            predicate: None,
            columns: Some(columns),
            schema,
        }
    }

    /// Filters, then computes columns of what is kept.
    pub fn filter_project(
        predicate: Arc<dyn PhysicalExpr>,
        columns: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            predicate: Some(predicate),
            columns: Some(columns),
            schema,
        }
    }
}

impl OperatorFactory for ProjectFilter {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn create(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Stateless {
            predicate: self.predicate.clone(),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
        }))
    }

    fn describe(&self) -> String {
        let list = |exprs: &[Arc<dyn PhysicalExpr>]| {
            exprs
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match (&self.predicate, &self.columns) {
            (Some(p), Some(c)) => format!("Filter [{p}] Project [{}]", list(c)),
            (Some(p), None) => format!("Filter [{p}]"),
            (None, Some(c)) => format!("Project [{}]", list(c)),
            (None, None) => "Pass".to_owned(),
        }
    }

    fn consumes(&self) -> Consumes {
        Consumes::Filters
    }
}

#[derive(Debug)]
struct Stateless {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    schema: SchemaRef,
}

impl Operator for Stateless {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let batch = match &self.predicate {
            Some(predicate) => {
                let keep = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
                let keep = keep
                    .as_boolean_opt()
                    .ok_or_else(|| Error::internal("a predicate gave no truth values"))?;
                if keep.true_count() == 0 {
                    return Ok(());
                }
                if keep.true_count() == batch.num_rows() {
                    batch
                } else {
                    filter_record_batch(&batch, keep)?
                }
            }
            None => batch,
        };
        let Some(columns) = &self.columns else {
            out.send(batch);
            return Ok(());
        };
        let rows = batch.num_rows();
        let arrays = columns
            .iter()
            .map(|expr| Ok(expr.evaluate(&batch)?.into_array(rows)?))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        out.send(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?);
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
