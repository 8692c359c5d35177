//! The expressions of all rules of a table as one program: what several of them compute alike is
//! computed once per batch, as a column behind those of the batch.
//!
//! Only what would be computed for every row anyway is taken out. The right side of AND and OR, a
//! branch of CASE, the expression of a rule with a condition, may be guarded by what stands before.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion_physical_expr::{HigherOrderFunctionExpr, PhysicalExpr, ScalarFunctionExpr};

use crate::error::Result;

/// Expressions over a batch, and what they have in common.
#[derive(Debug)]
pub(super) struct Fused {
    /// The columns of the batch and those that are computed first.
    schema: SchemaRef,
    /// Computed in this order, each over the columns that are there by then.
    common: Vec<(SchemaRef, Arc<dyn PhysicalExpr>)>,
}

/// How often a part occurs.
#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    count: usize,
    /// One of them is computed for every row.
    always: bool,
}

impl Fused {
    /// Takes out what the expressions have in common and rewrites them to use it. The expressions
    /// of `guarded` are computed for some rows only.
    pub(super) fn new(
        schema: &SchemaRef,
        always: &mut [&mut Arc<dyn PhysicalExpr>],
        guarded: &mut [&mut Arc<dyn PhysicalExpr>],
    ) -> Result<Self> {
        let mut uses = HashMap::new();
        always.iter().for_each(|expr| count(expr, true, &mut uses));
        guarded
            .iter()
            .for_each(|expr| count(expr, false, &mut uses));
        uses.retain(|expr, uses| uses.always && uses.count > 1 && is_worth_it(expr));
        // A lambda finds its variable by its number behind the columns of the batch: none may be added.
        let mut all = always.iter().chain(guarded.iter());
        if all.any(|expr| has_lambda(expr)) {
            uses.clear();
        }
        let mut found: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for expr in always.iter().chain(guarded.iter()) {
            outermost(expr, &uses, &mut found);
        }
        // A part of another one comes before it.
        found.sort_by_key(size);
        let mut fields: Vec<_> = schema.fields().iter().map(Arc::clone).collect();
        let mut places: HashMap<Arc<dyn PhysicalExpr>, Column> = HashMap::new();
        let mut common = Vec::new();
        for expr in found {
            let name = format!("_common_{}", common.len());
            let (data_type, nullable) = (expr.data_type(schema)?, expr.nullable(schema)?);
            let before = Arc::new(Schema::new(fields.clone()));
            common.push((before, rewrite(&expr, &places)?));
            places.insert(expr, Column::new(&name, fields.len()));
            fields.push(Arc::new(Field::new(&name, data_type, nullable)));
        }
        let rewrite = |expr: &mut Arc<dyn PhysicalExpr>| -> Result<()> {
            *expr = rewrite(expr, &places)?;
            Ok(())
        };
        always.iter_mut().try_for_each(|expr| rewrite(expr))?;
        guarded.iter_mut().try_for_each(|expr| rewrite(expr))?;
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { schema, common })
    }

    /// Adds what the expressions have in common to a batch.
    pub(super) fn prepare(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.common.is_empty() {
            return Ok(batch.clone());
        }
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        for (before, expr) in &self.common {
            let batch = with_rows(Arc::clone(before), columns.clone(), rows)?;
            columns.push(expr.evaluate(&batch)?.into_array(rows)?);
        }
        with_rows(Arc::clone(&self.schema), columns, rows)
    }

    /// How many parts are computed once for several rules.
    pub(super) fn shared(&self) -> usize {
        self.common.len()
    }
}

/// A batch that knows its rows even if it has no columns.
pub(super) fn with_rows(
    schema: SchemaRef,
    columns: Vec<arrow::array::ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// The parts of an expression, each with whether it is computed whenever the expression is. What is
/// not known here, such as the body of a lambda, has none that may be taken out.
fn parts(expr: &Arc<dyn PhysicalExpr>) -> Vec<(&Arc<dyn PhysicalExpr>, bool)> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let guards = matches!(binary.op(), Operator::And | Operator::Or);
        return vec![(binary.left(), true), (binary.right(), !guards)];
    }
    let all = |always| {
        expr.children()
            .into_iter()
            .map(|part| (part, always))
            .collect()
    };
    if expr.downcast_ref::<CaseExpr>().is_some() {
        return all(false);
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return all(!function.fun().short_circuits());
    }
    let plain = expr.downcast_ref::<CastExpr>().is_some()
        || expr.downcast_ref::<TryCastExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
        || expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<LikeExpr>().is_some()
        || expr.downcast_ref::<NegativeExpr>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some();
    if plain { all(true) } else { Vec::new() }
}

fn count(
    expr: &Arc<dyn PhysicalExpr>,
    always: bool,
    uses: &mut HashMap<Arc<dyn PhysicalExpr>, Uses>,
) {
    let of = uses.entry(Arc::clone(expr)).or_default();
    of.count += 1;
    of.always |= always;
    for (part, each) in parts(expr) {
        count(part, always && each, uses);
    }
}

/// Finds the largest parts that are taken out.
fn outermost(
    expr: &Arc<dyn PhysicalExpr>,
    uses: &HashMap<Arc<dyn PhysicalExpr>, Uses>,
    found: &mut Vec<Arc<dyn PhysicalExpr>>,
) {
    if uses.contains_key(expr) {
        if !found.contains(expr) {
            found.push(Arc::clone(expr));
        }
        return;
    }
    for (part, _) in parts(expr) {
        outermost(part, uses, found);
    }
}

fn rewrite(
    expr: &Arc<dyn PhysicalExpr>,
    places: &HashMap<Arc<dyn PhysicalExpr>, Column>,
) -> Result<Arc<dyn PhysicalExpr>> {
    if let Some(column) = places.get(expr) {
        return Ok(Arc::new(column.clone()));
    }
    let parts = parts(expr);
    if parts.is_empty() {
        return Ok(Arc::clone(expr));
    }
    let parts = parts.iter().map(|(part, _)| rewrite(part, places));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    Ok(Arc::clone(expr).with_new_children(parts)?)
}

fn size(expr: &Arc<dyn PhysicalExpr>) -> usize {
    1 + parts(expr)
        .iter()
        .map(|(part, _)| size(part))
        .sum::<usize>()
}

fn has_lambda(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<HigherOrderFunctionExpr>().is_some()
        || expr.children().into_iter().any(has_lambda)
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is_volatile_node() || expr.children().into_iter().any(is_volatile)
}

/// A column is there, a literal and a look at the nulls cost nothing.
fn is_worth_it(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let leaf = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().is_some() || expr.downcast_ref::<Literal>().is_some()
    };
    let looks = expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some();
    !(leaf(expr) || looks && expr.children().into_iter().all(leaf) || is_volatile(expr))
}
