//! A source without rows: that of a table of which only what requests take out of quarantine is read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use weir_engine::error::{Error, Result};
use weir_engine::job::TaskContext;
use weir_engine::source::{Boundedness, Source, Split, SplitReader};

/// Gives no rows.
#[derive(Debug)]
pub(super) struct Nothing {
    schema: SchemaRef,
    table: String,
}

impl Nothing {
    /// No rows of these columns.
    pub(super) fn of(schema: SchemaRef, table: &str) -> Self {
        let table = table.to_owned();
        Self { schema, table }
    }
}

#[async_trait]
impl Source for Nothing {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        Ok(Vec::new())
    }

    async fn open(&self, _: &Split, _: &[usize], _: &TaskContext) -> Result<Box<dyn SplitReader>> {
        Err(Error::internal("a source without rows has no splits"))
    }

    fn describe(&self) -> String {
        format!("quarantine of {}", self.table)
    }
}
