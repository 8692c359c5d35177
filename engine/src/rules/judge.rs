//! All rules of a table over one batch: judges the rows, keeps bad ones back, repairs others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::fate::Fate;
use super::fused::{Fused, with_rows};
use super::kept::Kept;
use super::ledger::Counts;
use super::origin::Origin;
use super::results::RuleResult;
use super::rule::{Action, Overflow, Rule, Switch};
use super::tally::{RuleTally, TableTally, Unit};
use super::verdict::Verdict;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;

/// Characters of a row that an error shows.
const SAMPLE_CHARS_MAX: usize = 500;

/// A table whose rows are judged, as its counts are kept under.
#[derive(Debug)]
pub struct Table {
    pub(super) name: Arc<str>,
    /// What its counts of an epoch are found under: rules that are asked at different places of the
    /// graph are counted apart.
    pub(super) page: Arc<str>,
    pub(super) rules: Vec<RuleTally>,
    overflows: Vec<(usize, Overflow)>,
}

impl Table {
    pub(super) fn new(name: &str, rules: &[Rule]) -> Self {
        let tally = |rule: &Rule| RuleTally {
            name: rule.name.clone(),
            version: rule.version(),
            action: rule.switch.told(&rule.action),
            expectation: rule.text.clone(),
            columns: rule.observed().into_iter().collect(),
            unit: match rule.gate {
                Some(_) => Unit::Verdicts,
                None => Unit::Rows,
            },
            grade: rule.grade.clone(),
            switch: rule.switch,
            evaluated: 0,
            violated: 0,
            unknown: 0,
        };
        let limits = rules.iter().enumerate();
        Self {
            name: name.into(),
            page: name.into(),
            rules: rules.iter().map(tally).collect(),
            overflows: limits
                .filter(|(_, rule)| rule.acts())
                .filter_map(|(at, rule)| Some((at, rule.overflow?)))
                .collect(),
        }
    }

    /// The rules over many rows of a table that are asked at one place of the graph.
    pub(super) fn of_checks(name: &str, page: String, rules: Vec<RuleTally>) -> Self {
        Self {
            name: name.into(),
            page: page.into(),
            rules,
            overflows: Vec::new(),
        }
    }

    /// The rules that only so many rows may break.
    pub(super) fn overflows(&self) -> impl Iterator<Item = (usize, Overflow)> + '_ {
        self.overflows.iter().copied()
    }

    pub(super) fn tally(&self, counts: &Counts) -> TableTally {
        let rules = self.rules.iter().zip(&counts.rules);
        TableTally {
            table: self.name.to_string(),
            rows_in: counts.rows_in,
            published: counts.published,
            dropped: counts.dropped,
            quarantined: counts.quarantined,
            repaired: counts.repaired,
            rules: rules
                .map(|(rule, [evaluated, violated, unknown])| RuleTally {
                    evaluated: *evaluated,
                    violated: *violated,
                    unknown: *unknown,
                    ..rule.clone()
                })
                .collect(),
        }
    }
}

/// The rules of a table, compiled for its rows.
#[derive(Debug)]
pub struct Judge {
    table: Arc<Table>,
    rules: Vec<Rule>,
    /// Those that look at one row, with their numbers, rewritten to use what [`Fused`] computes first.
    program: Vec<(usize, Rule)>,
    fused: Fused,
    kept: Kept,
    /// Whether rows that cannot be read are kept too.
    keeps_unread: bool,
}

/// The rows of a batch that go on.
#[derive(Debug)]
pub struct Judged {
    /// The rows.
    pub rows: RecordBatch,
    /// Which rows of the batch they are; `None` if all.
    pub published: Option<BooleanArray>,
}

impl Judge {
    /// Compiles the rules of a table for rows of a schema; `event_time` names their time column.
    pub fn try_new(
        table: &str,
        rules: &[Rule],
        schema: &SchemaRef,
        event_time: Option<&str>,
    ) -> Result<Self> {
        let rules = rules.iter().map(|rule| rule.over(schema));
        let rules = rules.collect::<Result<Vec<Rule>>>()?;
        let single = |(_, rule): &(usize, Rule)| rule.is_single() && rule.switch != Switch::Off;
        let numbered = rules.iter().cloned().enumerate();
        let mut program: Vec<_> = numbered.filter(single).collect();
        let (mut always, mut guarded) = (Vec::new(), Vec::new());
        for (_, rule) in &mut program {
            let has_guard = rule.when.is_some();
            always.extend(&mut rule.when);
            match has_guard {
                true => guarded.push(&mut rule.expect),
                false => always.push(&mut rule.expect),
            }
        }
        let fused = Fused::new(schema, &mut always, &mut guarded)?;
        Ok(Self {
            table: Arc::new(Table::new(table, &rules)),
            kept: Kept::new(table, &rules, schema, event_time),
            rules,
            program,
            fused,
            keeps_unread: false,
        })
    }

    /// The same rules of a source whose rows are kept in its own quarantine table if they cannot be read.
    /// They may be none at all: its rows are counted.
    #[must_use]
    pub fn keeping_unread(self) -> Self {
        Self {
            keeps_unread: true,
            ..self
        }
    }

    /// The quarantine tables that rows go to, each once.
    pub(super) fn quarantines(&self) -> Vec<Arc<str>> {
        let mut tables: Vec<Arc<str>> = Vec::new();
        let own = self.keeps_unread.then_some(&self.table.name);
        let rules = self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Quarantine(into) => Some(into),
            _ => None,
        });
        for into in rules.chain(own) {
            if !tables.contains(into) {
                tables.push(Arc::clone(into));
            }
        }
        tables
    }

    /// Keeps a record that cannot be read.
    pub(crate) fn unread(&self, letter: &DeadLetter, task: &TaskContext) -> Result<()> {
        let row = self.kept.unread(letter, task)?;
        let counts = Counts {
            rows_in: 1,
            quarantined: 1,
            rules: vec![[0; 3]; self.rules.len()],
            ..Counts::default()
        };
        let kept = vec![(Arc::clone(&self.table.name), row)];
        let letters = &task.job.dead_letters;
        letters.judged(&self.table, &counts, kept, &task.job)
    }

    /// The same rules over rows that have their columns in other places.
    pub fn over(&self, schema: &SchemaRef) -> Result<Self> {
        let judge = Self::try_new(
            &self.table.name,
            &self.rules,
            schema,
            self.kept.event_time(),
        )?;
        Ok(Self {
            keeps_unread: self.keeps_unread,
            ..judge
        })
    }

    /// The table whose rows are judged.
    pub(crate) fn table(&self) -> &str {
        &self.table.name
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether some rules look at more than one row: [`Step`](super::Step)s ask them.
    pub fn has_steps(&self) -> bool {
        !self.rules.iter().all(Rule::is_single)
    }

    /// Judges the rows of a batch, each by itself. What is kept back, and the counts, go to the dead
    /// letters of the task.
    pub fn judge(
        &self,
        batch: RecordBatch,
        origin: &Origin<'_>,
        task: &TaskContext,
    ) -> Result<Judged> {
        let counts_alone = self.rules.is_empty() && self.keeps_unread;
        if batch.num_rows() == 0 || self.program.is_empty() && !counts_alone {
            return Ok(Judged {
                rows: batch,
                published: None,
            });
        }
        let prepared = self.fused.prepare(&batch)?;
        let mut verdicts = vec![Verdict::default(); self.rules.len()];
        for (at, rule) in &self.program {
            if let Some(verdict) = verdicts.get_mut(*at) {
                *verdict = Verdict::of(rule, &prepared)?;
            }
        }
        self.settle(batch, &verdicts, (origin, task), !self.has_steps())
    }

    /// Does what the rules say with the rows of a batch. A row is counted where its fate is decided:
    /// one that goes on is if this is the `last` that is asked of it.
    pub(super) fn settle(
        &self,
        batch: RecordBatch,
        verdicts: &[Verdict],
        (origin, task): (&Origin<'_>, &TaskContext),
        last: bool,
    ) -> Result<Judged> {
        let fate = Fate::of(&self.rules, verdicts);
        if let Some((at, broken)) = &fate.failed {
            let row = broken.set_indices().next().unwrap_or(0);
            let counts = self.rules.get(*at).zip(verdicts.get(*at)).map(counted);
            return Err(self.failed(*at, counts.unwrap_or_default(), (&batch, row), task));
        }
        let rows = batch.num_rows();
        let mut counts = Counts {
            rules: self.rules.iter().zip(verdicts).map(counted).collect(),
            ..Counts::default()
        };
        let letters = &task.job.dead_letters;
        let mut kept = Vec::new();
        for (into, bad) in &fate.quarantined {
            counts.quarantined += bad.count_set_bits() as u64;
            if !letters.is_muted() {
                let bad = self.kept.rows(&batch, bad, verdicts, origin, task)?;
                kept.push((Arc::clone(into), bad));
            }
        }
        counts.dropped = fate
            .dropped
            .as_ref()
            .map_or(0, |bad| bad.count_set_bits() as u64);
        let published = fate.published();
        let sampled = batch.clone();
        let good = self.repair(batch, &fate, &mut counts)?;
        let good = match &published {
            Some(published) => filter_record_batch(&good, published)?,
            None => good,
        };
        let kept_back = (rows - good.num_rows()) as u64;
        task.metrics.kept_back.fetch_add(kept_back, Relaxed);
        (counts.rows_in, counts.published) = match last {
            true => (rows as u64, good.num_rows() as u64),
            false => (kept_back, 0),
        };
        if let Some(wanted) = letters.samples_wanted(&self.table, &counts) {
            counts.samples = samples(&wanted, verdicts, &sampled);
        }
        letters.judged(&self.table, &counts, kept, &task.job)?;
        Ok(Judged {
            rows: good,
            published,
        })
    }

    /// Sets the columns of rows that are to be repaired. Values are computed of the row as it came;
    /// of two rules for one column the later counts.
    fn repair(&self, batch: RecordBatch, fate: &Fate, counts: &mut Counts) -> Result<RecordBatch> {
        let Some((_, first)) = fate.repaired.first() else {
            return Ok(batch);
        };
        let all = fate
            .repaired
            .iter()
            .fold(first.clone(), |all, (_, rows)| &all | rows);
        counts.repaired = all.count_set_bits() as u64;
        let schema = batch.schema();
        let mut columns = batch.columns().to_vec();
        for (at, rows) in &fate.repaired {
            let Some(Action::Set(set)) = self.rules.get(*at).map(|rule| &rule.action) else {
                continue;
            };
            let rows = BooleanArray::new(rows.clone(), None);
            for (name, expr) in set {
                let place = schema.index_of(name)?;
                let values = expr.evaluate_selection(&batch, &rows)?;
                let values = values.into_array(batch.num_rows())?;
                if let Some(column) = columns.get_mut(place) {
                    *column = zip(&rows, &values, column)?;
                }
            }
        }
        with_rows(schema, columns, batch.num_rows())
    }

    /// A row ends the job. Nothing of its epoch becomes visible but this.
    fn failed(
        &self,
        at: usize,
        counts: [u64; 3],
        (batch, row): (&RecordBatch, usize),
        task: &TaskContext,
    ) -> Error {
        let rule = self.rules.get(at).map_or("?", |rule| rule.name.as_str());
        let sample = sample(batch, row);
        if let Some(tally) = self.table.rules.get(at) {
            let (job, samples) = (&task.job, vec![sample.clone()]);
            let now = job.env.clock().now_micros();
            let found = RuleResult::fatal(&self.table.name, tally, counts, samples, now);
            job.dead_letters.ended([found], job);
        }
        Error::new(
            Kind::Data,
            codes::RULE_BROKEN,
            format!("a row of \"{}\" breaks rule \"{rule}\"", self.table.name),
        )
        .detail(format!("the row is {sample}"))
        .hint("correct the data, or give the rule another action: ON VIOLATION QUARANTINE")
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The others are told where they run.
        let rules = self.rules.iter().filter(|rule| rule.is_single());
        let rules: Vec<String> = rules.map(ToString::to_string).collect();
        write!(f, "rules=[{}]", rules.join("; "))?;
        if self.keeps_unread {
            write!(f, " parse errors -> quarantine into {}", self.table.name)?;
        }
        match self.fused.shared() {
            0 => Ok(()),
            shared => write!(f, " shared={shared}"),
        }
    }
}

/// Rows that break rules, as texts, for the rules of which more are wanted.
fn samples(wanted: &[usize], verdicts: &[Verdict], batch: &RecordBatch) -> Vec<Vec<String>> {
    let of = |(verdict, wanted): (&Verdict, &usize)| {
        let rows = verdict.violated.iter().flat_map(|rows| rows.set_indices());
        rows.take(*wanted).map(|row| sample(batch, row)).collect()
    };
    verdicts.iter().zip(wanted).map(of).collect()
}

/// A row as a text that is not too long.
fn sample(batch: &RecordBatch, row: usize) -> String {
    let text = super::kept::text_of(batch, row);
    text.chars().take(SAMPLE_CHARS_MAX).collect()
}

/// What a rule over rows counts; the verdicts of others are counted where they are given.
fn counted((rule, verdict): (&Rule, &Verdict)) -> [u64; 3] {
    if rule.gate.is_some() {
        return [0; 3];
    }
    let count = |bits: &Option<arrow::buffer::BooleanBuffer>| {
        bits.as_ref().map_or(0, |bits| bits.count_set_bits() as u64)
    };
    [
        verdict.evaluated,
        count(&verdict.violated),
        count(&verdict.unknown),
    ]
}
