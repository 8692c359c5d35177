//! Anomalies as the runtime's own operator: rows wait for the watermark.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::anomaly::AnomalyFactory;
use weir_engine::error::{Error, Result};
use weir_engine::window::WindowKind;

use super::flow::{Flow, Kind, Role, Windows};
use super::stateless::column_index;
use super::{Lowering, refuse};
use crate::plan::anomaly::AnomalyNode;
use crate::plan::errors::place_of_span;

impl Lowering<'_> {
    /// Lowers the judging of rows.
    pub(super) fn anomalies(&mut self, flow: Flow, node: &AnomalyNode) -> Result<Flow> {
        let flow = self.expand(flow)?;
        if flow.is_changelog() {
            return Err(refuse::anomalies_of_changes());
        }
        let schema = node.input().schema();
        let time = node.order().first().map(|time| &time.expr);
        let column = time.and_then(|time| column_index(time, schema));
        let flow = match column {
            Some(column) => self.clock(flow, column)?,
            None => flow,
        };
        let flow = self.settle(flow)?;
        let role = column.map_or(Role::Plain, |column| flow.role(column));
        let behind = behind(role, time)?;
        let compile = |expr: &Expr| -> Result<Arc<dyn PhysicalExpr>> {
            let compiled = self.compile(&flow, expr, schema)?;
            compiled.ok_or_else(|| Error::internal("an anomaly needs windows that are lowered"))
        };
        let spec = node.spec(Arc::clone(&flow.schema), compile)?;
        let keys = spec.partition.clone();
        let ttl = self.target.planner.state_ttl();
        let sources = self.graph.sources_of(flow.at);
        let factory = AnomalyFactory::try_new(spec, behind, ttl, sources)?;
        let roles = flow.roles.iter().enumerate();
        let roles = roles.map(
            |(at, held)| match Some(at) == column || keeps(role, *held) {
                true => *held,
                false => Role::Plain,
            },
        );
        let roles = roles.collect();
        let flow = self.keyed(flow, keys, "anomaly", Arc::new(factory))?;
        Ok(Flow { roles, ..flow })
    }
}

/// How far behind the watermark a row may come.
fn behind(role: Role, time: Option<&Expr>) -> Result<i64> {
    match role {
        // Rows of the very moment of the watermark may follow it.
        Role::EventTime => Ok(1),
        Role::End(windows) => Ok(windows.lateness),
        Role::Start(windows) => match longest(windows) {
            Some(length) => Ok(length.saturating_add(windows.lateness)),
            None => Err(refuse::anomalies_by_session_start()),
        },
        Role::Plain | Role::Clock => {
            let (name, place) = match time {
                Some(Expr::Column(column)) => (
                    column.name.clone(),
                    column.spans().first().and_then(place_of_span),
                ),
                Some(other) => (other.to_string(), None),
                None => (String::new(), None),
            };
            Err(refuse::not_event_time(&name, "ANOMALY").at(place))
        }
    }
}

/// The length of the longest of windows that start together.
fn longest(windows: Windows) -> Option<i64> {
    match windows.kind {
        Kind::Fixed(spec) => Some(match spec.kind() {
            WindowKind::Tumble { size }
            | WindowKind::Hop { size, .. }
            | WindowKind::Cumulate { size, .. } => size,
        }),
        Kind::Session(_) => None,
    }
}

/// Whether a column means for event time what it meant before rows waited in the order of another one.
fn keeps(order: Role, held: Role) -> bool {
    match (order.windows(), held.windows()) {
        // They are never behind by more than their own order lets them be.
        (None, _) => order == Role::EventTime,
        (Some(order), Some(held)) => order == held && order.length().is_some(),
        (Some(_), None) => held == Role::Plain,
    }
}
