//! A query over one view that needs no state: columns, expressions and filters, applied to each
//! row of a changelog as it comes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::changelog::{changelog_schema, op_field, split};
use weir_engine::error::{Error, Kind, Place, Result, codes};

use super::StoredView;
use crate::plan::Planner;

/// What is done with a batch, first to last.
#[derive(Debug)]
enum Step {
    Pick(Vec<usize>),
    Filter(Arc<dyn PhysicalExpr>),
    Compute(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// A query in steps.
#[derive(Debug)]
pub(crate) struct Stateless {
    /// The view that it reads.
    pub(crate) view: Arc<StoredView>,
    steps: Vec<Step>,
    /// The rows that come out, without `_op`.
    pub(crate) schema: SchemaRef,
}

impl Stateless {
    /// Takes a query apart that reads stored views; `None` when it reads none.
    pub(crate) fn find(
        planner: &Planner,
        plan: &LogicalPlan,
        place: Option<Place>,
    ) -> Result<Option<Self>> {
        if !reads_views(plan)? {
            return Ok(None);
        }
        let plan = planner.optimize_streaming(plan.clone(), place)?;
        let mut steps = Vec::new();
        let mut node = &plan;
        let view = loop {
            match node {
                LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
                LogicalPlan::Projection(projection) => {
                    let input = projection.input.schema();
                    let exprs = projection.expr.iter();
                    let exprs = exprs.map(|expr| planner.physical_expr(expr, input));
                    let schema = Arc::clone(projection.schema.inner());
                    steps.push(Step::Compute(exprs.collect::<Result<_>>()?, schema));
                    node = &projection.input;
                }
                LogicalPlan::Filter(filter) => {
                    let input = filter.input.schema();
                    steps.push(Step::Filter(
                        planner.physical_expr(&filter.predicate, input)?,
                    ));
                    node = &filter.input;
                }
                LogicalPlan::TableScan(scan) => match view_of(scan) {
                    Some(view) => {
                        if let Some(columns) = &scan.projection {
                            steps.push(Step::Pick(columns.clone()));
                        }
                        break view;
                    }
                    None => return Err(refused(place)),
                },
                _ => return Err(refused(place)),
            }
        };
        steps.reverse();
        Ok(Some(Self {
            view,
            steps,
            schema: Arc::clone(plan.schema().inner()),
        }))
    }

    /// Applies the query to a batch of the view's changelog.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (_, kinds) = split(batch);
        let Some(kinds) = kinds else {
            return Err(Error::internal("the changes of a view have no kinds"));
        };
        let mut kinds: ArrayRef = Arc::new(kinds.clone());
        let mut rows = batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>())?;
        for step in &self.steps {
            match step {
                Step::Pick(columns) => rows = rows.project(columns)?,
                Step::Filter(predicate) => {
                    let mask = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
                    let Some(mask) = mask.as_boolean_opt() else {
                        return Err(Error::internal("a filter is not true or false"));
                    };
                    kinds = arrow::compute::filter(&kinds, mask)?;
                    rows = filter_record_batch(&rows, mask)?;
                }
                Step::Compute(exprs, schema) => {
                    let count = rows.num_rows();
                    let columns = exprs
                        .iter()
                        .map(|expr| Ok(expr.evaluate(&rows)?.into_array(count)?))
                        .collect::<Result<Vec<ArrayRef>>>()?;
                    rows = with_count(schema, columns, count)?;
                }
            }
        }
        let count = rows.num_rows();
        let mut columns = rows.columns().to_vec();
        columns.push(kinds);
        with_count(&changelog_schema(&self.schema), columns, count)
    }
}

/// Makes a batch whose fields have the types of what was computed.
fn with_count(schema: &SchemaRef, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch> {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| {
            if field.name() == op_field().name() {
                return Arc::clone(field);
            }
            let field = field.as_ref().clone().with_nullable(true);
            Arc::new(field.with_data_type(column.data_type().clone()))
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let schema = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

fn view_of(scan: &TableScan) -> Option<Arc<StoredView>> {
    let provider = source_as_provider(&scan.source).ok()?;
    let view = provider.downcast_ref::<StoredView>()?;
    // Filters stay above: the view takes none.
    scan.fetch.is_none().then(|| Arc::new(view.clone()))
}

/// Whether a plan reads a stored view.
pub(crate) fn reads_views(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && provider.downcast_ref::<StoredView>().is_some()
        {
            found = true;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn refused(place: Option<Place>) -> Error {
    Error::new(
        Kind::Invalid,
        codes::UNSUPPORTED,
        "SUBSCRIBE to a materialized view can only choose, compute and filter its columns",
    )
    .hint("aggregate or join in the pipeline's own CREATE MATERIALIZED VIEW, and subscribe to that")
    .at(place)
}
