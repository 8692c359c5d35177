//! A table that pipelines keep in files, as DataFusion sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt as _, TryStreamExt as _};
use weir_engine::env::Env;
use weir_engine::error::{Error, Result};
use weir_engine::history::History;

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

    /// The files of all pipelines as they are now.
    fn files(&self) -> Result<Vec<(Arc<dyn History>, String)>> {
        let mut files = Vec::new();
        for store in &self.stores {
            let names = store.files(self.name)?.into_iter();
            files.extend(names.map(|file| (Arc::clone(store), file)));
        }
        Ok(files)
    }
}

impl PartitionStream for KeptTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let table = self.clone();
        let listed = {
            let (table, env) = (self.clone(), self.env.clone());
            async move { env.blocking(move || table.files()).await? }
        };
        let rows = futures::stream::once(listed).and_then(move |files| {
            let table = table.clone();
            async move { Ok(read(table, files)) }
        });
        let rows = rows.try_flatten().map_err(DataFusionError::from);
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// The rows of files, one file after the other.
fn read(
    table: KeptTable,
    files: Vec<(Arc<dyn History>, String)>,
) -> impl futures::Stream<Item = Result<RecordBatch>> {
    let batches = futures::stream::iter(files).then(move |(store, file)| {
        let (env, schema, name) = (table.env.clone(), Arc::clone(&table.schema), table.name);
        async move {
            let batches = env.blocking(move || store.read(name, &file)).await??;
            let fitted = batches.into_iter().map(move |batch| fit(&batch, &schema));
            Ok::<_, Error>(futures::stream::iter(fitted))
        }
    });
    batches.try_flatten()
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
        let rows: Arc<dyn PartitionStream> = Arc::new(self.clone());
        let schema = Arc::clone(&self.schema);
        let plan = StreamingTableExec::try_new(schema, vec![rows], projection, None, false, None);
        Box::pin(async move { Ok(Arc::new(plan?) as Arc<dyn ExecutionPlan>) })
    }
}
