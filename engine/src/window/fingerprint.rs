//! What the state of a window aggregation is of: a job takes it back only for the same thing.
//!
//! Keys and aggregates go in by name and type, not by the place of their columns, so that a script
//! may read more columns and keep its state.

use super::aggregate::{AggregateSpec, Assign, Phase, keeps_rows};
use super::length::Length;
use super::program::key_fields;
use crate::error::Result;

/// `None` for the local phase: it keeps nothing over a barrier. Rows to results and states to
/// results keep the same state, so that a job can go from one subtask to several.
pub(super) fn fingerprint(spec: &AggregateSpec, phase: Phase) -> Result<Option<String>> {
    if phase == Phase::Local {
        return Ok(None);
    }
    let mut parts = vec![match spec.assign {
        Assign::Time { spec, .. } => spec.to_string(),
        Assign::Session { gap, .. } => format!("SESSION({})", Length(gap)),
        Assign::Columns { start, end } => {
            let known = |column: Option<usize>| if column.is_some() { "known" } else { "unknown" };
            format!("start {}, end {}", known(start), known(end))
        }
    }];
    for field in key_fields(spec)? {
        parts.push(format!("key {} {}", field.name(), field.data_type()));
    }
    for (i, aggregate) in spec.aggregates.iter().enumerate() {
        let states = aggregate.state_fields()?;
        let types: Vec<String> = states.iter().map(|f| f.data_type().to_string()).collect();
        let filtered = spec.filters.get(i).is_some_and(Option::is_some);
        let filtered = if filtered { " filtered" } else { "" };
        parts.push(format!(
            "{}{filtered} ({})",
            aggregate.name(),
            types.join(", ")
        ));
    }
    if keeps_rows(spec) {
        parts.push("rows".to_owned());
    }
    if spec.firing.is_updating() {
        parts.push("updating".to_owned());
    }
    Ok(Some(parts.join("; ")))
}
