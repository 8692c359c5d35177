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
        if finding.passed == Some(false) && fails {
            return Err(self.failed(check, seen, segment));
        }
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
        self.results.push(RuleResult {
            table: self.spec.table.clone(),
            rule,
            scope: self.spec.scope,
            segment,
            pane,
            passed: finding.passed,
            observed: seen,
            samples: Vec::new(),
            at: self.now,
        });
        Ok(())
    }

    fn failed(&self, check: &Check, seen: Option<String>, segment: Option<String>) -> Error {
        let table = &self.spec.table;
        let message = format!("rule \"{}\" of \"{table}\" does not hold", check.name);
        let of = segment.map_or_else(String::new, |segment| format!(" of {segment}"));
        let seen = seen.unwrap_or_else(|| "nothing".to_owned());
        Error::new(Kind::Data, codes::RULE_BROKEN, message)
            .detail(format!("measured{of}: {seen}"))
            .hint("correct the data, or give the rule another action: ON VIOLATION WARN")
    }
}
