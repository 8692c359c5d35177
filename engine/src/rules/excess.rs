//! What happens when more rows break a rule than may: their source pauses, or the job ends. What has ended
//! it is kept, so that it can be told when nothing of its epoch is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::judge::Table;
use super::pause::Pause;
use super::results::RuleResult;
use super::rule::{Most, Overflow};
use crate::error::{Error, Kind, Result, codes};

/// More rows break a rule than may.
#[derive(Debug)]
pub(super) struct Excess<'a> {
    pub(super) table: &'a Table,
    /// The rule, by its number.
    pub(super) at: usize,
    pub(super) limit: Overflow,
    /// Evaluated, violated and unknown.
    pub(super) counts: [u64; 3],
    /// Some of the rows.
    pub(super) samples: &'a [Vec<String>],
    pub(super) epoch: u64,
    /// When it was found.
    pub(super) seen: i64,
    /// The run, where the rows are of a source that can pause.
    pub(super) pausing: Option<&'a Arc<str>>,
}

/// The sources that pause, and what has ended the job.
#[derive(Debug, Default)]
pub(crate) struct Halts {
    /// The sources that give no rows for now, by name.
    pub(crate) pauses: BTreeMap<String, Pause>,
    /// By the epoch that never came.
    fatal: BTreeMap<u64, Vec<RuleResult>>,
}

impl Halts {
    /// Pauses the source of the rows, unless it has paused already, or ends the job.
    pub(super) fn exceeded(&mut self, excess: &Excess<'_>) -> Result<()> {
        let Excess { table, epoch, .. } = *excess;
        let [evaluated, violated, _] = excess.counts;
        let detail = match excess.limit.most {
            Most::Rows(most) => format!("{violated} rows break it, {most} may"),
            Most::Share(most) => {
                format!("{violated} of {evaluated} rows break it, {most} of them may")
            }
        };
        let Some(rule) = table.rules.get(excess.at) else {
            return Err(Error::internal("a rule is not in its table"));
        };
        let Some(run) = excess.pausing.filter(|_| excess.limit.pauses) else {
            let samples = excess.samples.get(excess.at).cloned().unwrap_or_default();
            let found = RuleResult::fatal(&table.name, rule, excess.counts, samples, excess.seen);
            self.ended(epoch, [found]);
            return Err(overflow(table, &rule.name, detail, excess.limit.pauses));
        };
        let source = table.name.to_string();
        self.pauses.entry(source.clone()).or_insert_with(|| {
            let rule = rule.name.clone();
            tracing::warn!(
                "source {source} is paused: rule {rule}: {detail}; RESUME SOURCE {source} lets it read on"
            );
            Pause {
                source,
                rule,
                detail,
                run: run.to_string(),
                epoch,
            }
        });
        Ok(())
    }

    /// Keeps what ends the job; of several tasks that find the same, what the first has found.
    pub(crate) fn ended(&mut self, epoch: u64, found: impl IntoIterator<Item = RuleResult>) {
        for found in found {
            let is_same = |known: &RuleResult| {
                (&known.table, &known.rule.name, &known.segment)
                    == (&found.table, &found.rule.name, &found.segment)
            };
            if !self.fatal.values().flatten().any(is_same) {
                self.fatal.entry(epoch).or_default().push(found);
            }
        }
    }

    /// Takes what has ended the job.
    pub(crate) fn take_ended(&mut self) -> BTreeMap<u64, Vec<RuleResult>> {
        std::mem::take(&mut self.fatal)
    }

    /// Says of the results of rules that have paused their source that they did.
    pub(super) fn tell(&self, results: &mut [RuleResult]) {
        for result in results {
            let pause = self.pauses.get(&result.table);
            if let Some(pause) = pause.filter(|pause| pause.rule == result.rule.name) {
                result.observed = Some(json!({ "paused": pause.detail }).to_string());
            }
        }
    }
}

fn overflow(table: &Table, rule: &str, detail: String, pauses: bool) -> Error {
    let message = format!("too many rows of \"{}\" break rule \"{rule}\"", table.name);
    let error = Error::new(Kind::Data, codes::RULE_BROKEN, message).detail(detail);
    error.hint(match pauses {
        false => "correct the data, or change ON OVERFLOW of the rule",
        true => {
            "correct the data, or change ON OVERFLOW of the rule; a source pauses only while a stream with \
             checkpoints reads it: run the script with --mode streaming and --state"
        }
    })
}
