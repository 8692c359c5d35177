//! INSERT INTO and CREATE SINK AS: the query brought into the sink's columns, and the pipeline that
//! all of them make.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::sqlparser::ast::Query;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::graph::Graph;
use weir_engine::options::unknown;

use super::{Materialized, Pipeline, Session, partition};
use crate::ast::{Emit, Name};
use crate::catalog::{check_reserved, create_sink::SinkTable};
use crate::lower::{
    Referrals, SinkInputs, SinkQuery, add_sink, add_view, check_last, is_bounded, share,
};
use crate::rules::{self, Arrival, Ruled};
use crate::settings::Mode;

/// A query with the sink that takes its rows.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    /// The sink.
    pub(crate) sink: Arc<SinkTable>,
    /// The rows, in the sink's columns.
    pub(crate) plan: LogicalPlan,
    /// The columns, without those that are only partitions.
    pub(crate) columns: SchemaRef,
    /// The columns that make the hive partitions.
    pub(crate) partition_columns: Vec<String>,
    /// When the rows come out, if the statement says so.
    pub(crate) emit: Option<Emit>,
    /// The tables and views that it reads.
    pub(crate) uses: BTreeSet<String>,
    /// Where the statement stands.
    pub(crate) place: Place,
}

impl Insert {
    fn query(&self) -> SinkQuery<'_> {
        SinkQuery {
            plan: &self.plan,
            emit: self.emit,
            place: self.place,
        }
    }
}

impl Session {
    pub(crate) fn plan_insert(
        &self,
        sink: &Name,
        columns: &[Name],
        query: (&Query, Option<Emit>),
        place: Place,
    ) -> Result<Insert> {
        let sink = self.catalog.sink(sink)?;
        self.plan_into(&sink, columns, query, place)
    }

    pub(crate) fn plan_into(
        &self,
        sink: &Arc<SinkTable>,
        columns: &[Name],
        (query, emit): (&Query, Option<Emit>),
        place: Place,
    ) -> Result<Insert> {
        let planned = self.planner.query(&self.catalog, query, Some(place))?;
        let plan = self.planner.analyze(planned.plan, Some(place))?;
        // Without declared columns, the first query decides.
        let first = self
            .inserts
            .iter()
            .find(|insert| insert.sink.name == sink.name);
        let plan = match (&sink.columns, first) {
            (Some(declared), _) => fit(plan, declared, columns, place)?,
            (None, Some(first)) => fit(plan, &first.columns, columns, place)?,
            (None, None) => rename(plan, columns, place)?,
        };
        check_unique(&plan, place)?;
        let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
        let fields: Vec<Field> = plan.schema().fields().iter().map(nullable).collect();
        let columns = Arc::new(Schema::new(fields));
        let ruled = Ruled {
            table: &sink.name,
            schema: &columns,
            clock: true,
            arrival: Arrival::Unknown,
            fixed: &[],
        };
        rules::plan(&self.planner, &ruled, &sink.constraints.lock())?;
        let (plan, partition_columns) = partition::append(&self.planner, plan, sink)?;
        let plan = self.planner.analyze(plan, Some(place))?;
        Ok(Insert {
            sink: Arc::clone(sink),
            plan,
            columns,
            partition_columns,
            emit,
            uses: planned.uses,
            place,
        })
    }

    /// Batch or streaming: as it is set, else by what the queries read.
    pub(crate) fn mode_of<'a>(&self, plans: impl Iterator<Item = &'a LogicalPlan>) -> Result<Mode> {
        if let Some(mode) = self.settings.mode() {
            return Ok(mode);
        }
        for plan in plans {
            if !is_bounded(plan)? {
                return Ok(Mode::Streaming);
            }
        }
        Ok(Mode::Batch)
    }

    /// Adds the keys of tables without an end that rules refer to.
    async fn add_keys(
        &self,
        graph: &mut Graph,
        inserts: &[Insert],
        views: &[Materialized],
    ) -> Result<()> {
        let mut referrals = Referrals::of(&self.planner, self.settings.parallelism())?;
        for insert in inserts {
            referrals.of_plan(graph, &insert.plan).await?;
            let constraints = insert.sink.constraints.lock().clone();
            check_last(&insert.plan, &constraints, insert.place)?;
            referrals.of_rules(graph, &constraints).await?;
        }
        for view in views {
            check_last(&view.plan, &view.constraints, view.place)?;
            referrals.of_plan(graph, &view.plan).await?;
            referrals.of_rules(graph, &view.constraints).await?;
        }
        Ok(())
    }

    pub(crate) async fn lower(
        &self,
        inserts: &[Insert],
        views: &[Materialized],
        alone: bool,
    ) -> Result<Pipeline> {
        let plans = inserts.iter().map(|insert| &insert.plan);
        let mode = self.mode_of(plans.chain(views.iter().map(|view| &view.plan)))?;
        self.check_quarantines(views)?;
        let how = (mode, self.settings.parallelism());
        let mut graph = Graph::default();
        if mode == Mode::Streaming {
            self.add_keys(&mut graph, inserts, views).await?;
        }
        let mut done = BTreeSet::new();
        for insert in inserts {
            if !done.insert(insert.sink.name.as_str()) {
                continue;
            }
            let all = inserts
                .iter()
                .filter(|other| other.sink.name == insert.sink.name);
            let inputs = SinkInputs {
                sink: &insert.sink,
                queries: all.map(Insert::query).collect(),
                partition_columns: insert.partition_columns.clone(),
            };
            add_sink(&mut graph, inputs, &self.planner, how, &self.env).await?;
        }
        for view in views {
            add_view(&mut graph, view, &self.planner, how).await?;
        }
        if !alone {
            self.add_checks(&mut graph, inserts, views, how).await?;
        }
        let name = self.settings.name().unwrap_or("pipeline").to_owned();
        let mut graph = share(graph)?;
        self.add_references(&mut graph, mode).await?;
        Ok(Pipeline {
            graph,
            mode,
            name,
            alone,
        })
    }
}

fn count_error(found: usize, wanted: usize, what: &str, place: Place) -> Error {
    Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!(
            "the query gives {found} column{}, but {what} has {wanted}",
            plural(found)
        ),
    )
    .at(Some(place))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The columns of a plan as expressions.
fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect()
}

/// Names the columns of a query; without names they keep their own.
pub(crate) fn rename(plan: LogicalPlan, names: &[Name], place: Place) -> Result<LogicalPlan> {
    let columns = columns_of(&plan);
    if !names.is_empty() && names.len() != columns.len() {
        return Err(count_error(
            columns.len(),
            names.len(),
            "the list of columns",
            place,
        ));
    }
    if names.is_empty()
        && plan
            .schema()
            .iter()
            .all(|(qualifier, _)| qualifier.is_none())
    {
        return Ok(plan);
    }
    let own: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let given = names.iter().map(|name| name.text.clone());
    let names: Vec<String> = if names.is_empty() {
        own
    } else {
        given.collect()
    };
    unique(&names, place)?;
    let aliased = columns
        .into_iter()
        .zip(names)
        .map(|(column, name)| column.alias(name));
    Ok(LogicalPlanBuilder::from(plan).project(aliased)?.build()?)
}

fn unique(names: &[String], place: Place) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        check_reserved(name, Some(place))?;
        if !seen.insert(name) {
            return Err(Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!("two columns of the query are called \"{name}\""),
            )
            .hint("give one of them another name: expression AS name")
            .at(Some(place)));
        }
    }
    Ok(())
}

/// Columns of a table are found by their names alone.
pub(crate) fn check_unique(plan: &LogicalPlan, place: Place) -> Result<()> {
    let names: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    unique(&names, place)
}

/// Brings the rows of a query into declared columns: by position, cast to their types. Columns that
/// the list leaves out are null.
fn fit(
    plan: LogicalPlan,
    declared: &SchemaRef,
    list: &[Name],
    place: Place,
) -> Result<LogicalPlan> {
    let columns: Vec<Column> = plan.schema().columns();
    let wanted = if list.is_empty() {
        declared.fields().len()
    } else {
        list.len()
    };
    if columns.len() != wanted {
        let what = if list.is_empty() {
            "the sink"
        } else {
            "the list of columns"
        };
        return Err(count_error(columns.len(), wanted, what, place));
    }
    let listed: Vec<String> = list.iter().map(|name| name.text.clone()).collect();
    unique(&listed, place)?;
    for name in list {
        if declared.index_of(&name.text).is_err() {
            let known = declared.fields().iter().map(|field| field.name().as_str());
            return Err(unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known).at(name.place));
        }
    }
    let mut exprs = Vec::with_capacity(declared.fields().len());
    for (number, field) in declared.fields().iter().enumerate() {
        let at = if list.is_empty() {
            Some(number)
        } else {
            list.iter().position(|name| name.text == *field.name())
        };
        let source = at.and_then(|at| columns.get(at).map(|column| (at, column)));
        let (expr, nullable) = match source {
            Some((at, column)) => {
                let found = plan.schema().field(at);
                let expr = Expr::Column(column.clone());
                (cast_into(expr, found, field, place)?, found.is_nullable())
            }
            None => (
                cast(lit(ScalarValue::Null), field.data_type().clone()),
                true,
            ),
        };
        if nullable && !field.is_nullable() {
            return Err(Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!(
                    "column \"{}\" of the sink is NOT NULL, but the query may give null",
                    field.name()
                ),
            )
            .hint("use COALESCE(column, value) in the query")
            .at(Some(place)));
        }
        exprs.push(expr.alias(field.name()));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// Casts a column of a query to that of a sink, where it is of another type.
fn cast_into(expr: Expr, found: &Field, wanted: &Field, place: Place) -> Result<Expr> {
    if found.data_type() == wanted.data_type() {
        return Ok(expr);
    }
    if can_cast_types(found.data_type(), wanted.data_type()) {
        return Ok(cast(expr, wanted.data_type().clone()));
    }
    Err(Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!(
            "column \"{}\" of the sink is {}, but the query gives {}",
            wanted.name(),
            wanted.data_type(),
            found.data_type()
        ),
    )
    .at(Some(place)))
}
