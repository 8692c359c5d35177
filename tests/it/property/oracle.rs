//! The oracle: DataFusion's own batch SQL over the rows in memory. It shares the SQL functions with
//! Weir, but neither its windows nor its runtime, sources and sinks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use super::input::Input;
use crate::program::block_on;

/// Runs a query over the input as the table `t`.
pub(super) fn run(input: &Input, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    let table = MemTable::try_new(input.schema(), vec![input.batches()]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    block_on(async {
        let frame = context
            .sql(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        frame
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"))
    })
}
