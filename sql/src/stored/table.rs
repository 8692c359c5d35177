//! A materialized view of another pipeline as DataFusion sees it: a table.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::changelog::rows_schema;
use weir_engine::checkpoint::ViewInfo;
use weir_engine::error::Result;

use super::{StoredPipeline, changed, find};

/// A view; its rows are those of the epoch that its pipeline's reader stands at.
#[derive(Debug, Clone)]
pub(crate) struct StoredView {
    pub(super) pipeline: Arc<StoredPipeline>,
    name: String,
    schema: SchemaRef,
}

impl StoredView {
    /// Makes the table of a view.
    pub(crate) fn new(pipeline: &Arc<StoredPipeline>, view: &ViewInfo) -> Self {
        Self {
            pipeline: Arc::clone(pipeline),
            name: view.name.clone(),
            schema: rows_schema(&view.schema.0),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its pipeline's state is.
    pub(crate) fn place(&self) -> &str {
        self.pipeline.place()
    }

    /// The rows now.
    pub(super) async fn rows(&self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let Some(manifest) = self.pipeline.newest() else {
            return Err(changed(&self.name, "its pipeline has no checkpoint"));
        };
        let view = find(&manifest, &self.name)?;
        if rows_schema(&view.schema.0) != self.schema {
            return Err(changed(&self.name, "it has other columns now"));
        }
        let snapshot = self.pipeline.rows(&manifest, view).await?;
        let env = self.pipeline.env.clone();
        env.blocking(move || snapshot.batches(rows_max)).await?
    }

    async fn plan(
        &self,
        projection: Option<&Vec<usize>>,
        partitions: usize,
        rows_max: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batches = self.rows(rows_max).await?;
        let mut spread = vec![Vec::new(); partitions.clamp(1, batches.len().max(1))];
        let count = spread.len();
        for (at, batch) in batches.into_iter().enumerate() {
            if let Some(partition) = spread.get_mut(at % count) {
                partition.push(batch);
            }
        }
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(
            &spread,
            schema,
            projection.cloned(),
        )?)
    }
}

impl TableProvider for StoredView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Written by hand: `#[async_trait]` over Expr costs seconds of compile time.
    fn scan<'a, 'b, 'c, 'd, 'out>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _filters: &'d [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = DfResult<Arc<dyn ExecutionPlan>>> + Send + 'out>>
    where
        'a: 'out,
        'b: 'out,
        'c: 'out,
        'd: 'out,
        Self: 'out,
    {
        let config = state.config();
        let (partitions, rows) = (config.target_partitions(), config.batch_size());
        Box::pin(async move { Ok(self.plan(projection, partitions, rows).await?) })
    }
}
