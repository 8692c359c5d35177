//! A table that pipelines keep in files, as DataFusion sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::env::Env;
use weir_engine::error::Result;
use weir_engine::history::History;

use crate::stored::Parts;

/// A table of some pipelines.
#[derive(Debug, Clone)]
pub(super) struct KeptTable {
    name: &'static str,
    schema: SchemaRef,
    stores: Vec<Arc<dyn History>>,
    env: Env,
}

impl KeptTable {
    /// What these pipelines keep under a name.
    pub(super) fn new(
        name: &'static str,
        schema: SchemaRef,
        stores: Vec<Arc<dyn History>>,
        env: Env,
    ) -> Self {
        Self {
            name,
            schema,
            stores,
            env,
        }
    }

    /// The files of all pipelines as they are now, one part each.
    async fn parts(&self) -> Result<Parts> {
        let table = self.clone();
        let files = self.env.blocking(move || table.files()).await??;
        let (table, count) = (self.clone(), files.len());
        let read = move |number: usize| {
            let (table, file) = (table.clone(), files.get(number).cloned());
            async move {
                let Some((store, file)) = file else {
                    return Ok(Vec::new());
                };
                let name = table.name;
                let read = move || store.read(name, &file);
                let batches = table.env.blocking(read).await??;
                let fitted = batches.iter().map(|batch| fit(batch, &table.schema));
                fitted.collect()
            }
        };
        Ok(Parts::new(&self.schema, count, read))
    }

    /// The files of all pipelines.
    fn files(&self) -> Result<Vec<(Arc<dyn History>, String)>> {
        let mut files = Vec::new();
        for store in &self.stores {
            let names = store.files(self.name)?.into_iter();
            files.extend(names.map(|file| (Arc::clone(store), file)));
        }
        Ok(files)
    }
}

/// Brings rows that another version has kept into the columns of this one.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        Ok(match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type())?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

impl TableProvider for KeptTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Written by hand: `#[async_trait]` over Expr costs seconds of compile time.
    fn scan<'a, 'b, 'c, 'd, 'out>(
        &'a self,
        _state: &'b dyn Session,
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
        // One partition, so that rows come in the order in which they were kept.
        Box::pin(async move { self.parts().await?.plan(1, projection) })
    }
}
