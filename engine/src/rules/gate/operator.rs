//! A stage as an operator: rows wait in it until what they belong to is judged.

use std::sync::Arc;

use arrow::array::{Array, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::hold::Hold;
use super::measures::Measuring;
use super::panes::{BATCH, Broken, breaking, divided};
use super::stage::GateStage;
use super::{Gate, Over};
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::{LateRows, Why};
use crate::message::EventTime;
use crate::operator::{Consumes, Extent, Operator, OperatorFactory, Output, StateBatches};
use crate::rules::check::{Checks, ChecksFactory};
use crate::rules::origin::Origin;
use crate::rules::requests::Requests;
use crate::rules::verdict::Verdict;

/// Batches that are let go in one step.
const STEP_BATCHES: usize = 4;

/// Makes the operators of a stage.
#[derive(Debug)]
pub(in crate::rules) struct GateFactory {
    stage: Arc<GateStage>,
    table: String,
    /// The table is a source: what its rules keep back is counted by its name.
    of_source: bool,
}

impl GateFactory {
    /// Judges the rows of a table; `of_source` if it is a source.
    pub(in crate::rules) fn new(table: &str, stage: Arc<GateStage>, of_source: bool) -> Self {
        Self {
            stage,
            table: table.to_owned(),
            of_source,
        }
    }
}

impl OperatorFactory for GateFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.stage.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Gating::new(&self.stage, &self.table, context)?))
    }

    fn describe(&self) -> String {
        format!("Gate {}: {}", self.table, self.stage)
    }

    fn fingerprint(&self) -> Option<String> {
        self.stage.holds().then(|| self.stage.fingerprint())
    }

    fn consumes(&self) -> Consumes {
        Consumes::Holds {
            of_source: self.of_source,
        }
    }

    fn judges(&self) -> Vec<String> {
        let rules = self.stage.gates().map(|(_, rule, _)| rule.name.clone());
        rules.collect()
    }
}

/// One rule with what tells of its verdicts.
#[derive(Debug)]
pub(super) struct Running {
    number: usize,
    /// What it says is done.
    acts: bool,
    pub(super) name: String,
    gate: Arc<Gate>,
    pub(super) checks: Checks,
    /// What was measured of rows that don't wait.
    passed: Measuring,
}

/// The running stage of one subtask.
#[derive(Debug)]
pub(super) struct Gating {
    pub(super) stage: Arc<GateStage>,
    pub(super) over: Over,
    bounded: bool,
    pub(super) rules: Vec<Running>,
    pub(super) hold: Hold,
    pub(super) watermark: i64,
    /// The watermark when rows of a batch were let go last.
    released: i64,
    /// The watermark up to which windows without rows were judged.
    swept: i64,
    /// The batch is whole.
    is_whole: bool,
    /// No input comes any more; `Some(true)` once all was told.
    ended: Option<bool>,
    /// Some verdict was given.
    told: bool,
    /// The pane whose rows are being let go.
    closing: Option<(i64, Broken)>,
    pub(super) requests: Option<Requests>,
    pub(super) back: super::again::Back,
    late: LateRows,
    pub(super) task: TaskContext,
}

impl Gating {
    fn new(stage: &Arc<GateStage>, table: &str, context: &TaskContext) -> Result<Self> {
        let first = stage.first()?;
        let mut rules = Vec::new();
        for (number, rule, gate) in stage.gates() {
            let factory = ChecksFactory::try_new(gate.checks(table)?)?;
            rules.push(Running {
                number,
                acts: rule.acts(),
                name: rule.name.clone(),
                gate: Arc::clone(gate),
                checks: factory.checks(format!("{}/gate/{}", context.node, rule.name), context),
                passed: Measuring::new(&gate.measures)?,
            });
        }
        let requests = stage
            .takes
            .then(|| Requests::of_gate(&stage.judge, context));
        Ok(Self {
            over: first.over.clone(),
            bounded: first.bounded,
            rules,
            hold: Hold::new(&stage.schema, context),
            watermark: i64::MIN,
            released: i64::MIN,
            swept: i64::MIN,
            is_whole: false,
            ended: None,
            told: false,
            closing: None,
            requests: requests.flatten(),
            back: super::again::Back::default(),
            late: LateRows::new(context, &Arc::from(table)),
            task: context.clone(),
            stage: Arc::clone(stage),
        })
    }

    pub(super) fn now(&self) -> i64 {
        self.task.job.env.clock().now_micros()
    }

    /// Lets rows go that no rule of the stage keeps back.
    fn pass(&self, rows: RecordBatch, out: &mut Output) -> Result<()> {
        let verdicts = vec![Verdict::default(); self.stage.judge.rules().len()];
        let how = (&Origin::default(), &self.task);
        let judged = self
            .stage
            .judge
            .settle(rows, &verdicts, how, self.stage.is_last)?;
        out.send(judged.rows);
        Ok(())
    }

    /// Puts rows on hold.
    fn take(&mut self, rows: &RecordBatch, out: &mut Output) -> Result<()> {
        let starts = self.over.starts(rows)?;
        if starts.null_count() > 0 {
            // A row without a time is in no window, and no verdict is about it.
            let timeless = arrow::compute::is_null(&starts)?;
            self.pass(filter_record_batch(rows, &timeless)?, out)?;
        }
        self.keep_late(rows, &starts)?;
        for (start, rows) in divided(rows, &starts)? {
            if !self.over.is_over(start, self.watermark) {
                self.hold.push(start, rows)?;
            }
        }
        self.hold.settle(0)
    }

    /// A row whose window was judged without it would make the verdict a wrong one.
    fn keep_late(&self, rows: &RecordBatch, starts: &Int64Array) -> Result<()> {
        let in_time = |start: Option<i64>| {
            start.is_none_or(|start| !self.over.is_over(start, self.watermark))
        };
        let live: Vec<bool> = starts.iter().map(in_time).collect();
        self.late
            .keep(rows, &live, EventTime(self.watermark), |row| Why::Over {
                time: None,
                end: EventTime(self.over.end(starts.value(row))),
            })
    }

    /// The next pane that is to be judged.
    fn due(&self) -> Option<i64> {
        let first = self.hold.first()?;
        let is_due = self.is_whole || self.over.is_over(first, self.watermark);
        is_due.then_some(first)
    }

    /// Judges a pane; its rows are let go in steps.
    fn close(&mut self, start: i64) -> Result<()> {
        let new = |rule: &Running| Measuring::new(&rule.gate.measures);
        let mut measuring = self.rules.iter().map(new).collect::<Result<Vec<_>>>()?;
        let mut number = 0;
        while let Some(rows) = self.hold.read(start, number)? {
            for measuring in &mut measuring {
                measuring.add(&rows)?;
            }
            self.hold
                .settle(measuring.iter().map(Measuring::bytes).sum())?;
            number += 1;
        }
        let mut broken = Broken::default();
        for (at, measuring) in measuring.into_iter().enumerate() {
            let measures = measuring.finish()?;
            self.judge(at, &measures, start, &mut broken)?;
        }
        self.closing = Some((start, broken));
        Ok(())
    }

    /// Tells what a rule says of the measures of a pane.
    fn judge(
        &mut self,
        at: usize,
        measures: &RecordBatch,
        start: i64,
        broken: &mut Broken,
    ) -> Result<()> {
        let now = self.now();
        self.told = true;
        let Some(rule) = self.rules.get_mut(at) else {
            return Ok(());
        };
        let judged = rule.gate.judged(measures, start)?;
        if rule.acts && rule.gate.quarantines() {
            broken.note((rule.number, &rule.gate), &judged, now)?;
        }
        rule.checks.closed(judged, now)
    }

    /// Lets some rows of the pane go that was judged; says whether there may be more.
    fn let_go(&mut self, out: &mut Output) -> Result<bool> {
        let Some((start, broken)) = self.closing.take() else {
            return Ok(false);
        };
        let stage = Arc::clone(&self.stage);
        for _ in 0..STEP_BATCHES {
            let Some(rows) = self.hold.pop(start)? else {
                self.hold.settle(0)?;
                return Ok(true);
            };
            let reasons = broken.reasons_of(stage.first()?, &rows)?;
            let mut verdicts = vec![Verdict::default(); stage.judge.rules().len()];
            for (number, _, _) in stage.gates() {
                if let Some(verdict) = verdicts.get_mut(number) {
                    verdict.violated = breaking(&reasons, number);
                }
            }
            let measured = |row: usize| Some(&reasons.get(row).copied().flatten()?.measured);
            let origin = Origin {
                measured: Some(&measured),
                ..Origin::default()
            };
            let judged =
                stage
                    .judge
                    .settle(rows, &verdicts, (&origin, &self.task), stage.is_last)?;
            out.send(judged.rows);
        }
        self.closing = Some((start, broken));
        Ok(true)
    }

    /// Judges a batch whose rows did not wait.
    fn judge_passed(&mut self) -> Result<()> {
        for at in 0..self.rules.len() {
            let Some(rule) = self.rules.get_mut(at).filter(|rule| rule.passed.rows() > 0) else {
                continue;
            };
            let next = Measuring::new(&rule.gate.measures)?;
            let measures = std::mem::replace(&mut rule.passed, next).finish()?;
            self.judge(at, &measures, BATCH, &mut Broken::default())?;
        }
        self.hold.settle(0)
    }

    /// What follows when all panes that are over are gone.
    fn catch_up(&mut self, out: &mut Output) -> Result<()> {
        if std::mem::take(&mut self.is_whole) && !self.over.is_window() && self.stage.holds() {
            self.released = self.watermark;
            if self.released > i64::MIN {
                out.watermark(EventTime(self.released));
            }
        }
        if self.swept < self.watermark {
            self.swept = self.watermark;
            for rule in &mut self.rules {
                rule.checks
                    .watermark(EventTime(self.watermark), &mut Output::default())?;
            }
        }
        if self.ended != Some(false) {
            return Ok(());
        }
        self.ended = Some(true);
        let empty = self.bounded && !self.told && !self.over.is_window();
        for at in 0..self.rules.len() {
            let Some(rule) = self.rules.get_mut(at) else {
                continue;
            };
            let judges = empty && rule.gate.segments().is_empty();
            let nothing = judges
                .then(|| rule.gate.measures.of_nothing())
                .transpose()?;
            rule.checks.end(&mut Output::default())?;
            if let Some(measures) = nothing {
                self.judge(at, &measures, BATCH, &mut Broken::default())?;
            }
        }
        Ok(())
    }
}

impl Operator for Gating {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let (rows, others) = self.stage.about(batch)?;
        if let Some(others) = others {
            self.pass(others, out)?;
        }
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.stage.holds() {
            return self.take(&rows, out);
        }
        for rule in &mut self.rules {
            rule.passed.add(&rows)?;
        }
        let measured = self.rules.iter().map(|rule| rule.passed.bytes());
        self.hold.settle(measured.sum())?;
        self.pass(rows, out)
    }

    fn watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        Ok(())
    }

    fn output_watermark(&self, watermark: EventTime) -> EventTime {
        match &self.over {
            _ if !self.stage.holds() => watermark,
            Over::Window { .. } => self.over.held_from(watermark),
            Over::Batch | Over::Table => EventTime(self.released),
        }
    }

    fn resume(&mut self, out: &mut Output) -> Result<bool> {
        if self.let_go(out)? {
            return Ok(true);
        }
        if let Some(start) = self.due() {
            self.close(start)?;
            return Ok(true);
        }
        if self.take_back(out)? {
            return Ok(true);
        }
        self.catch_up(out)?;
        Ok(false)
    }

    fn tick(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        for rule in &mut self.rules {
            rule.checks.tick(now_micros, out)?;
        }
        Ok(())
    }

    fn before_barrier(&mut self) -> Result<()> {
        if self.bounded || self.over.is_window() {
            return Ok(());
        }
        self.is_whole = true;
        self.judge_passed()
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        match self.stage.holds() {
            true => self.save(extent),
            false => Ok(Box::new(std::iter::empty())),
        }
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        self.take_over(state, groups)
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        self.is_whole = true;
        self.ended = Some(false);
        if let Some(requests) = &mut self.requests {
            requests.ask_now();
        }
        self.judge_passed()
    }
}
