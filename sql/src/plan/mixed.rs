//! Texts compared with numbers or times. The planner makes the text into the other type, row by row, and the first
//! text that is none would end a job: a rule says so before it begins.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use weir_engine::error::{Error, Kind, codes};

/// The error of the first such comparison in a plan whose types are as they are written.
pub(crate) fn refuse(plan: &LogicalPlan) -> Option<Error> {
    let mut found = None;
    let visited = plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        for expr in node.expressions() {
            found = compared(&expr, &schema);
            if found.is_some() {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.ok().and(found)
}

/// The error of the first such comparison in an expression.
pub(crate) fn compared(expr: &Expr, schema: &DFSchema) -> Option<Error> {
    let mut found = None;
    let visited = expr.apply(|part| {
        let (value, others): (&Expr, Vec<&Expr>) = match part {
            Expr::BinaryExpr(binary) if binary.op.supports_propagation() => {
                (&binary.left, vec![&binary.right])
            }
            Expr::Between(between) => (&between.expr, vec![&between.low, &between.high]),
            Expr::InList(list) => (&list.expr, list.list.iter().collect()),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        let pairs = others.iter().map(|other| (value, *other));
        for (one, other) in pairs.flat_map(|(one, other)| [(one, other), (other, one)]) {
            found = found.take().or_else(|| beside(one, other, schema));
        }
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    visited.ok().and(found)
}

fn beside(text: &Expr, other: &Expr, schema: &DFSchema) -> Option<Error> {
    let (Ok(found), Ok(with)) = (text.get_type(schema), other.get_type(schema)) else {
        return None;
    };
    let is_text = matches!(
        found,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    // A text that is written in the rule is made into the other type when it is planned.
    if !is_text || matches!(text, Expr::Literal(..)) {
        return None;
    }
    let (what, cast) = match &with {
        with if with.is_numeric() => ("a number", "DOUBLE"),
        with if with.is_temporal() => ("a time", "TIMESTAMP"),
        _ => return None,
    };
    let message = format!("{text} is a text and is compared with {what}");
    let hint = format!(
        "write TRY_CAST({text} AS {cast}), which is null where it is none, or compare with a text"
    );
    Some(Error::new(Kind::Invalid, codes::TYPE, message).hint(hint))
}
