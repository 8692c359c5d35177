//! Tables whose rows are in parts that are read one by one, as they are asked for.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use weir_engine::error::{Error, Result};

/// Reads the part with a number.
type Read = Arc<dyn Fn(usize) -> BoxFuture<'static, Result<Vec<RecordBatch>>> + Send + Sync>;

/// All parts of a table.
pub(crate) struct Parts {
    schema: SchemaRef,
    count: usize,
    read: Read,
}

impl Parts {
    /// So many parts with rows of a schema.
    pub(crate) fn new<F>(
        schema: &SchemaRef,
        count: usize,
        read: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
    {
        Self {
            schema: Arc::clone(schema),
            count,
            read: Arc::new(move |number| Box::pin(read(number))),
        }
    }

    /// Reads them in so many partitions at most.
    pub(crate) fn plan(
        self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let partitions = partitions.clamp(1, self.count.max(1));
        let partition = |number| -> Arc<dyn PartitionStream> {
            Arc::new(Partition {
                schema: Arc::clone(&self.schema),
                numbers: (number..self.count).step_by(partitions).collect(),
                read: Arc::clone(&self.read),
            })
        };
        Ok(Arc::new(StreamingTableExec::try_new(
            Arc::clone(&self.schema),
            (0..partitions).map(partition).collect(),
            projection,
            None,
            false,
            None,
        )?))
    }
}

/// Some of the parts, read one after the other.
struct Partition {
    schema: SchemaRef,
    numbers: Vec<usize>,
    read: Read,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.numbers).finish()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let read = Arc::clone(&self.read);
        let parts = futures::stream::iter(self.numbers.clone()).then(move |number| read(number));
        let batches = parts.map_ok(|batches| futures::stream::iter(batches).map(Ok::<_, Error>));
        let batches = batches.try_flatten().map_err(DataFusionError::from);
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}
