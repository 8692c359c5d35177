//! Plans rules whose rows may have to wait: for a row of another table, or for one that follows.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::keyed::{Ask, Refers, UniqueLast};

use super::keyed::{Column1, Planning};
use super::planning::{Arrival, Ruled};
use crate::ast::{self, Asks, Constraint, Name};
use crate::plan::Planner;

/// Whether a row refers to another table that ends, for a rule that asks so: it needs no other row. One
/// that may wait for the other table is a step of its own.
pub(super) fn referring(
    planner: &Planner,
    ruled: &Ruled<'_>,
    constraint: &Constraint,
    keyed: &ast::Keyed,
) -> Result<Option<(Expr, Arc<dyn PhysicalExpr>)>> {
    let Asks::References {
        columns,
        table,
        to,
        grace,
    } = &keyed.asks
    else {
        return Ok(None);
    };
    if let Some(name) = constraint.per.first().or(keyed.order.as_ref()) {
        let message = "REFERENCES looks at each row by itself, without PER and ORDER BY";
        return Err(Error::new(Kind::Invalid, codes::RULE, message).at(name.place));
    }
    let found = planner
        .references()
        .found(ruled, columns, (table, to), constraint.place)?;
    if grace.is_some() || !found.ends {
        return Ok(None);
    }
    let expr = found.expr();
    let schema = DFSchema::try_from(Arc::clone(ruled.schema))?;
    let compiled = planner.compile(expr.clone(), &schema)?;
    Ok(Some((expr, compiled)))
}

impl Planning<'_> {
    /// The last row of each key, by event time if there is one, else by arrival.
    pub(super) fn keeps_last(
        &self,
        within: Option<Duration>,
        order: Option<&Column1>,
    ) -> Result<Ask> {
        let time = match (order, within) {
            (Some(order), _) => Some(Arc::clone(order)),
            (None, Some(_)) => Some(self.event_time()?),
            (None, None) => None,
        };
        let micros = within.map(|within| i64::try_from(within.as_micros()).unwrap_or(i64::MAX));
        Ok(Ask::UniqueLast(UniqueLast { time, micros }))
    }

    /// The columns that refer to another table, in the types in which its keys are compared.
    pub(super) fn refers(
        &self,
        columns: &[Name],
        (table, to): (&Name, &[Name]),
        grace: Option<Duration>,
    ) -> Result<(Vec<Column1>, Ask)> {
        let references = self.planner.references();
        let found = references.found(self.ruled, columns, (table, to), self.place)?;
        let schema = DFSchema::try_from(Arc::clone(self.ruled.schema))?;
        let values = found.values.into_iter();
        let key = values.map(|value| self.planner.compile(value, &schema));
        let time = match self.ruled.arrival {
            Arrival::Rows(Some(_)) => Some(self.event_time()?),
            _ => None,
        };
        let refers = Refers {
            reference: found.reference,
            grace: i64::try_from(grace.unwrap_or_default().as_micros()).unwrap_or(i64::MAX),
            time,
        };
        Ok((key.collect::<Result<_>>()?, Ask::Refers(refers)))
    }
}
