//! Bounded stretches of a plan that run in DataFusion as they are, and the scan that feeds them.
//!
//! [`ScanExec`] reads a [`Scan`] inside a DataFusion plan: the same splits, dead letters and
//! counters as in the runtime's own source tasks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result as DfResult, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext as DataFusionContext};
use datafusion_physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion_physical_plan::EmptyRecordBatchStream;
use datafusion_physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::estimate::Estimate;
use crate::feed::{Feed, Next, Reading, WatermarkMode};
use crate::job::{JobContext, TaskContext};
use crate::metrics::SubtaskMetrics;
use crate::scan::Scan;

/// Gives the context in which an island of a job runs: the job's memory and object stores, and
/// the job itself for the scans.
pub fn context(job: &JobContext) -> Arc<DataFusionContext> {
    let base = &job.datafusion;
    let config = base
        .session_config()
        .clone()
        .with_batch_size(job.batch_rows)
        .with_extension(Arc::new(job.clone()));
    Arc::new(DataFusionContext::new(
        base.task_id(),
        base.session_id(),
        config,
        base.scalar_functions().clone(),
        base.higher_order_functions().clone(),
        base.aggregate_functions().clone(),
        base.window_functions().clone(),
        base.runtime_env(),
    ))
}

/// Whether a plan reads a source: the rows of one that does come in another order each time.
pub fn reads(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<ScanExec>().is_some() || plan.children().into_iter().any(reads)
}

/// A scan as a leaf of a DataFusion plan.
#[derive(Debug)]
pub struct ScanExec {
    scan: Mutex<Arc<Scan>>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
    metrics: Arc<SubtaskMetrics>,
    feed: Mutex<Option<Arc<Feed>>>,
    in_order: AtomicBool,
}

impl ScanExec {
    /// Makes the leaf with so many partitions, which share the scan's splits. The estimate is of
    /// the columns that the scan reads.
    pub fn new(scan: Arc<Scan>, partitions: usize, estimate: Option<&Estimate>) -> Self {
        let statistics = match estimate {
            Some(estimate) if scan.arrivals.is_none() => estimate.statistics(&scan.columns),
            _ => Statistics::new_unknown(&scan.schema()),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(scan.schema()),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            scan: Mutex::new(scan),
            statistics: Arc::new(statistics),
            properties: Arc::new(properties),
            metrics: Arc::default(),
            feed: Mutex::default(),
            in_order: AtomicBool::new(false),
        }
    }

    /// Reads all splits one after the other, in one partition: another leaf over the same source has
    /// the rows in the same order.
    pub fn read_in_order(&self) {
        self.in_order.store(true, Relaxed);
    }

    /// The scan.
    pub fn scan(&self) -> Arc<Scan> {
        Arc::clone(&self.scan.lock())
    }

    /// Reads by another scan that gives the same columns. Which of several scans of one source
    /// keeps the counts is known only when the whole pipeline is planned.
    pub fn replace(&self, scan: Arc<Scan>) -> Result<()> {
        if scan.schema() != self.schema() {
            return Err(Error::internal(
                "a scan is replaced by one of other columns",
            ));
        }
        *self.scan.lock() = scan;
        Ok(())
    }

    /// What all partitions count together.
    pub fn counters(&self) -> &SubtaskMetrics {
        &self.metrics
    }

    fn feed(&self, job: &JobContext) -> Arc<Feed> {
        let mut feed = self.feed.lock();
        Arc::clone(feed.get_or_insert_with(|| {
            let clock = job.env.clock_arc();
            Arc::new(Feed::new(self.scan(), WatermarkMode::Off, clock))
        }))
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = self.scan();
        write!(f, "ScanExec: {}, {}", scan.name, scan.describe())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.properties.equivalence_properties().schema())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        Ok(match partition {
            // Which partition reads which splits is known only when it does.
            Some(_) => Arc::new(Statistics::new_unknown(&self.schema())),
            None => Arc::clone(&self.statistics),
        })
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<DataFusionContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let job = context
            .session_config()
            .get_extension::<JobContext>()
            .ok_or_else(|| Error::internal("a scan runs outside a job"))?;
        if partition > 0 && self.in_order.load(Relaxed) {
            return Ok(Box::pin(EmptyRecordBatchStream::new(self.schema())));
        }
        let count = self.properties.partitioning.partition_count();
        let scan = self.scan();
        let task = TaskContext {
            job: (*job).clone(),
            node: Arc::from(scan.name.as_str()),
            subtask: u32::try_from(partition).unwrap_or(u32::MAX),
            parallelism: u32::try_from(count).unwrap_or(u32::MAX),
            metrics: Arc::clone(&self.metrics),
        };
        let feed = self.feed(&job);
        let reading = Reading::new(scan, Arc::clone(&feed), task, None);
        let rows = futures::stream::try_unfold((reading, feed), |(mut reading, feed)| async move {
            loop {
                match reading.next().await.map_err(DataFusionError::from)? {
                    Next::Rows(batch) => return Ok(Some((batch, (reading, feed)))),
                    Next::Moved => {}
                    Next::Wait | Next::Paused => feed.wait().await,
                    Next::End => return Ok(None),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
