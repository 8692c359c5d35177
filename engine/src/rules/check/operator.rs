//! The operator that judges measures: the end of a branch of the graph, from which nothing goes on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{Field, Int64Type};
use arrow::record_batch::RecordBatch;

use super::held::Held;
use super::silence::Silence;
use super::timers::{Timer, last_day};
use super::verdict::{Finding, findings, numbers, observed, segment, times};
use super::{Ask, Check, ChecksSpec, Codecs, Consequence};
use crate::changelog::rows_schema;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::judge::Table;
use crate::rules::ledger::Counts;
use crate::rules::results::RuleResult;
use crate::rules::rule::Switch;
use crate::updating::state::unreadable;
use crate::updating::{Account, Format};

const FORMAT: Format = Format {
    name: "weir.rules.check",
    version: "1",
};
const MEASURES: &str = "measures";
const WINDOWS: &str = "windows";
/// The column of the ends of windows in a checkpoint.
const END: &str = "end";

/// Judges the measures of one set of rules.
#[derive(Debug)]
pub(in crate::rules) struct Checks {
    spec: Arc<ChecksSpec>,
    table: Arc<Table>,
    task: TaskContext,
    held: Held,
    silence: Option<Silence>,
    timers: Vec<Timer>,
    /// What was told last of a rule that the clock decides, by segment.
    told: HashMap<(usize, Option<String>), Option<bool>>,
    /// Rows of a segment at the last deadline.
    before: HashMap<Option<String>, i64>,
    account: Account,
}

impl Checks {
    pub(super) fn new(
        spec: Arc<ChecksSpec>,
        codecs: Arc<Codecs>,
        table: Table,
        context: &TaskContext,
    ) -> Self {
        let now = context.job.env.clock().now_micros();
        let timers = spec.checks.iter().map(|check| Timer::new(&check.ask, now));
        Self {
            silence: Silence::of(&spec, &codecs, now),
            held: Held::new(&spec, codecs),
            timers: timers.collect(),
            told: HashMap::new(),
            before: HashMap::new(),
            account: Account::new("measures", context),
            table: Arc::new(table),
            task: context.clone(),
            spec,
        }
    }

    /// Judges the measures of windows that are closed, and of those before them that had no row; or of a
    /// batch that is whole.
    pub(in crate::rules) fn closed(&mut self, rows: RecordBatch, now: i64) -> Result<()> {
        let missing = match &mut self.silence {
            Some(silence) => silence.before(&rows, now)?,
            None => None,
        };
        self.judge(missing, now)?;
        self.judge(Some(rows), now)
    }

    /// How far windows without rows were judged, as a part of a checkpoint.
    pub(in crate::rules) fn windows(&self, part: &str, of: Format) -> Result<Option<RecordBatch>> {
        let Some(silence) = &self.silence else {
            return Ok(None);
        };
        let (mut columns, ends) = silence.state()?;
        columns.push(Arc::new(ends));
        let mut fields = Vec::new();
        for (number, column) in columns.iter().enumerate() {
            let name = match number + 1 == columns.len() {
                true => END.to_owned(),
                false => number.to_string(),
            };
            fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        }
        let schema = of.schema(part, fields);
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }

    /// Takes back what [`Self::windows`] gave.
    pub(in crate::rules) fn restore_windows(&mut self, batch: &RecordBatch) -> Result<()> {
        let (Some(silence), Some((ends, segments))) =
            (&mut self.silence, batch.columns().split_last())
        else {
            return Ok(());
        };
        let ends = ends.as_primitive_opt::<Int64Type>();
        let ends = ends.ok_or_else(|| unreadable("the windows are none".to_owned()))?;
        silence.restore(segments, ends)
    }

    fn now(&self) -> i64 {
        self.task.job.env.clock().now_micros()
    }

    /// Judges rows of measures by the rules that go by events.
    fn judge(&mut self, rows: Option<RecordBatch>, now: i64) -> Result<()> {
        let Some(rows) = rows else {
            return Ok(());
        };
        let spec = Arc::clone(&self.spec);
        let mut told = Telling::new(&spec, now);
        for (at, check) in spec.checks.iter().enumerate() {
            if !check.ask.is_timed() {
                for (row, finding) in findings(check, &rows, now)?.into_iter().enumerate() {
                    told.add((at, check), finding, &rows, row)?;
                }
            }
        }
        self.tell(told)
    }

    /// Judges what is held by a rule that the clock decides; tells what has changed, or `all`.
    fn look(&mut self, at: usize, all: bool, now: i64) -> Result<()> {
        let spec = Arc::clone(&self.spec);
        let Some(check) = spec.checks.get(at) else {
            return Ok(());
        };
        let mut rows = self.held.all()?;
        if rows.num_rows() == 0 && spec.segments.is_empty() {
            rows = self.nothing()?;
        }
        let found = match &check.ask {
            Ask::Daily { rows: column, .. } => self.daily(check, *column, &rows, now)?,
            _ => findings(check, &rows, now)?,
        };
        let mut told = Telling::new(&spec, now);
        for (row, finding) in found.into_iter().enumerate() {
            let key = (at, segment(&spec, &rows, row));
            let before = self.told.insert(key, finding.passed);
            if all || before.is_some_and(|before| before != finding.passed) {
                told.add((at, check), finding, &rows, row)?;
            }
        }
        self.tell(told)
    }

    /// Whether rows have come since the last deadline; in a job that ends, whether some have come and the
    /// deadline of the day is not over.
    fn daily(
        &mut self,
        check: &Check,
        column: usize,
        rows: &RecordBatch,
        now: i64,
    ) -> Result<Vec<Finding>> {
        let counts = numbers(rows, column)?;
        let Ask::Daily { at, .. } = check.ask else {
            return Ok(Vec::new());
        };
        let mut found = Vec::with_capacity(counts.len());
        for (row, count) in counts.iter().enumerate() {
            let count = count.unwrap_or_default();
            let passed = match self.spec.bounded {
                true => count > 0 && last_day(at, now) <= last_day(0, now),
                false => {
                    let key = segment(&self.spec, rows, row);
                    count > self.before.insert(key, count).unwrap_or_default()
                }
            };
            found.push(Finding::of(Some(passed), false));
        }
        Ok(found)
    }

    /// The measures of a table of which nothing is known.
    fn nothing(&self) -> Result<RecordBatch> {
        let schema = rows_schema(&self.spec.input);
        let nullable = schema.fields().iter();
        let nullable = nullable.map(|field| field.as_ref().clone().with_nullable(true));
        let fields: Vec<Field> = nullable.collect();
        let columns = fields.iter().map(|f| new_null_array(f.data_type(), 1));
        let columns: Vec<ArrayRef> = columns.collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    fn tell(&self, told: Telling<'_>) -> Result<()> {
        if told.results.is_empty() {
            return Ok(());
        }
        let job = &self.task.job;
        job.dead_letters
            .checked(&self.table, &told.counts, told.results, job)
    }
}

impl Operator for Checks {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut Output) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let now = self.now();
        if self.spec.window.is_none() {
            let events = self.spec.checks.iter().any(|check| !check.ask.is_timed());
            self.held.take(&batch, events)?;
            return self.account.set(self.held.bytes());
        }
        self.closed(batch, now)
    }

    fn watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<()> {
        let now = self.now();
        let missing = match &mut self.silence {
            // The end of all time closes no window that nobody had opened.
            Some(silence) if watermark < EventTime::MAX && !self.spec.bounded => {
                silence.until(watermark.0, now)?
            }
            _ => None,
        };
        self.judge(missing, now)
    }

    fn tick(&mut self, now_micros: i64, _out: &mut Output) -> Result<()> {
        let missing = match &mut self.silence {
            Some(silence) if !self.spec.bounded => silence.tick(now_micros)?,
            _ => None,
        };
        self.judge(missing, now_micros)?;
        if self.spec.bounded {
            return Ok(());
        }
        for at in 0..self.timers.len() {
            let ask = self.spec.checks.get(at).map(|check| &check.ask);
            let due = ask.zip(self.timers.get_mut(at));
            if let Some(all) = due.and_then(|(ask, timer)| timer.due(ask, now_micros)) {
                self.look(at, all, now_micros)?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, _extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let changed = self.held.changed()?;
        self.judge(changed, self.now())?;
        let held = self.held.all()?;
        let schema = FORMAT.schema(MEASURES, held.schema().fields().to_vec());
        let mut state = vec![held.with_schema(schema)?];
        state.extend(self.windows(WINDOWS, FORMAT)?);
        Ok(Box::new(state.into_iter().map(Ok)))
    }

    fn renews(&self) -> bool {
        true
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        _groups: &KeyGroups,
    ) -> Result<()> {
        for batch in state {
            let batch = batch?;
            match FORMAT.part(&batch)? {
                MEASURES => {
                    let schema = rows_schema(&self.spec.input);
                    FORMAT.check(&batch, &schema)?;
                    let batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
                    self.held.take(&batch, false)?;
                }
                WINDOWS => self.restore_windows(&batch)?,
                _ => {}
            }
        }
        // What has come before this run is no news at the next deadline.
        let rows = self.held.all()?;
        for check in &self.spec.checks {
            if let Ask::Daily { rows: column, .. } = check.ask {
                for (row, count) in numbers(&rows, column)?.iter().enumerate() {
                    let key = segment(&self.spec, &rows, row);
                    self.before.insert(key, count.unwrap_or_default());
                }
            }
        }
        self.account.set(self.held.bytes())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        let now = self.now();
        let missing = match &mut self.silence {
            Some(silence) => silence.end()?,
            None => None,
        };
        self.judge(missing, now)?;
        let changed = self.held.changed()?;
        self.judge(changed, now)?;
        for at in 0..self.timers.len() {
            let last = match self.spec.checks.get(at).map(|check| &check.ask) {
                Some(Ask::Fresh { .. }) => true,
                Some(Ask::Daily { .. }) => self.spec.bounded,
                _ => false,
            };
            if last {
                self.look(at, true, now)?;
            }
        }
        Ok(())
    }
}

/// Verdicts on their way to the results.
#[derive(Debug)]
struct Telling<'a> {
    spec: &'a ChecksSpec,
    counts: Counts,
    results: Vec<RuleResult>,
    now: i64,
}

impl<'a> Telling<'a> {
    fn new(spec: &'a ChecksSpec, now: i64) -> Self {
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

    fn add(
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
