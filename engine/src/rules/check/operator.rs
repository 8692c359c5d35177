//! The operator that judges measures: the end of a branch of the graph, from which nothing goes on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;

use super::frozen::{self, BASELINES};
use super::held::{Held, joined};
use super::past::{Memory, PAST};
use super::silence::Silence;
use super::telling::Telling;
use super::timers::{Timer, last_day};
use super::verdict::{Finding, findings, numbers, segment};
use super::{Ask, Check, ChecksSpec, Codecs};
use crate::changelog::rows_schema;
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, Output, StateBatches};
use crate::rules::judge::Table;
use crate::updating::state::unreadable;
use crate::updating::{Account, Format};

const FORMAT: Format = Format {
    name: "weir.rules.check",
    version: "1",
};
const MEASURES: &str = "measures";
const WINDOWS: &str = "windows";
const WAITING: &str = "waiting";
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
    /// What rules have measured so far, if one of them asks.
    memory: Option<Memory>,
    /// Windows that are judged in the order of time, when all of them are there.
    waiting: Vec<RecordBatch>,
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
            memory: Memory::of(&spec),
            waiting: Vec::new(),
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
                let rows = match (&check.ask, &mut self.memory) {
                    (Ask::Past(past), Some(memory)) => {
                        memory.recall(&spec, (at, past), &rows, now)?
                    }
                    _ => rows.clone(),
                };
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
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    fn tell(&self, told: Telling<'_>) -> Result<()> {
        let job = &self.task.job;
        if let Some((found, error)) = told.failed {
            job.dead_letters.ended(found, job);
            return Err(error);
        }
        if told.results.is_empty() {
            return Ok(());
        }
        job.dead_letters
            .checked(&self.table, &told.counts, told.results, job)
    }
}

/// What is kept of rules that ask what was before.
impl Checks {
    fn judge_waiting(&mut self, now: i64) -> Result<()> {
        let waiting = joined(std::mem::take(&mut self.waiting))?;
        self.judge(waiting, now)
    }

    fn take_memory(&mut self) -> Result<()> {
        let waiting = self.waiting.iter().map(RecordBatch::get_array_memory_size);
        let past = self.memory.as_ref().map_or(0, Memory::bytes);
        let bytes = self.held.bytes() + waiting.sum::<usize>() + past;
        self.account.set(bytes)
    }

    fn past_state(&self) -> Result<Vec<RecordBatch>> {
        let Some(memory) = &self.memory else {
            return Ok(Vec::new());
        };
        let mut state = vec![memory.state(&self.spec, FORMAT)?];
        for rows in &self.waiting {
            let schema = FORMAT.schema(WAITING, rows.schema().fields().to_vec());
            state.push(rows.clone().with_schema(schema)?);
        }
        Ok(state)
    }

    fn restore_past(&mut self, part: &str, batch: &RecordBatch) -> Result<()> {
        match (part, &mut self.memory) {
            (PAST, Some(memory)) => memory.restore(&self.spec, batch),
            (WAITING, Some(_)) => {
                let schema = rows_schema(&self.spec.input);
                FORMAT.check(batch, &schema)?;
                let schema = Arc::new(Schema::new(batch.schema().fields().clone()));
                let rows = RecordBatch::try_new(schema, batch.columns().to_vec())?;
                self.waiting.push(rows);
                Ok(())
            }
            _ => Ok(()),
        }
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
            return self.take_memory();
        }
        if self.memory.is_some() {
            let missing = match &mut self.silence {
                Some(silence) => silence.before(&batch, now)?,
                None => None,
            };
            self.waiting.extend(missing.into_iter().chain([batch]));
            // A job that ends with its input gives windows in any order.
            if !self.spec.bounded {
                self.judge_waiting(now)?;
            }
            return self.take_memory();
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
        state.extend(frozen::state(&self.spec, &FORMAT)?);
        state.extend(self.past_state()?);
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
                BASELINES => frozen::restore(&self.spec, &batch)?,
                part => self.restore_past(part, &batch)?,
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
        self.take_memory()
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        let now = self.now();
        let missing = match &mut self.silence {
            Some(silence) => silence.end()?,
            None => None,
        };
        self.waiting.extend(missing);
        self.judge_waiting(now)?;
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
