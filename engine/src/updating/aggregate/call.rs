//! One aggregate: how its value is kept per group.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion_expr::Accumulator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};

use super::entries::Entries;
use super::exact::ExactFloats;
use crate::error::{Error, Result};
use crate::updating::RowCodec;

/// What is kept of an aggregate's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// An accumulator, which rows enter and, in a changelog, leave.
    Running,
    /// Which rows there are, and an accumulator of each different row: DISTINCT.
    Edges,
    /// Which rows there are; the result is computed from them when it is asked for.
    Entries(Feed),
}

/// Which of the kept rows a result is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// Each as often as it is there.
    Each,
    /// Each once.
    Once,
    /// The first in the order of the entries: the least, or the greatest.
    First,
}

/// Which accumulator is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    /// DataFusion's.
    Plain,
    /// DataFusion's that gives rows back.
    Sliding,
    /// Ours for floats, SUM or AVG.
    Exact { average: bool },
}

/// One aggregate and where its columns are.
#[derive(Debug)]
pub(super) struct Call {
    expr: Arc<AggregateFunctionExpr>,
    make: Make,
    pub(super) method: Method,
    /// Arguments, then the ORDER BY columns, among the computed columns.
    pub(super) args: Vec<usize>,
    /// FILTER's column among the computed columns.
    pub(super) filter: Option<usize>,
    /// How many of `args` are ORDER BY columns.
    order: usize,
    /// Whether rows may be taken back.
    pub(super) changelog: bool,
    /// COUNT of one argument: a number is all that is kept.
    pub(super) counts: bool,
    /// Entries: the ORDER BY columns, then the arguments.
    pub(super) entries: Option<RowCodec>,
    /// The columns of a running accumulator's state.
    pub(super) states: Vec<FieldRef>,
    /// The result's type.
    pub(super) result: DataType,
}

impl Call {
    /// Decides the method. `args` are the places of the arguments and ORDER BY columns, `types` what
    /// is found there.
    pub(super) fn try_new(
        expr: &Arc<AggregateFunctionExpr>,
        input: &SchemaRef,
        changelog: bool,
        args: Vec<usize>,
        types: &[DataType],
        filter: Option<usize>,
    ) -> Result<Self> {
        let order: Vec<SortOptions> = expr.order_bys().iter().map(|o| o.options).collect();
        let method = method(expr, types, changelog);
        let kept = match method {
            Method::Edges => plain(expr, input)?,
            _ => Arc::clone(expr),
        };
        let mut call = Self {
            make: match method {
                Method::Running | Method::Edges if changelog => {
                    takes_back(expr, types).unwrap_or(Make::Plain)
                }
                _ => Make::Plain,
            },
            method,
            args,
            filter,
            order: order.len(),
            changelog,
            counts: expr.fun().name() == "count"
                && types.len() == 1
                && matches!(method, Method::Running | Method::Edges),
            entries: None,
            states: Vec::new(),
            result: expr.field().data_type().clone(),
            expr: kept,
        };
        // A function that does not take its arguments' types fails here, not at the first row.
        let mut sample = call.accumulator()?;
        if method == Method::Running {
            call.states = sample
                .state()?
                .iter()
                .enumerate()
                .map(|(i, s)| Arc::new(Field::new(format!("_state{i}"), s.data_type(), true)))
                .collect();
        } else {
            let (args, orders) = types
                .split_at_checked(types.len().saturating_sub(order.len()))
                .ok_or_else(misfit)?;
            let options = if expr.fun().name() == "max" {
                descending()
            } else {
                ascending()
            };
            let orders = orders.iter().cloned().zip(order);
            let args = args.iter().cloned().map(|t| (t, options));
            call.entries = Some(RowCodec::try_new(orders.chain(args))?);
        }
        Ok(call)
    }

    /// Makes an empty multiset of rows, if rows are kept.
    pub(super) fn new_entries(&self) -> Option<Entries> {
        let ordered = matches!(self.method, Method::Entries(_));
        let counted = self.changelog || self.method == Method::Entries(Feed::Each);
        let kept = self.entries.is_some();
        kept.then(|| Entries::new(ordered, counted))
    }

    /// Whether the entries of another aggregate are the same bytes.
    pub(super) fn has_entries_of(&self, other: &Self) -> bool {
        let codecs = self.entries.as_ref().zip(other.entries.as_ref());
        self.args == other.args && codecs.is_some_and(|(one, two)| one.is_like(two))
    }

    /// Makes an empty accumulator.
    pub(super) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        Ok(match self.make {
            Make::Plain => self.expr.create_accumulator()?,
            Make::Sliding => self.expr.create_sliding_accumulator()?,
            Make::Exact { average } => Box::new(ExactFloats::new(average)),
        })
    }

    /// Its arguments and ORDER BY columns.
    pub(super) fn args_of(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let arg = |place: &usize| columns.get(*place).map(Arc::clone).ok_or_else(misfit);
        self.args.iter().map(arg).collect()
    }

    /// Puts the columns of an accumulator (arguments, ORDER BY) in the order of the entries.
    pub(super) fn to_entries(&self, mut args: Vec<ArrayRef>) -> Vec<ArrayRef> {
        let order = self.order.min(args.len());
        args.rotate_right(order);
        args
    }

    /// Puts the columns of entries in the order that accumulators expect.
    pub(super) fn to_arguments(&self, mut columns: Vec<ArrayRef>) -> Vec<ArrayRef> {
        let order = self.order.min(columns.len());
        columns.rotate_left(order);
        columns
    }
}

/// NULL is no value: it comes last, so that it is the first only when there is no other.
fn ascending() -> SortOptions {
    SortOptions::default().asc().nulls_last()
}

fn descending() -> SortOptions {
    SortOptions::default().desc().nulls_last()
}

fn method(expr: &AggregateFunctionExpr, types: &[DataType], changelog: bool) -> Method {
    let ordered = !expr.order_bys().is_empty();
    let extreme = matches!(expr.fun().name(), "min" | "max");
    if extreme && !changelog {
        return Method::Running;
    }
    if extreme && is_plain(expr.field().data_type()) {
        return Method::Entries(Feed::First);
    }
    if expr.order_sensitivity().hard_requires() || (changelog && takes_back(expr, types).is_none())
    {
        // Rows must be fed in an order, or cannot be taken back.
        let once = expr.is_distinct() || extreme || is_idempotent(expr);
        return Method::Entries(if once { Feed::Once } else { Feed::Each });
    }
    match (expr.is_distinct(), ordered) {
        (true, true) => Method::Entries(Feed::Once),
        (true, false) => Method::Edges,
        (false, _) => Method::Running,
    }
}

/// The accumulator that is, after rows are taken back in any order, exactly as if they had never
/// come. DataFusion's sums of floats drift, and its sliding minima expect the oldest row to leave
/// first.
fn takes_back(expr: &AggregateFunctionExpr, types: &[DataType]) -> Option<Make> {
    let result = expr.field().data_type().clone();
    let average = match expr.fun().name() {
        "count" => return Some(Make::Sliding),
        "sum" => false,
        "avg" => true,
        _ => return None,
    };
    if result.is_decimal() || (result.is_integer() && !average) {
        return Some(Make::Sliding);
    }
    let floats = result == DataType::Float64 && types.first() == Some(&result);
    floats.then_some(Make::Exact { average })
}

/// Whether a row that is there several times counts as if it were there once.
fn is_idempotent(expr: &AggregateFunctionExpr) -> bool {
    matches!(
        expr.fun().name(),
        "bool_and" | "bool_or" | "bit_and" | "bit_or"
    )
}

/// Types whose bytes as rows compare as their values do.
fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) => false,
        other => {
            other.is_primitive()
                || other.is_string()
                || other.is_binary()
                || *other == DataType::Boolean
        }
    }
}

/// The same aggregate without DISTINCT.
fn plain(expr: &AggregateFunctionExpr, input: &SchemaRef) -> Result<Arc<AggregateFunctionExpr>> {
    let args: Vec<Arc<dyn PhysicalExpr>> = expr.expressions();
    let plain = AggregateExprBuilder::new(Arc::new(expr.fun().clone()), args)
        .schema(Arc::clone(input))
        .alias(expr.name())
        .with_ignore_nulls(expr.ignore_nulls())
        .build()?;
    Ok(Arc::new(plain))
}

pub(super) fn misfit() -> Error {
    Error::internal("an updating aggregation's columns do not fit its layout")
}
