//! A step within an island: over the scan of a source, before any query of DataFusion sees its rows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::Result as DfResult;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_execution::{SendableRecordBatchStream, TaskContext as DataFusionContext};
use datafusion_physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;
use parking_lot::Mutex;

use super::shared::Shared;
use super::stage::Spread;
use crate::error::{Error, Result};
use crate::island::ScanExec;
use crate::job::{JobContext, TaskContext};
use crate::message::EventTime;
use crate::metrics::SubtaskMetrics;
use crate::operator::{Operator, Output};
use crate::rules::step::Step;

/// Asks the rules of a step about the rows of its input. It counts them if the scan below counts.
#[derive(Debug)]
pub struct StageExec {
    input: Arc<dyn ExecutionPlan>,
    table: Arc<str>,
    step: Step,
    properties: Arc<PlanProperties>,
    metrics: Arc<SubtaskMetrics>,
    /// What partitions share, where they share it.
    shared: Mutex<Option<Arc<Shared>>>,
}

impl StageExec {
    /// Judges the rows of a source.
    pub fn new(input: Arc<dyn ExecutionPlan>, table: Arc<str>, step: Step) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(step.schema())),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            input,
            table,
            step,
            properties: Arc::new(properties),
            metrics: Arc::default(),
            shared: Mutex::default(),
        }
    }

    /// Makes the operator of one partition.
    fn operator(&self, task: TaskContext) -> Result<Box<dyn Operator>> {
        let Some(stage) = self.step.shared() else {
            return self.step.factory(&self.table, true).create(&task);
        };
        let mut shared = self.shared.lock();
        if let Some(shared) = &*shared {
            return Ok(shared.partition());
        }
        let partitions = self.input.output_partitioning().partition_count();
        let first = shared.insert(Arc::new(Shared::new(stage, task, partitions)?));
        Ok(first.partition())
    }

    /// What all partitions count together.
    pub fn counters(&self) -> &SubtaskMetrics {
        &self.metrics
    }
}

impl DisplayAs for StageExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RulesExec: {}, {}", self.table, self.step)
    }
}

impl ExecutionPlan for StageExec {
    fn name(&self) -> &'static str {
        "RulesExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.step.schema())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![match self.step.spread() {
            _ if self.step.shared().is_some() => Distribution::UnspecifiedDistribution,
            Spread::Any => Distribution::UnspecifiedDistribution,
            Spread::One => Distribution::SinglePartition,
            Spread::By(key) => Distribution::KeyPartitioned(key),
        }]
    }

    /// Rows of a key stay in the order in which the scan gives them.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return Err(Error::internal("the rules of a source have no input").into());
        };
        let (table, step) = (Arc::clone(&self.table), self.step.clone());
        Ok(Arc::new(Self::new(input, table, step)))
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

    fn execute(
        &self,
        partition: usize,
        context: Arc<DataFusionContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let job = context.session_config().get_extension::<JobContext>();
        let job = job.ok_or_else(|| Error::internal("rules run outside a job"))?;
        let mut job = (*job).clone();
        if is_quiet(&self.input) {
            job.dead_letters = job.dead_letters.muted();
        }
        // The rows of a key are of one partition by DataFusion's hash, not by that of key groups: each
        // has room for all of these.
        let task = TaskContext {
            job,
            node: Arc::clone(&self.table),
            // The first of them takes what is asked of rows in quarantine.
            subtask: u32::try_from(partition).unwrap_or(u32::MAX),
            parallelism: 1,
            metrics: Arc::clone(&self.metrics),
        };
        let running = Running {
            operator: self.operator(task)?,
            input: self.input.execute(partition, context)?,
            ready: VecDeque::new(),
            resuming: false,
            next: Next::Read,
            counters: Arc::clone(&self.metrics),
        };
        let rows = futures::stream::try_unfold(running, |mut running| async move {
            let batch = running.next().await?;
            Ok(batch.map(|batch| (batch, running)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// Whether another scan of the source keeps its counts.
fn is_quiet(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.downcast_ref::<ScanExec>() {
        Some(scan) => scan.scan().quiet,
        None => plan.children().into_iter().any(is_quiet),
    }
}

/// What is done next with an operator that has nothing more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    End,
    Stop,
}

/// The operator of one partition and what it has given.
struct Running {
    operator: Box<dyn Operator>,
    input: SendableRecordBatchStream,
    ready: VecDeque<RecordBatch>,
    /// The operator may have more to give.
    resuming: bool,
    next: Next,
    counters: Arc<SubtaskMetrics>,
}

impl Running {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                let rows = batch.num_rows() as u64;
                self.counters.rows_out.fetch_add(rows, Relaxed);
                return Ok(Some(batch));
            }
            let mut out = Output::default();
            if self.resuming {
                self.resuming = self.operator.resume(&mut out)?;
                self.ready.extend(out.take());
                continue;
            }
            match self.next {
                Next::Read => match self.input.next().await {
                    Some(batch) => self.operator.process(0, batch?, &mut out)?,
                    None => {
                        self.operator.watermark(EventTime::MAX, &mut out)?;
                        self.next = Next::End;
                    }
                },
                Next::End => {
                    self.operator.end(&mut out)?;
                    self.next = Next::Stop;
                }
                Next::Stop => return Ok(None),
            }
            self.resuming = true;
            self.ready.extend(out.take());
        }
    }
}
