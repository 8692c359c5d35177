//! Quarantine tables as DataFusion sees them: the rows that rules have kept back, with what has
//! become of each, as of the statement that reads them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

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
use weir_engine::error::Result;
use weir_engine::quarantine::{Kept, Quarantine};

/// The schema in which quarantine tables are.
pub(crate) const SCHEMA: &str = "quarantine";

/// A quarantine table.
#[derive(Debug, Clone)]
pub(crate) struct QuarantineTable {
    /// Its name, without the schema.
    pub(crate) name: String,
    /// The pipeline's quarantine, if it has rows.
    pub(crate) store: Option<Arc<dyn Quarantine>>,
    /// The columns while it has none.
    pub(crate) columns: Option<SchemaRef>,
    /// Where reading runs.
    pub(crate) env: Env,
}

impl QuarantineTable {
    /// Its name in statements.
    pub(crate) fn full_name(&self) -> String {
        format!("{SCHEMA}.{}", self.name)
    }

    /// The rows as they are now.
    pub(crate) fn open(&self) -> Result<QuarantineRows> {
        let kept = match &self.store {
            Some(store) => store.open(&self.name)?,
            None => None,
        };
        let schema = match (&kept, &self.columns) {
            (Some(kept), _) => kept.schema(),
            (None, Some(columns)) => Arc::clone(columns),
            (None, None) => Arc::new(arrow::datatypes::Schema::empty()),
        };
        Ok(QuarantineRows {
            schema,
            kept,
            env: self.env.clone(),
        })
    }
}

/// The rows of a quarantine table at one time.
#[derive(Debug, Clone)]
pub(crate) struct QuarantineRows {
    schema: SchemaRef,
    kept: Option<Arc<dyn Kept>>,
    env: Env,
}

impl QuarantineRows {
    /// The last request that the rows' statuses are as of.
    pub(crate) fn last(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.last())
    }
}

/// Some of the parts of a table, read one after the other as they are asked for.
#[derive(Debug)]
struct Parts {
    table: QuarantineRows,
    numbers: Vec<usize>,
}

impl PartitionStream for Parts {
    fn schema(&self) -> &SchemaRef {
        &self.table.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (kept, env) = (self.table.kept.clone(), self.table.env.clone());
        let parts = futures::stream::iter(self.numbers.clone()).then(move |number| {
            let (kept, env) = (kept.clone(), env.clone());
            async move {
                let read = move || match &kept {
                    Some(kept) => kept.read(number),
                    None => Ok(Vec::new()),
                };
                let batches = env.blocking(read).await??;
                let batches = batches.into_iter().map(Ok::<_, DataFusionError>);
                Ok::<_, DataFusionError>(futures::stream::iter(batches))
            }
        });
        let schema = Arc::clone(&self.table.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten()))
    }
}

impl TableProvider for QuarantineRows {
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
        let parts = self.kept.as_ref().map_or(0, |kept| kept.parts());
        let count = state.config().target_partitions().clamp(1, parts.max(1));
        let partition = |number| -> Arc<dyn PartitionStream> {
            Arc::new(Parts {
                table: self.clone(),
                numbers: (number..parts).step_by(count).collect(),
            })
        };
        let plan = StreamingTableExec::try_new(
            Arc::clone(&self.schema),
            (0..count).map(partition).collect(),
            projection,
            None,
            false,
            None,
        );
        Box::pin(async move { Ok(Arc::new(plan?) as Arc<dyn ExecutionPlan>) })
    }
}
