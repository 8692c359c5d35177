//! `ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...)` under a filter that asks for the first rows:
//! Top-N, and with one row deduplication.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, Operator, Projection, Window, WindowFunctionDefinition,
    expr::WindowFunctionParams,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use weir_engine::error::Result;
use weir_engine::updating::rank::{RankFactory, RankSpec};

use super::Lowering;
use super::flow::{Flow, Origin};
use super::stateless::column_index;

/// The name of the column with a row's number.
const NUMBER: &str = "row_number";

/// A filter over the number of a row.
struct TopN<'a> {
    window: &'a Window,
    function: &'a WindowFunctionParams,
    /// What picks columns between the two.
    picks: Option<&'a Projection>,
    /// How many rows of each partition may pass.
    rows: u64,
    /// What else must be true.
    rest: Vec<Expr>,
    /// The number's column is needed.
    numbered: bool,
}

impl Lowering<'_> {
    /// Lowers a filter that asks for the first rows of each partition; `None` if it asks for
    /// something else. `uses` says which columns of the filter are needed above it.
    pub(super) fn top_n(
        &mut self,
        filter: &Filter,
        uses: &dyn Fn(usize) -> bool,
    ) -> Result<Option<Flow>> {
        let Some(top) = find(filter, uses) else {
            return Ok(None);
        };
        let flow = self.lower(&top.window.input)?;
        let flow = self.settle(flow)?;
        let mut flow = self.rank(flow, &top)?;
        if let Some(picks) = top.picks {
            let input = picks.input.schema();
            flow = self.project(flow, &picks.expr, input, &picks.schema)?;
        }
        match conjunction(top.rest) {
            Some(rest) => self.filter(flow, &rest, filter.input.schema()).map(Some),
            None => Ok(Some(flow)),
        }
    }

    fn rank(&mut self, flow: Flow, top: &TopN<'_>) -> Result<Flow> {
        let input = top.window.input.schema();
        let compile = |expr: &Expr| self.target.planner.physical_expr(expr, input);
        let partition = top.function.partition_by.iter().map(compile);
        let partition: Vec<_> = partition.collect::<Result<_>>()?;
        let order = top.function.order_by.iter().map(|sort| {
            let options = SortOptions {
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            };
            Ok((compile(&sort.expr)?, options))
        });
        let order = order.collect::<Result<_>>()?;
        let width = flow.width();
        let rank = Field::new(NUMBER, DataType::UInt64, false);
        let factory = RankFactory::try_new(RankSpec {
            input: Arc::clone(&flow.schema),
            partition: partition.clone(),
            order,
            // A row at least: the conditions that are left refuse it.
            rows: top.rows.max(1),
            rank: top.numbered.then(|| Arc::new(rank)),
            ttl: self.target.planner.state_ttl(),
        })?;
        let key = key(&flow, &partition, top);
        let mut flow = self.keyed(flow, partition, "rank", Arc::new(factory))?;
        if !top.numbered {
            // The plan counts a column that nothing asks for.
            flow.columns.push((Origin::Input(width), NUMBER.to_owned()));
        }
        Ok(Flow { key, ..flow })
    }
}

/// The columns that tell the ranked rows apart, with those that they are spread by.
fn key(flow: &Flow, partition: &[Arc<dyn PhysicalExpr>], top: &TopN<'_>) -> Option<Vec<usize>> {
    let columns = partition.iter();
    let columns = columns.map(|expr| Some(expr.downcast_ref::<Column>()?.index()));
    let mut key: Vec<usize> = columns.collect::<Option<_>>()?;
    if top.numbered {
        key.push(flow.width());
    } else if top.rows > 1 {
        key.extend(flow.key.as_deref()?);
    }
    key.sort_unstable();
    key.dedup();
    Some(key)
}

fn find<'a>(filter: &'a Filter, uses: &dyn Fn(usize) -> bool) -> Option<TopN<'a>> {
    let (picks, window) = match filter.input.as_ref() {
        LogicalPlan::Window(window) => (None, window),
        LogicalPlan::Projection(picks) => match picks.input.as_ref() {
            LogicalPlan::Window(window) => (Some(picks), window),
            _ => return None,
        },
        _ => return None,
    };
    let function = row_number(window)?;
    let last = window.schema.fields().len().checked_sub(1)?;
    // The optimiser may have computed the number in another type for several conditions.
    let numbers: Vec<usize> = match picks {
        None => vec![last],
        Some(picks) => {
            let exprs = picks.expr.iter().enumerate();
            let numbers = exprs.filter(|(_, expr)| is_number(expr, &window.schema, &[last]));
            numbers.map(|(at, _)| at).collect()
        }
    };
    let schema = filter.input.schema();
    let mut rows = None::<u64>;
    let mut rest = Vec::new();
    for condition in split_conjunction(&filter.predicate) {
        match first_rows(condition, schema, &numbers) {
            Some((most, all)) => {
                rows = Some(rows.map_or(most, |rows| rows.min(most)));
                if !all {
                    rest.push(condition.clone());
                }
            }
            None => rest.push(condition.clone()),
        }
    }
    let mut needed = rest.iter().flat_map(Expr::column_refs);
    let is_number = |column: usize| numbers.contains(&column);
    let numbered = numbers.iter().any(|number| uses(*number))
        || needed.any(|column| schema.maybe_index_of_column(column).is_some_and(is_number))
        || picks.is_some_and(|picks| !only_picks(picks));
    Some(TopN {
        window,
        function,
        picks,
        rows: rows?,
        rest,
        numbered,
    })
}

/// The only function of a window, if it numbers rows.
fn row_number(window: &Window) -> Option<&WindowFunctionParams> {
    let [expr] = window.window_expr.as_slice() else {
        return None;
    };
    let expr = match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    let Expr::WindowFunction(function) = expr else {
        return None;
    };
    match &function.fun {
        WindowFunctionDefinition::WindowUDF(udf) if udf.name() == "row_number" => {
            Some(&function.params)
        }
        _ => None,
    }
}

fn only_picks(projection: &Projection) -> bool {
    let input = projection.input.schema();
    projection
        .expr
        .iter()
        .all(|expr| column_index(expr, input).is_some())
}

/// The greatest number of a row that a condition lets pass, and whether all up to it do.
fn first_rows(condition: &Expr, schema: &DFSchema, numbers: &[usize]) -> Option<(u64, bool)> {
    let is_number = |expr: &Expr| is_number(expr, schema, numbers);
    let most = |condition: &Expr| first_rows(condition, schema, numbers);
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Or => {
                let (left, right) = (most(left)?, most(right)?);
                Some((left.0.max(right.0), false))
            }
            Operator::And => {
                let both = [most(left), most(right)];
                let least = both.iter().flatten().map(|(most, _)| *most).min()?;
                Some((least, false))
            }
            _ if is_number(left) => compared(*op, whole(right)?),
            _ if is_number(right) => compared(op.swap()?, whole(left)?),
            _ => None,
        },
        Expr::Between(between) if !between.negated && is_number(&between.expr) => {
            let ((low, from), (high, to)) = (whole(&between.low)?, whole(&between.high)?);
            Some((high, from && to && low <= 1 && high > 0))
        }
        Expr::InList(list) if !list.negated && is_number(&list.expr) => {
            let numbers: Option<Vec<_>> = list.list.iter().map(whole).collect();
            let most = numbers?.into_iter().map(|(number, _)| number).max()?;
            Some((most, false))
        }
        _ => None,
    }
}

fn compared(op: Operator, (most, is_whole): (u64, bool)) -> Option<(u64, bool)> {
    match op {
        Operator::LtEq => Some((most, is_whole && most > 0)),
        Operator::Lt => Some((most.saturating_sub(1), is_whole && most > 1)),
        Operator::Eq => Some((most, is_whole && most == 1)),
        _ => None,
    }
}

/// Whether an expression is one of the columns with a row's number, in any numeric type: as text, 10
/// comes before 9.
fn is_number(expr: &Expr, schema: &DFSchema, numbers: &[usize]) -> bool {
    match expr {
        Expr::Alias(alias) => is_number(&alias.expr, schema, numbers),
        Expr::Cast(cast) if cast.field.data_type().is_numeric() => {
            is_number(&cast.expr, schema, numbers)
        }
        other => column_index(other, schema).is_some_and(|column| numbers.contains(&column)),
    }
}

/// A number of rows, not less than what is written, and whether it is just that: one below 0 counts as
/// 0, which no row has either.
fn whole(expr: &Expr) -> Option<(u64, bool)> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    if let Ok(ScalarValue::Int64(Some(..0))) = value.cast_to(&DataType::Int64) {
        return Some((0, true));
    }
    let number = value.cast_to(&DataType::UInt64).ok()?;
    let is_whole = number.cast_to(&value.data_type()).ok()? == *value;
    match number {
        ScalarValue::UInt64(Some(whole)) if is_whole => Some((whole, true)),
        ScalarValue::UInt64(Some(part)) => Some((part.checked_add(1)?, false)),
        _ => None,
    }
}
