//! Texts as views within an island: DataFusion filters, groups and joins by them without copying
//! them.
//!
//! The plan is rewritten before its types are coerced: tables that can give views do, and the rows
//! that come out have the types that they had.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DfResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, cast};
use weir_engine::error::Result;

use super::tables_read;
use crate::catalog::viewed::ViewedTable;

/// The tables of a plan that give views, by name.
type Viewed = BTreeMap<String, Arc<dyn TableProvider>>;

/// The plan with texts as views; `None` where there are none, or they would not pay.
pub(super) async fn with_text_views(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if !pays(plan)? {
        return Ok(None);
    }
    let mut viewed = Viewed::new();
    for (name, provider) in tables_read(plan)? {
        if let Some(table) = ViewedTable::of(&provider).await? {
            viewed.insert(name, Arc::new(table));
        }
    }
    if viewed.is_empty() {
        return Ok(None);
    }
    // What cannot be rewritten is planned as it is.
    Ok(rewrite(plan, &viewed).ok().flatten())
}

/// Whether all nodes are of kinds that can be given other types, and one of them looks at values:
/// rows that only go through would be made views and texts again.
fn pays(plan: &LogicalPlan) -> DfResult<bool> {
    let (mut looks, mut known) = (false, true);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Filter(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Window(_) => looks = true,
            LogicalPlan::Projection(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_) => {}
            _ => known = false,
        }
        node.apply_expressions(|expr| {
            known &= !expr.exists(|part| Ok(is_outer_text(part) || tells_types(part)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(looks && known)
}

/// A column of the query around a subquery carries the type that it has there.
fn is_outer_text(expr: &Expr) -> bool {
    matches!(expr, Expr::OuterReferenceColumn(field, _) if *field.data_type() == DataType::Utf8)
}

/// The types that a query can see are those of the tables.
fn tells_types(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.name() == "arrow_typeof")
}

fn rewrite(plan: &LogicalPlan, viewed: &Viewed) -> DfResult<Option<LogicalPlan>> {
    let rewritten = plan.clone().transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return node.recompute_schema().map(Transformed::yes);
        };
        let Some(table) = viewed.get(scan.table_name.table()) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let source = provider_as_source(Arc::clone(table));
        let scan = TableScanBuilder::new(scan.table_name, source)
            .with_projection(scan.projection)
            .with_filters(scan.filters)
            .with_fetch(scan.fetch)
            .build()?;
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    with_types(rewritten.data, plan.schema())
}

/// The rows of a plan with the types that they are to have.
fn with_types(plan: LogicalPlan, wanted: &DFSchema) -> DfResult<Option<LogicalPlan>> {
    let mut columns = Vec::with_capacity(wanted.fields().len());
    let mut differ = false;
    for ((qualifier, field), (_, to)) in plan.schema().iter().zip(wanted.iter()) {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        if field.data_type() == to.data_type() {
            columns.push(column);
            continue;
        }
        if !can_cast_types(field.data_type(), to.data_type()) {
            return Ok(None);
        }
        differ = true;
        let cast = cast(column, to.data_type().clone());
        let qualifier: Option<TableReference> = qualifier.cloned();
        columns.push(cast.alias_qualified(qualifier, field.name()));
    }
    if !differ {
        return Ok(Some(plan));
    }
    let projection = Projection::try_new(columns, Arc::new(plan))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}
