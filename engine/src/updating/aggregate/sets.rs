//! Aggregates of one GROUP BY that count or add different values of the same columns: over rows that
//! only come, each value is kept once, with a mark per aggregate that has seen it.

use super::call::{Call, Method, misfit};
use super::program::Program;
use crate::error::Result;

/// Aggregates that share one set: their marks are bits of a number, without its sign.
const SHARERS_MAX: usize = 63;

/// The aggregates that share a set of values.
#[derive(Debug)]
pub(super) struct DistinctSet {
    /// By their numbers; the first holds the set.
    sharers: Vec<usize>,
}

/// Finds the sets of aggregates over rows that only come.
pub(super) fn of(calls: &[Call]) -> Vec<DistinctSet> {
    let mut sets: Vec<DistinctSet> = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        if call.method != Method::Edges || call.changelog {
            continue;
        }
        let same = |set: &&mut DistinctSet| {
            let owner = calls.get(set.owner());
            set.sharers.len() < SHARERS_MAX && owner.is_some_and(|o| o.has_entries_of(call))
        };
        match sets.iter_mut().find(same) {
            Some(set) => set.sharers.push(place),
            None => sets.push(DistinctSet {
                sharers: vec![place],
            }),
        }
    }
    sets
}

impl DistinctSet {
    /// The aggregate that holds the set.
    pub(super) fn owner(&self) -> usize {
        self.sharers.first().copied().unwrap_or(0)
    }

    /// Whether an aggregate shares this set.
    pub(super) fn has(&self, call: usize) -> bool {
        self.sharers.contains(&call)
    }

    /// The aggregates with their marks and numbers.
    pub(super) fn calls<'a>(&self, program: &'a Program) -> Result<Vec<(i64, usize, &'a Call)>> {
        let sharers = self.sharers.iter().enumerate();
        let call = |(bit, place): (usize, &usize)| {
            let call = program.calls.get(*place).ok_or_else(misfit)?;
            Ok((1 << bit, *place, call))
        };
        sharers.map(call).collect()
    }
}
