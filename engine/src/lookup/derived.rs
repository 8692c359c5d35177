//! A lookup whose rows are filtered and computed before anybody sees them: what a query says of a
//! table that it looks up.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion_physical_expr::PhysicalExpr;

use super::{Found, Lookup, Settings};
use crate::error::{Error, Kind, Result, codes};

/// One thing that is done to the rows, in order.
#[derive(Debug, Clone)]
pub enum Step {
    /// Only the rows stay for which this is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// The columns become these.
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// A lookup with steps behind it.
#[derive(Debug)]
pub struct Derived {
    lookup: Arc<dyn Lookup>,
    steps: Vec<Step>,
    schema: SchemaRef,
}

impl Derived {
    /// Puts steps behind a lookup.
    pub fn new(lookup: Arc<dyn Lookup>, steps: Vec<Step>) -> Self {
        let last = steps.iter().rev().find_map(|step| match step {
            Step::Project(_, schema) => Some(Arc::clone(schema)),
            Step::Filter(_) => None,
        });
        Self {
            schema: last.unwrap_or_else(|| lookup.schema()),
            lookup,
            steps,
        }
    }
}

#[async_trait]
impl Lookup for Derived {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn settings(&self) -> Settings {
        self.lookup.settings()
    }

    fn describe(&self) -> String {
        self.lookup.describe()
    }

    async fn get(&self, keys: &[ArrayRef]) -> Result<Found> {
        let mut found = self.lookup.get(keys).await?;
        for step in &self.steps {
            found = apply(step, found)?;
        }
        Ok(found)
    }
}

fn apply(step: &Step, found: Found) -> Result<Found> {
    let Found { rows, keys } = found;
    match step {
        Step::Filter(predicate) => {
            let kept = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
            let kept = kept.as_boolean_opt();
            let kept = kept.ok_or_else(|| Error::internal("a filter is not a truth value"))?;
            let numbers = kept.iter().zip(keys);
            let keys = numbers.filter_map(|(kept, key)| (kept == Some(true)).then_some(key));
            Ok(Found {
                keys: keys.collect(),
                rows: filter_record_batch(&rows, kept)?,
            })
        }
        Step::Project(columns, schema) => {
            let columns = columns
                .iter()
                .map(|column| Ok(column.evaluate(&rows)?.into_array(rows.num_rows())?))
                .collect::<Result<Vec<ArrayRef>>>()?;
            let fields = schema.fields().iter().zip(&columns);
            for (field, column) in fields {
                if !field.is_nullable() && column.null_count() > 0 {
                    return Err(null(field.name()));
                }
            }
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let schema = Arc::clone(schema);
            let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
            Ok(Found { rows, keys })
        }
    }
}

fn null(column: &str) -> Error {
    Error::new(
        Kind::Data,
        codes::DECODE,
        format!("column \"{column}\" is NOT NULL, but a row that was looked up has NULL in it"),
    )
    .hint("leave NOT NULL out of CREATE SOURCE")
}

/// The rows of [`Found`] that belong to each key, as row numbers.
pub(crate) fn by_key(found: &Found, keys: usize) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); keys];
    for (row, key) in (0_u32..).zip(&found.keys) {
        if let Some(rows) = rows.get_mut(*key as usize) {
            rows.push(row);
        }
    }
    rows
}

/// Some of the rows, in memory of their own.
pub(crate) fn copy(rows: &RecordBatch, numbers: Vec<u32>) -> Result<RecordBatch> {
    Ok(take_record_batch(rows, &UInt32Array::from(numbers))?)
}
