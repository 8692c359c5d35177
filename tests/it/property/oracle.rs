//! The oracle: DataFusion's own batch SQL over the rows in memory. It shares the SQL functions with
//! Weir, but neither its windows nor its runtime, sources and sinks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use super::input::Input;
use crate::program::block_on;

/// Tables in memory.
pub(super) struct Oracle {
    context: SessionContext,
}

impl Oracle {
    /// Makes each input a table of its name.
    pub(super) fn new(inputs: &[&Input]) -> Self {
        let context = SessionContext::new();
        for input in inputs {
            let table = MemTable::try_new(input.schema(), vec![input.batches()]).unwrap();
            context.register_table(input.name, Arc::new(table)).unwrap();
        }
        Self { context }
    }

    /// Gives the rows of a query.
    pub(super) fn run(&self, sql: &str) -> Vec<RecordBatch> {
        block_on(async {
            let frame = self.context.sql(sql).await;
            let frame = frame.unwrap_or_else(|error| panic!("{error}\n{sql}"));
            let rows = frame.collect().await;
            rows.unwrap_or_else(|error| panic!("{error}\n{sql}"))
        })
    }
}
