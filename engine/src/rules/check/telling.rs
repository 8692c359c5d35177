//! Verdicts on their way to the results.

use arrow::record_batch::RecordBatch;

use super::verdict::{Finding, observed, segment, times};
use super::{Check, ChecksSpec, Consequence};
use crate::error::{Error, Kind, Result, codes};
use crate::rules::ledger::Counts;
use crate::rules::results::RuleResult;
use crate::rules::rule::Switch;

/// Verdicts on their way to the results.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    spec: &'a ChecksSpec,
    pub(super) counts: Counts,
    pub(super) results: Vec<RuleResult>,
    /// What ends the job, and the error that says it.
    pub(super) failed: Option<(Vec<RuleResult>, Error)>,
    now: i64,
}

impl<'a> Telling<'a> {
    pub(super) fn new(spec: &'a ChecksSpec, now: i64) -> Self {
        let counts = Counts {
            rules: vec![[0; 3]; spec.checks.len()],
            ..Counts::default()
        };
        Self {
            spec,
            counts,
            results: Vec::new(),
            failed: None,
            now,
        }
    }

    pub(super) fn add(
        &mut self,
        (at, check): (usize, &Check),
        finding: Finding,
        rows: &RecordBatch,
        row: usize,
    ) -> Result<()> {
        let seen = observed(check, rows, row);
        let segment = segment(self.spec, rows, row);
        let fails = check.switch == Switch::On && check.consequence == Consequence::Fail;
        if let Some(counts) = self.counts.rules.get_mut(at) {
            let one = finding.verdict();
            counts.iter_mut().zip(one).for_each(|(sum, n)| *sum += n);
        }
        let pane = match self.spec.window {
            Some((start, end)) => {
                let of = |at| Ok::<_, Error>(times(rows, at)?.get(row).copied().flatten());
                (of(start)?, of(end)?)
            }
            None => (None, Some(self.now)),
        };
        let [evaluated, violated, unknown] = finding.counts;
        let mut rule = check.tally();
        (rule.evaluated, rule.violated, rule.unknown) = (evaluated, violated, unknown);
        let result = RuleResult {
            table: self.spec.table.clone(),
            rule,
            scope: self.spec.scope,
            segment,
            pane,
            passed: finding.passed,
            observed: seen,
            samples: Vec::new(),
            at: self.now,
        };
        if finding.passed == Some(false) && fails {
            let error = || (Vec::new(), broken(check, &result));
            self.failed.get_or_insert_with(error).0.push(result);
        } else {
            self.results.push(result);
        }
        Ok(())
    }
}

fn broken(check: &Check, found: &RuleResult) -> Error {
    let message = format!(
        "rule \"{}\" of \"{}\" does not hold",
        check.name, found.table
    );
    let of = found.segment.as_ref();
    let of = of.map_or_else(String::new, |segment| format!(" of {segment}"));
    let seen = found.observed.as_deref().unwrap_or("nothing");
    Error::new(Kind::Data, codes::RULE_BROKEN, message)
        .detail(format!("measured{of}: {seen}"))
        .hint("correct the data, or give the rule another action: ON VIOLATION WARN")
}
