//! The window table function inside an island: rows in, rows with their windows out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};
use weir_engine::window::{WindowSpec, expand};

use super::window_table::WindowTableNode;

/// Gives every row once for each of its windows.
#[derive(Debug)]
struct ExpandExec {
    input: Arc<dyn ExecutionPlan>,
    time: usize,
    spec: WindowSpec,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl ExpandExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        time: usize,
        spec: WindowSpec,
        schema: SchemaRef,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Self {
            input,
            time,
            spec,
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for ExpandExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let time = schema
            .fields()
            .get(self.time)
            .map_or("?", |field| field.name());
        write!(f, "WindowExec: {} over {time}", self.spec)
    }
}

impl ExecutionPlan for ExpandExec {
    fn name(&self) -> &'static str {
        "WindowExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
            return internal_err!("a window node has one input");
        };
        Ok(Arc::new(Self::new(
            input,
            self.time,
            self.spec,
            Arc::clone(&self.schema),
        )))
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
        let rows = context.session_config().batch_size();
        let input = self.input.execute(partition, context)?;
        let (time, spec, schema) = (self.time, self.spec, Arc::clone(&self.schema));
        // A row becomes many: pieces of the input keep the output's batches at their usual size.
        let per_row = usize::try_from(spec.windows_per_row())
            .unwrap_or(usize::MAX)
            .max(1);
        let step = (rows / per_row).max(1);
        let pieces = input.map_ok(move |batch| {
            let pieces = (0..batch.num_rows())
                .step_by(step)
                .map(move |start| Ok(batch.slice(start, step.min(batch.num_rows() - start))));
            futures::stream::iter(pieces)
        });
        let out = Arc::clone(&schema);
        let expanded = pieces
            .try_flatten()
            .map(move |piece: DfResult<RecordBatch>| Ok(expand(&piece?, time, &spec, &out)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, expanded)))
    }
}

/// Plans [`WindowTableNode`] within islands.
#[derive(Debug)]
pub(crate) struct WindowPlanner;

fn plan(
    node: &dyn UserDefinedLogicalNode,
    inputs: &[Arc<dyn ExecutionPlan>],
) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let Some(window) = node.as_any().downcast_ref::<WindowTableNode>() else {
        return Ok(None);
    };
    let [input] = inputs else {
        return internal_err!("a window node has one input");
    };
    let Some(spec) = window.spec() else {
        return internal_err!("sessions are planned as window functions");
    };
    let time = window.input().schema().index_of_column(window.time())?;
    // The physical input may know more of nullability than the logical one.
    let given = input.schema();
    let windows = node.schema().fields().iter().skip(given.fields().len());
    let fields: Vec<_> = given
        .fields()
        .iter()
        .chain(windows)
        .map(Arc::clone)
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, given.metadata().clone()));
    Ok(Some(Arc::new(ExpandExec::new(
        Arc::clone(input),
        time,
        spec,
        schema,
    ))))
}

// Written by hand: `#[async_trait]` over LogicalPlan costs seconds of compile time.
impl ExtensionPlanner for WindowPlanner {
    fn plan_extension<'a, 'b, 'c, 'd, 'e, 'f, 'g, 'h, 'out>(
        &'a self,
        _planner: &'b dyn PhysicalPlanner,
        node: &'c dyn UserDefinedLogicalNode,
        _logical_inputs: &'d [&'e LogicalPlan],
        physical_inputs: &'f [Arc<dyn ExecutionPlan>],
        _session: &'g dyn Session,
        _planning: &'h PhysicalPlanningContext,
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
        Box::pin(std::future::ready(plan(node, physical_inputs)))
    }
}
