//! What becomes of each row of a batch, by the rules that it breaks: of several the strongest counts.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;

use super::rule::{Action, Rule};
use super::verdict::Verdict;

/// The rows of a batch by what becomes of them; `None` where that is so of none.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// The first rule that ends the job, with its rows.
    pub(super) failed: Option<(usize, BooleanBuffer)>,
    /// The rows of each quarantine table.
    pub(super) quarantined: Vec<(Arc<str>, BooleanBuffer)>,
    /// Rows that are dropped.
    pub(super) dropped: Option<BooleanBuffer>,
    /// The rules that repair rows, with the rows, in the order of the rules.
    pub(super) repaired: Vec<(usize, BooleanBuffer)>,
}

impl Fate {
    pub(super) fn of(rules: &[Rule], verdicts: &[Verdict]) -> Self {
        let mut fate = Self::default();
        let mut gone: Option<BooleanBuffer> = None;
        let broken = || {
            let each = rules.iter().zip(verdicts).enumerate();
            let acting = each.filter(|(_, (rule, _))| rule.acts());
            acting.filter_map(|(at, (rule, verdict))| Some((at, rule, verdict.violated.as_ref()?)))
        };
        for (at, rule, rows) in broken() {
            match &rule.action {
                Action::Fail if fate.failed.is_none() => fate.failed = Some((at, rows.clone())),
                Action::Quarantine(into) => {
                    let Some(rows) = but(rows, gone.as_ref()) else {
                        continue;
                    };
                    gone = Some(or(gone.as_ref(), &rows));
                    let same = fate.quarantined.iter_mut().find(|(other, _)| other == into);
                    match same {
                        Some((_, all)) => *all = &*all | &rows,
                        None => fate.quarantined.push((Arc::clone(into), rows)),
                    }
                }
                _ => {}
            }
        }
        for (_, _, rows) in broken().filter(|(_, rule, _)| matches!(rule.action, Action::Drop)) {
            if let Some(rows) = but(rows, gone.as_ref()) {
                fate.dropped = Some(or(fate.dropped.as_ref(), &rows));
                gone = Some(or(gone.as_ref(), &rows));
            }
        }
        for (at, _, rows) in broken().filter(|(_, rule, _)| matches!(rule.action, Action::Set(_))) {
            if let Some(rows) = but(rows, gone.as_ref()) {
                fate.repaired.push((at, rows));
            }
        }
        fate
    }

    /// The rows that are published; `None` if all are.
    pub(super) fn published(&self) -> Option<BooleanArray> {
        let kept_back = self.quarantined.iter().map(|(_, rows)| rows);
        let gone = kept_back
            .chain(&self.dropped)
            .fold(None, |gone: Option<BooleanBuffer>, rows| {
                Some(or(gone.as_ref(), rows))
            })?;
        Some(BooleanArray::new(!&gone, None))
    }
}

/// The rows of the first that are not in the second.
fn but(rows: &BooleanBuffer, gone: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
    let left = match gone {
        Some(gone) => rows & &!gone,
        None => rows.clone(),
    };
    (left.count_set_bits() > 0).then_some(left)
}

fn or(first: Option<&BooleanBuffer>, second: &BooleanBuffer) -> BooleanBuffer {
    match first {
        Some(first) => first | second,
        None => second.clone(),
    }
}
