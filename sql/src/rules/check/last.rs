//! Rules over the last rows of a table: the rows with the columns that are needed, and what is measured of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::physical_expr::utils::collect_columns;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::{Measures, Reach};

use super::measures::{Columns, arrives, base, time_of};
use super::query::{check_truth, measure, names_of, plan_query, scope_of};
use super::{CheckPlan, Checked, ask};
use crate::ast::{Constraint, Expectation, Scope};
use crate::parse::skeleton::{self, quoted};
use crate::plan::{Planner, Tables};
use crate::rules::gate;
use crate::rules::planning::check_truth as check_condition;

/// The column of WHEN; no name that a script has by chance.
const WHEN: &str = "_last.when";

/// What is asked of the last rows.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    /// Which they are.
    pub(crate) reach: Reach,
    /// The column of their event time.
    pub(crate) time: Option<String>,
    /// The column that says which rows the rule is about.
    pub(crate) when: Option<&'static str>,
    /// What is measured of them.
    pub(crate) measures: Arc<Measures>,
}

/// Whether a rule is about the last rows.
pub(super) fn is_last(rule: &Constraint) -> bool {
    matches!(rule.scope, Some(Scope::LastRows(_) | Scope::LastTime(_)))
}

/// Whether an operator measures the rows of a rule, not a query.
pub(super) fn is_measured(rule: &Constraint) -> bool {
    // A query cannot begin anew at a checkpoint.
    let by_epoch = matches!(rule.scope, Some(Scope::Batch)) && arrives(rule);
    let is_row = matches!(rule.expectation, Expectation::Row(_));
    is_row && (is_last(rule) || by_epoch)
}

/// A table that has columns and no rows.
struct Bare {
    name: &'static str,
    table: Arc<dyn TableProvider>,
}

impl Tables for Bare {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        match name == self.name {
            true => Ok(Arc::clone(&self.table)),
            false => Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                format!("a rule over the last rows that reads \"{name}\""),
            )
            .hint("use an expression of aggregates over columns of its own table")),
        }
    }
}

/// Plans a rule.
pub(super) fn plan(planner: &Planner, table: &Checked<'_>, rule: &Constraint) -> Result<CheckPlan> {
    let reach = match &rule.scope {
        Some(Scope::LastRows(count)) => Reach::Rows(*count),
        Some(Scope::LastTime(length)) => match planner.interval(length, rule.place)? {
            micros if micros > 0 => Reach::Time(micros),
            _ => {
                let error = Error::new(Kind::Invalid, codes::RULE, "LAST needs a time");
                return Err(error.at(Some(rule.place)));
            }
        },
        _ => Reach::Epoch,
    };
    let base = base(rule);
    let schema = table.table(base)?.schema();
    let mut columns = Columns::default();
    for name in &rule.per {
        let key = skeleton::expression(&quoted(&name.text), &[])?;
        columns.push(key, &name.text);
    }
    let check = ask::check(planner, table, rule, &mut columns)?;
    let by = match names_of(&rule.per) {
        none if none.is_empty() => String::new(),
        keys => format!(" GROUP BY {keys}"),
    };
    let mut query = skeleton::query(&format!("SELECT 1 FROM {}{by}", quoted(base)))?;
    measure(&mut query, &columns, None);
    let bare = Bare {
        name: base,
        table: Arc::new(EmptyTable::new(schema)),
    };
    let planned = planner.query(&bare, &query, Some(rule.place))?;
    let measured = planner.analyze(planned.plan, Some(rule.place))?;
    check_truth(&check, &measured, &[rule], 0)?;
    let measures = gate::measures(planner, rule, &measured)?;
    let time = table.time.map(|time| time_of(rule, table, time).to_owned());
    let needed = measures.exprs().flat_map(collect_columns);
    let needed = needed.map(|column| column.name().to_owned());
    let needed: BTreeSet<String> = needed.chain(time.clone()).collect();
    let mut rows = Columns::of_names(&needed)?;
    if let Some(when) = &rule.when {
        rows.push(when.clone(), WHEN);
    }
    let mut query = skeleton::query(&format!("SELECT 1 FROM {}", quoted(base)))?;
    measure(&mut query, &rows, None);
    let plan = plan_query(planner, table, &query, rule)?;
    let when = rule.when.as_ref().map(|_| WHEN);
    if let Some(when) = when {
        let found = plan.schema().field_with_unqualified_name(when)?.data_type();
        check_condition(found, "WHEN", rule.place)?;
    }
    Ok(CheckPlan {
        id: rule.name.text.clone(),
        scope: scope_of(rule),
        by_batch: false,
        plan,
        segments: rule.per.len(),
        windowed: false,
        last: Some(Last {
            reach,
            time,
            when,
            measures: Arc::new(measures),
        }),
        every: None,
        checks: vec![check],
        place: rule.place,
    })
}
