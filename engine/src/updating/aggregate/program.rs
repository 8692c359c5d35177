//! An updating aggregation, checked and laid out. Immutable, shared by all subtasks of a node.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::call::Call;
use super::sets::{self, DistinctSet};
use super::value::Value;
use super::{AggregateSpec, Emit, OutputColumn};
use crate::changelog::{changelog_schema, is_changelog};
use crate::error::{Error, Result};
use crate::updating::RowCodec;

/// What all operators of a node share.
#[derive(Debug)]
pub(super) struct Program {
    /// The expressions to compute from the input, each once.
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The keys among the computed columns.
    pub(super) keys: Vec<usize>,
    pub(super) key_fields: Vec<FieldRef>,
    pub(super) key_codec: RowCodec,
    pub(super) calls: Vec<Call>,
    /// Aggregates that keep the same values together.
    pub(super) sets: Vec<DistinctSet>,
    pub(super) result_codec: RowCodec,
    pub(super) output: Vec<OutputColumn>,
    /// The results' schema, with `_op`.
    pub(super) schema: SchemaRef,
    pub(super) emit: Emit,
    pub(super) ttl: Option<Duration>,
    fingerprint: String,
}

impl Program {
    pub(super) fn try_new(spec: AggregateSpec) -> Result<Self> {
        check(&spec)?;
        let fingerprint = fingerprint(&spec);
        let changelog = is_changelog(&spec.input);
        let mut exprs = Distinct::default();
        let keys = spec.keys.iter().map(|(key, _)| exprs.add(key)).collect();
        let key_fields = key_fields(&spec)?;
        let key_codec = RowCodec::of(key_fields.iter().map(|f| f.data_type().clone()))?;
        let mut calls = Vec::with_capacity(spec.aggregates.len());
        for (expr, filter) in spec.aggregates.iter().zip(&spec.filters) {
            let mut sources = expr.expressions();
            sources.extend(expr.order_bys().iter().map(|o| Arc::clone(&o.expr)));
            let types = sources
                .iter()
                .map(|e| Ok(e.data_type(&spec.input)?))
                .collect::<Result<Vec<_>>>()?;
            let args = sources.iter().map(|e| exprs.add(e)).collect();
            let filter = filter.as_ref().map(|f| exprs.add(f));
            calls.push(Call::try_new(
                expr,
                &spec.input,
                changelog,
                args,
                &types,
                filter,
            )?);
        }
        let result_codec = RowCodec::of(calls.iter().map(|call| call.result.clone()))?;
        Ok(Self {
            exprs: exprs.exprs,
            keys,
            key_fields,
            key_codec,
            sets: sets::of(&calls),
            calls,
            result_codec,
            output: spec.output,
            schema: changelog_schema(&spec.schema),
            emit: spec.emit,
            ttl: spec.ttl,
            fingerprint,
        })
    }

    /// Makes the values of a new group.
    pub(super) fn values(&self) -> Result<Vec<Value>> {
        let holds = |place| self.set_of(place).is_none_or(|set| set.owner() == place);
        let calls = self.calls.iter().enumerate();
        calls
            .map(|(place, call)| Value::new(call, holds(place)))
            .collect()
    }

    /// The set that an aggregate keeps its values in with others.
    pub(super) fn set_of(&self, call: usize) -> Option<&DistinctSet> {
        self.sets.iter().find(|set| set.has(call))
    }

    /// Whether all rows are one group.
    pub(super) fn is_global(&self) -> bool {
        self.keys.is_empty()
    }

    /// Computes the columns of a batch.
    pub(super) fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        let exprs = self.exprs.iter();
        exprs
            .map(|e| Ok(e.evaluate(batch)?.into_array(rows)?))
            .collect()
    }

    pub(super) fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// Expressions that are computed once per batch, however often they are used.
#[derive(Default)]
struct Distinct {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Distinct {
    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>) -> usize {
        let known = self
            .exprs
            .iter()
            .position(|e| e == expr)
            .filter(|_| !is_volatile(expr));
        known.unwrap_or_else(|| {
            self.exprs.push(Arc::clone(expr));
            self.exprs.len() - 1
        })
    }
}

/// `random()` twice is two different columns.
fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is_volatile_node() || expr.children().into_iter().any(is_volatile)
}

fn key_fields(spec: &AggregateSpec) -> Result<Vec<FieldRef>> {
    let field = |(key, name): &(Arc<dyn PhysicalExpr>, String)| {
        let data_type = key.data_type(&spec.input)?;
        Ok(Arc::new(Field::new(name, data_type, true)))
    };
    spec.keys.iter().map(field).collect()
}

fn check(spec: &AggregateSpec) -> Result<()> {
    let fits = spec.output.iter().all(|column| match column {
        OutputColumn::Key(i) => *i < spec.keys.len(),
        OutputColumn::Aggregate(i) => *i < spec.aggregates.len(),
    });
    if !fits
        || spec.output.len() != spec.schema.fields().len()
        || spec.filters.len() != spec.aggregates.len()
        || is_changelog(&spec.schema)
    {
        return Err(Error::internal(
            "an updating aggregation's columns do not fit its schema",
        ));
    }
    Ok(())
}

/// What the state depends on: not when results are sent, nor how long they are kept.
fn fingerprint(spec: &AggregateSpec) -> String {
    let keys: Vec<_> = spec.keys.iter().map(|(key, _)| key.to_string()).collect();
    let mut text = format!("updating aggregate by {}", keys.join(", "));
    for (expr, filter) in spec.aggregates.iter().zip(&spec.filters) {
        let args: Vec<_> = expr.expressions().iter().map(ToString::to_string).collect();
        let order: Vec<_> = expr.order_bys().iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "; {}({}{}) {} order by {} filter {}",
            expr.fun().name(),
            if expr.is_distinct() { "distinct " } else { "" },
            args.join(", "),
            expr.field().data_type(),
            order.join(", "),
            filter.as_ref().map_or(String::new(), ToString::to_string),
        ));
    }
    text.push_str(if is_changelog(&spec.input) {
        "; of a changelog"
    } else {
        "; of rows"
    });
    text
}
