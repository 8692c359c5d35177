//! Rules over many rows: the query that measures, and the operator that judges what it gives.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::collect;
use weir_engine::changelog::{is_changelog, rows_schema};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::{Edge, Graph, Node, NodeKind};
use weir_engine::operator::OperatorFactory;
use weir_engine::rules::{ChecksFactory, ChecksSpec, LastFactory, LastSpec};

use super::Target;
use super::flow::{Flow, Role};
use super::nodes::spread;
use crate::plan::Planner;
use crate::rules::check::{CheckPlan, Last};
use crate::settings::Mode;

/// Adds the rules of one query over a table.
pub(crate) async fn add_check(
    graph: &mut Graph,
    (table, id): (&str, &str),
    check: CheckPlan,
    planner: &Planner,
    (mode, parallelism): (Mode, u32),
) -> Result<()> {
    if check.by_batch && mode == Mode::Streaming {
        let message = "SCOPE BATCH of this rule in a job without an end";
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .detail("a batch is what comes between two checkpoints, and the rule needs more than an aggregate of it")
            .hint(
                "use an aggregate of columns, as in EXPECT (count(*) > 0), or SCOPE TABLE for all rows so far",
            ));
    }
    let target = Target {
        planner,
        mode,
        parallelism,
        prefix: id,
        place: Some(check.place),
        emit: None,
    };
    let flow = target.lower(graph, &check.plan).await?;
    let flow = match &check.last {
        Some(last) => measured_last(graph, (table, id), flow, last, mode)?,
        None => flow,
    };
    if check.windowed && is_changelog(&flow.schema) {
        let message = format!("the rows of \"{table}\" change, so its windows are never over");
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .hint("use SCOPE TABLE, which is asked at each checkpoint"));
    }
    let first = check.segments;
    let every = match &check.every {
        Some((length, none)) => {
            let none = measures_of_none(planner, none, &check).await?;
            let width = rows_schema(&flow.schema).fields().len() - none.len();
            Some((*length, row_of_none(&flow.schema, width, none)?))
        }
        None => None,
    };
    let shown = check.plan.display_indent().to_string();
    let baselines = planner.references().baselines.wanted(&shown);
    let spec = ChecksSpec {
        table: table.to_owned(),
        scope: check.scope,
        input: Arc::clone(&flow.schema),
        segments: (0..first).collect(),
        window: check.windowed.then_some((first, first + 1)),
        bounded: mode == Mode::Batch,
        every,
        baselines: baselines
            .into_iter()
            .map(|wanted| wanted.baseline)
            .collect(),
        checks: check.checks,
    };
    let factory = ChecksFactory::try_new(spec)?;
    let at = graph.add(Node {
        id: id.into(),
        name: table.to_owned(),
        schema: factory.schema(),
        kind: NodeKind::Operator(Arc::new(factory)),
        parallelism: 1,
    })?;
    graph.connect(Edge {
        from: flow.at,
        to: at,
        input: 0,
        partitioning: spread(&flow, 1),
    })
}

/// Adds what measures the last rows.
fn measured_last(
    graph: &mut Graph,
    (table, id): (&str, &str),
    flow: Flow,
    last: &Last,
    mode: Mode,
) -> Result<Flow> {
    if is_changelog(&flow.schema) {
        let message = format!("the rows of \"{table}\" change, so none of them is the last");
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .hint("use SCOPE TABLE, which is asked at each checkpoint"));
    }
    let time = last.time.as_ref().map(|time| flow.schema.index_of(time));
    let when = last.when.map(|when| flow.schema.index_of(when));
    let factory = LastFactory::try_new(LastSpec {
        input: Arc::clone(&flow.schema),
        time: time.transpose()?,
        when: when.transpose()?,
        reach: last.reach,
        measures: Arc::clone(&last.measures),
        bounded: mode == Mode::Batch,
    })?;
    let schema = factory.schema();
    let at = graph.add(Node {
        id: format!("{id}/last").into(),
        name: table.to_owned(),
        schema: Arc::clone(&schema),
        kind: NodeKind::Operator(Arc::new(factory)),
        parallelism: 1,
    })?;
    graph.connect(Edge {
        from: flow.at,
        to: at,
        input: 0,
        partitioning: spread(&flow, 1),
    })?;
    let roles = vec![Role::Plain; schema.fields().len()];
    Ok(Flow::of(at, 1, schema, roles))
}

/// What the measures are of no row.
async fn measures_of_none(
    planner: &Planner,
    plan: &datafusion::logical_expr::LogicalPlan,
    check: &CheckPlan,
) -> Result<Vec<ArrayRef>> {
    let island = planner.island(plan, Some(check.place)).await?;
    let rows = collect(island, planner.state().task_ctx()).await?;
    let row = rows.into_iter().find(|rows| rows.num_rows() == 1);
    let row = row.ok_or_else(|| Error::internal("the measures of no row are no row"))?;
    Ok(row.columns().to_vec())
}

/// The measures of no row, behind keys that are set later.
fn row_of_none(
    schema: &arrow::datatypes::SchemaRef,
    keys: usize,
    measures: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let schema = rows_schema(schema);
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields().iter().take(keys) {
        let value = ScalarValue::new_default(field.data_type())?;
        columns.push(value.to_array_of_size(1)?);
    }
    let measured = schema.fields().iter().skip(keys).zip(measures);
    for (field, measure) in measured {
        columns.push(arrow::compute::cast(&measure, field.data_type())?);
    }
    let fields = schema.fields().iter();
    let fields: Vec<_> = fields
        .map(|f| f.as_ref().clone().with_nullable(true))
        .collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns)?)
}
