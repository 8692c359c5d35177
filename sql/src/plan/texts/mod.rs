//! Calls on texts, rewritten into functions that do what is common once: `(regexp_match(text,
//! pattern))[n]`, several `split_part` of one text, `text ~ pattern`, `text IN (..)`.

mod automaton;
mod regex_match;
mod regexp_element;
mod short_list;
mod split_part;
mod text;

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

use regex_match::RegexMatch;
use regexp_element::RegexpElement;
use short_list::ShortList;
use split_part::Cut;

/// The rule; it stands before the one that computes common expressions once.
#[derive(Debug, Default)]
pub(super) struct TextCalls;

impl OptimizerRule for TextCalls {
    fn name(&self) -> &'static str {
        "text_calls"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        let schema = merge_schema(&plan.inputs());
        let mut splits: HashMap<Expr, usize> = HashMap::new();
        let mut is_any = false;
        plan.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Some(cut) = Cut::of(part, &schema) {
                    *splits.entry(cut.positions()).or_default() += 1;
                }
                is_any |= RegexpElement::of(part, &schema).is_some() || RegexMatch::may_be(part);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        splits.retain(|_, uses| *uses > 1);
        if splits.is_empty() && !is_any {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|part| {
                let cut =
                    Cut::of(&part, &schema).filter(|cut| splits.contains_key(&cut.positions()));
                let call = cut
                    .map(Cut::call)
                    .or_else(|| RegexpElement::of(&part, &schema))
                    .or_else(|| RegexMatch::of(&part, &schema));
                Ok(call.map_or_else(|| Transformed::no(part), Transformed::yes))
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    }
}

/// Rewrites an expression that no optimiser sees: nobody looks there for what a scan may leave out.
pub(super) fn rewritten(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let rewritten = expr.transform_up(|part| {
        let call = RegexMatch::of(&part, schema).or_else(|| ShortList::of(&part, schema));
        Ok(call.map_or_else(|| Transformed::no(part), Transformed::yes))
    })?;
    Ok(rewritten.data)
}

/// The arguments of a call of a function of this name.
fn arguments<'a>(expr: &'a Expr, name: &str) -> Option<&'a [Expr]> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == name => {
            Some(args.as_slice())
        }
        _ => None,
    }
}

/// Whether an expression gives texts of the plain kind.
fn is_text(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema)
        .is_ok_and(|found| found == DataType::Utf8)
}

/// The value of a text that is a constant.
fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// The value of a number that is a constant.
fn number_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => usize::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
