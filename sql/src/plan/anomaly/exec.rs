//! The node inside an island: rows are sorted by key and time, on disk if there are many, then judged one series after
//! the other.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as DfResult, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::StreamExt;
use weir_engine::anomaly::{AnomalySpec, SortedJudge};

use super::node::AnomalyNode;

/// Judges rows.
#[derive(Debug)]
struct AnomalyExec {
    input: Arc<dyn ExecutionPlan>,
    spec: AnomalySpec,
    judge: SortedJudge,
    properties: Arc<PlanProperties>,
}

impl AnomalyExec {
    fn try_new(input: Arc<dyn ExecutionPlan>, spec: AnomalySpec) -> DfResult<Self> {
        let judge = SortedJudge::try_new(spec.clone())?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(judge.schema()),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Ok(Self {
            input,
            spec,
            judge,
            properties: Arc::new(properties),
        })
    }

    /// Equal keys side by side, in whatever order, then time, then what decides between equal times.
    fn order(&self) -> Option<LexRequirement> {
        let keys = self.spec.partition.iter();
        let keys = keys.map(|key| PhysicalSortRequirement::new(Arc::clone(key), None));
        let by = |expr: &Arc<dyn PhysicalExpr>, options: SortOptions| {
            PhysicalSortRequirement::new(Arc::clone(expr), Some(options))
        };
        let time = by(&self.spec.time, SortOptions::default());
        let ties = self
            .spec
            .ties
            .iter()
            .map(|(tie, options)| by(tie, *options));
        LexRequirement::new(keys.chain([time]).chain(ties))
    }
}

impl DisplayAs for AnomalyExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnomalyExec: {}", self.judge.describe())
    }
}

impl ExecutionPlan for AnomalyExec {
    fn name(&self) -> &'static str {
        "AnomalyExec"
    }

    fn schema(&self) -> SchemaRef {
        self.judge.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let keys = &self.spec.partition;
        InputDistributionRequirements::new(vec![match keys.is_empty() {
            true => Distribution::SinglePartition,
            false => Distribution::KeyPartitioned(keys.clone()),
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order().map(OrderingRequirements::new)]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        let values = self.spec.values.iter().map(|(_, value)| value);
        let ties = self.spec.ties.iter().map(|(tie, _)| tie);
        let all = values
            .chain(&self.spec.partition)
            .chain([&self.spec.time])
            .chain(ties);
        for expr in all {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return internal_err!("an anomaly node has one input");
        };
        let spec = AnomalySpec {
            input: input.schema(),
            ..self.spec.clone()
        };
        Ok(Arc::new(Self::try_new(input, spec)?))
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
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let mut judge = self.judge.anew();
        let judged = self
            .input
            .execute(partition, context)?
            .map(move |batch: DfResult<RecordBatch>| Ok(judge.judge(&batch?)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            judged,
        )))
    }
}

/// Plans [`AnomalyNode`] within islands.
#[derive(Debug)]
pub(in crate::plan) struct AnomalyPlanner;

fn plan(
    planner: &dyn PhysicalPlanner,
    node: &dyn UserDefinedLogicalNode,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
    planning: &PhysicalPlanningContext,
) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let Some(node) = node.as_any().downcast_ref::<AnomalyNode>() else {
        return Ok(None);
    };
    let [input] = inputs else {
        return internal_err!("an anomaly node has one input");
    };
    let schema = node.input().schema();
    let spec = node.spec(input.schema(), |expr| {
        planner.create_physical_expr(expr, schema, session, planning)
    })?;
    let exec = AnomalyExec::try_new(Arc::clone(input), spec)?;
    Ok::<_, DataFusionError>(Some(Arc::new(exec)))
}

// Written by hand: `#[async_trait]` over LogicalPlan costs seconds of compile time.
impl ExtensionPlanner for AnomalyPlanner {
    fn plan_extension<'a, 'b, 'c, 'd, 'e, 'f, 'g, 'h, 'out>(
        &'a self,
        planner: &'b dyn PhysicalPlanner,
        node: &'c dyn UserDefinedLogicalNode,
        _logical_inputs: &'d [&'e LogicalPlan],
        physical_inputs: &'f [Arc<dyn ExecutionPlan>],
        session: &'g dyn Session,
        planning: &'h PhysicalPlanningContext,
    ) -> Pin<Box<dyn Future<Output = DfResult<Option<Arc<dyn ExecutionPlan>>>> + Send + 'out>>
    where
        'a: 'out,
        'b: 'out,
        'c: 'out,
        'd: 'out,
        'e: 'out,
        'f: 'out,
        'g: 'out,
        'h: 'out,
        Self: 'out,
    {
        let planned = plan(planner, node, physical_inputs, session, planning);
        Box::pin(std::future::ready(planned))
    }
}
