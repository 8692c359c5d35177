//! Rules that compare their table with another: the same rows, or an aggregate beside the value of a query.

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use weir_engine::error::{Error, Kind, Result, codes};

use super::measures::{self, base};
use super::query::plan_query;
use super::{Checked, THIS};
use crate::ast::{Constraint, Expectation, Name};
use crate::parse::skeleton::{self, quoted};
use crate::plan::Planner;

/// The rows that one of two tables has more often than the other: rows count 1 and -1, so that equal
/// ones are nothing together.
pub(super) fn difference(table: &Checked<'_>, other: &Name, key: &[Name]) -> Result<String> {
    let columns: Vec<String> = match key.is_empty() {
        true => {
            let schema = table.schema();
            schema.fields().iter().map(|f| quoted(f.name())).collect()
        }
        false => {
            key.iter().try_for_each(|name| table.column(name))?;
            key.iter().map(|name| quoted(&name.text)).collect()
        }
    };
    let (columns, other) = (columns.join(", "), quoted(&other.text));
    Ok(format!(
        "SELECT sum(\"_n\") AS \"_sum\" FROM (SELECT {columns}, 1 AS \"_n\" FROM \"{THIS}\" UNION ALL \
         SELECT {columns}, -1 AS \"_n\" FROM {other}) GROUP BY {columns} HAVING sum(\"_n\") <> 0"
    ))
}

/// An aggregate of the table beside the value of a query.
pub(super) fn both(
    planner: &Planner,
    table: &Checked<'_>,
    left: &SqlExpr,
    rule: &Constraint,
) -> Result<LogicalPlan> {
    let Expectation::Equals {
        right, tolerance, ..
    } = &rule.expectation
    else {
        return Err(Error::internal("a rule compares nothing"));
    };
    let alone = planner.query(table, right, Some(rule.place))?;
    let wrong = |message: String, hint: &str| Err(super::wrong(&message, hint, Some(rule.place)));
    let one = "write (SELECT sum(column) FROM table)";
    if alone.plan.schema().fields().len() != 1 {
        let message = "the query that a rule compares with gives more than one column";
        return wrong(message.to_owned(), one);
    }
    if alone.plan.max_rows().is_none_or(|rows| rows > 1) {
        let message = "the query that a rule compares with may give more than one row";
        return wrong(message.to_owned(), one);
    }
    if measures::aggregates(planner, left).is_empty() {
        let message = format!("{left} is no aggregate, and a query has one value for all rows");
        return wrong(message, "write EXPECT (sum(column)) = (SELECT ...)");
    }
    let of_left = skeleton::query(&format!("SELECT {left} FROM {}", quoted(base(rule))))?;
    let of_left = planner.query(table, &of_left, Some(rule.place));
    let of_left = of_left.map_err(|error| error.moved(rule.place))?.plan;
    let types = [&of_left, &alone.plan].map(|plan| plan.schema().field(0).data_type().clone());
    if let Some(other) = types.iter().find(|of| !of.is_numeric() && !of.is_null()) {
        let message = format!("{left} = ({right}) compares numbers, not {other}");
        return Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint("write EXPECT (sum(column)) = (SELECT sum(column) FROM table)")
            .at(Some(rule.place)));
    }
    let text = format!(
        "SELECT CASE WHEN l.v = r.v THEN true ELSE \
         abs(CAST(l.v AS DOUBLE) - CAST(r.v AS DOUBLE)) <= {tolerance} * abs(CAST(r.v AS DOUBLE)) END AS m0, \
         l.v AS m1, r.v AS m2 \
         FROM (SELECT {left} AS v, 1 AS k FROM {this}) l \
         JOIN (SELECT v, 1 AS k FROM ({right}) AS q(v)) r ON l.k = r.k",
        this = quoted(base(rule)),
    );
    let mut query = skeleton::query(&text)?;
    if let Some(when) = &rule.when {
        let hint = "put the condition into the aggregate: sum(x) FILTER (WHERE condition)";
        let error = Error::new(
            Kind::Invalid,
            codes::RULE,
            format!("a rule that compares with a query has WHEN ({when})"),
        );
        return Err(error.hint(hint).at(rule.name.place));
    }
    query.order_by = None;
    plan_query(planner, table, &query, rule)
}
