//! Projections and filters: kept back as long as a later operator can take them in.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use weir_engine::changelog::OP_COLUMN;
use weir_engine::error::{Error, Result};
use weir_engine::operator::project_filter::ProjectFilter;

use super::Lowering;
use super::flow::{Flow, Origin, Role};
use crate::plan::proctime;

impl Lowering<'_> {
    /// Compiles an expression over the columns of a flow into one over those of its node. `None`
    /// when it needs the columns of a window table function that is not lowered.
    pub(super) fn compile(
        &self,
        flow: &Flow,
        expr: &Expr,
        schema: &DFSchema,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let compiled = self.target.planner.physical_expr(expr, schema)?;
        let origin = |column: &Column| match flow.origin(column.index()) {
            Some(Origin::Input(index)) => Some(index),
            _ => None,
        };
        if collect_columns(&compiled)
            .iter()
            .any(|column| origin(column).is_none())
        {
            return Ok(None);
        }
        let moved = compiled.transform_up(|part| {
            let index = part.downcast_ref::<Column>().and_then(origin);
            Ok::<_, DataFusionError>(match index {
                Some(index) => {
                    let name = flow
                        .schema
                        .fields()
                        .get(index)
                        .map_or("?", |field| field.name());
                    Transformed::yes(Arc::new(Column::new(name, index)))
                }
                None => Transformed::no(part),
            })
        })?;
        Ok(Some(moved.data))
    }

    /// Keeps a filter back, below a window table function where it can.
    pub(super) fn filter(
        &mut self,
        flow: Flow,
        predicate: &Expr,
        schema: &DFSchemaRef,
    ) -> Result<Flow> {
        let compiled = match &flow.pending {
            Some(pending) if pending.is_session() => None,
            _ => self.compile(&flow, predicate, schema)?,
        };
        let Some(compiled) = compiled else {
            let flow = self.expand(flow)?;
            return self.filter(flow, predicate, schema);
        };
        let filter: Arc<dyn PhysicalExpr> = match &flow.filter {
            Some(first) => Arc::new(BinaryExpr::new(Arc::clone(first), Operator::And, compiled)),
            None => compiled,
        };
        Ok(Flow {
            filter: Some(filter),
            ..flow
        })
    }

    /// Computes columns; those that are only picked are kept back.
    pub(super) fn project(
        &mut self,
        flow: Flow,
        exprs: &[Expr],
        input: &DFSchemaRef,
        output: &DFSchemaRef,
    ) -> Result<Flow> {
        let mut computed: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        let mut columns = Vec::with_capacity(exprs.len());
        let mut picked = Vec::with_capacity(exprs.len());
        for (expr, field) in exprs.iter().zip(output.fields()) {
            let name = field.name().clone();
            let origin = column_index(expr, input).and_then(|index| flow.origin(index));
            if let Some(origin) = origin {
                picked.push((origin, name.clone()));
                if matches!(origin, Origin::Start | Origin::End) {
                    columns.push((origin, name));
                    continue;
                }
            }
            let Some(compiled) = self.compile(&flow, expr, input)? else {
                let flow = self.expand(flow)?;
                return self.project(flow, exprs, input, output);
            };
            columns.push((Origin::Input(computed.len()), name.clone()));
            computed.push((compiled, name));
        }
        if picked.len() == exprs.len() {
            return Ok(Flow {
                columns: picked,
                ..flow
            });
        }
        let mut pending = flow.pending.clone();
        if let Some(pending) = &mut pending {
            pending.time = keep(&mut computed, &flow, pending.time);
            for key in &mut pending.keys {
                *key = keep(&mut computed, &flow, *key);
            }
        }
        let flow = self.compute(flow, computed)?;
        Ok(Flow {
            columns,
            pending,
            ..flow
        })
    }

    /// Adds the node that filters and computes.
    pub(super) fn compute(
        &mut self,
        flow: Flow,
        mut columns: Vec<(Arc<dyn PhysicalExpr>, String)>,
    ) -> Result<Flow> {
        let key = flow.key.as_deref().and_then(|key| moved_key(key, &columns));
        if flow.is_changelog() {
            columns.push((node_column(&flow, flow.width()), OP_COLUMN.to_owned()));
        }
        let fields = columns
            .iter()
            .map(|(expr, name)| {
                // The type is the expression's own, as the batches will have it.
                let data_type = expr.data_type(&flow.schema)?;
                Ok(Field::new(name, data_type, expr.nullable(&flow.schema)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(Schema::new(fields));
        let roles = columns
            .iter()
            .map(|(expr, _)| role_of(expr, &flow))
            .collect();
        let columns: Vec<_> = columns.into_iter().map(|(expr, _)| expr).collect();
        let factory = match &flow.filter {
            Some(filter) => ProjectFilter::filter_project(Arc::clone(filter), columns, schema),
            None => ProjectFilter::project(columns, schema),
        };
        let (at, schema) =
            self.follow(flow.at, flow.parallelism, "project", "", Arc::new(factory))?;
        Ok(Flow {
            key,
            ..flow.behind(at, schema, roles)
        })
    }

    /// Adds the filter that was kept back; columns and windows stay.
    pub(super) fn settle_filter(&mut self, flow: Flow) -> Result<Flow> {
        let Some(filter) = flow.filter.clone() else {
            return Ok(flow);
        };
        let factory = ProjectFilter::filter(filter, Arc::clone(&flow.schema));
        let (at, schema) =
            self.follow(flow.at, flow.parallelism, "filter", "", Arc::new(factory))?;
        Ok(Flow {
            at,
            schema,
            filter: None,
            ..flow
        })
    }

    /// Adds all that was kept back.
    pub(super) fn settle(&mut self, flow: Flow) -> Result<Flow> {
        let flow = self.expand(flow)?;
        if flow.is_whole() {
            return self.settle_filter(flow);
        }
        let columns = flow
            .columns
            .iter()
            .map(|(origin, name)| match origin {
                Origin::Input(index) => Ok((node_column(&flow, *index), name.clone())),
                Origin::Start | Origin::End => Err(Error::internal("a window was not lowered")),
            })
            .collect::<Result<Vec<_>>>()?;
        self.compute(flow, columns)
    }
}

/// A column of the node as an expression.
pub(super) fn node_column(flow: &Flow, index: usize) -> Arc<dyn PhysicalExpr> {
    let name = flow
        .schema
        .fields()
        .get(index)
        .map_or("?", |field| field.name());
    Arc::new(Column::new(name, index))
}

/// Where the columns of a key are among computed ones; `None` if one is not there as it is.
fn moved_key(key: &[usize], computed: &[(Arc<dyn PhysicalExpr>, String)]) -> Option<Vec<usize>> {
    let place = |column: &usize| {
        computed.iter().position(|(expr, _)| {
            expr.downcast_ref::<Column>()
                .is_some_and(|found| found.index() == *column)
        })
    };
    key.iter().map(place).collect()
}

/// Finds a column of the node among computed ones, or adds it: the windows above need it.
fn keep(computed: &mut Vec<(Arc<dyn PhysicalExpr>, String)>, flow: &Flow, column: usize) -> usize {
    let is_it = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>()
            .is_some_and(|found| found.index() == column)
    };
    if let Some(found) = computed.iter().position(|(expr, _)| is_it(expr)) {
        return found;
    }
    computed.push((
        node_column(flow, column),
        flow.schema.field(column).name().clone(),
    ));
    computed.len() - 1
}

/// The position of the column that an expression is, if it is nothing more.
pub(super) fn column_index(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        Expr::Alias(alias) => column_index(&alias.expr, schema),
        _ => None,
    }
}

fn is_proctime(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<ScalarFunctionExpr>()
        .is_some_and(|function| function.name() == proctime::NAME)
}

/// What an expression over a node's columns means: that of the column it is. Event time stays so in
/// another unit.
fn role_of(expr: &Arc<dyn PhysicalExpr>, flow: &Flow) -> Role {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return flow.node_role(column.index());
    }
    if is_proctime(expr) {
        return Role::Clock;
    }
    let Some(cast) = expr.downcast_ref::<CastExpr>() else {
        return Role::Plain;
    };
    let from = cast.expr().data_type(&flow.schema).ok();
    let same_zone = match (from, cast.cast_type()) {
        (Some(DataType::Timestamp(_, from)), DataType::Timestamp(_, to)) => from == *to,
        _ => false,
    };
    match role_of(cast.expr(), flow) {
        Role::EventTime if same_zone => Role::EventTime,
        _ => Role::Plain,
    }
}
