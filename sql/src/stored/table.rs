//! A materialized view of another pipeline as DataFusion sees it: a table.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::changelog::rows_schema;
use weir_engine::checkpoint::ViewInfo;
use weir_engine::error::Result;
use weir_engine::view::Rows;

use super::parts::Parts;
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
    async fn rows(&self) -> Result<Rows> {
        let Some(manifest) = self.pipeline.newest() else {
            return Err(changed(&self.name, "its pipeline has no checkpoint"));
        };
        let view = find(&manifest, &self.name)?;
        if rows_schema(&view.schema.0) != self.schema {
            return Err(changed(&self.name, "it has other columns now"));
        }
        self.pipeline.rows(&manifest, view).await
    }

    async fn plan(
        &self,
        projection: Option<&Vec<usize>>,
        partitions: usize,
        rows_max: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = Arc::new(self.rows().await?);
        let pipeline = Arc::clone(&self.pipeline);
        let shares = Parts::new(&self.schema, rows.shares(), move |number| {
            let (pipeline, rows) = (Arc::clone(&pipeline), Arc::clone(&rows));
            async move { pipeline.share(&rows, number, rows_max).await }
        });
        Ok(shares.plan(partitions, projection)?)
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
