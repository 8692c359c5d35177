//! A stage as an operator: behind an exchange by its key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{cast, concat_batches, filter, filter_record_batch, not, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::latest::KeepingLast;
use super::memory::Memory;
use super::stage::Stage;
use super::state::{FORMAT, NONE_WAIT, Part, WAITING, hashes, restore, save};
use crate::error::Result;
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Consumes, Extent, Operator, OperatorFactory, Output, StateBatches};
use crate::spill::{self, Spillable};
use crate::updating::Account;
use crate::updating::codec::evaluate;
use crate::updating::state::unreadable;

/// Makes the operators of a stage.
#[derive(Debug)]
pub struct KeyedFactory {
    stage: Arc<Stage>,
    table: String,
    /// The table is a source: what its rules keep back is counted by its name.
    of_source: bool,
}

impl KeyedFactory {
    /// Judges the rows of a table; `of_source` if it is a source.
    pub fn new(table: &str, stage: Arc<Stage>, of_source: bool) -> Self {
        Self {
            stage,
            table: table.to_owned(),
            of_source,
        }
    }
}

impl OperatorFactory for KeyedFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.stage.schema())
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        spill::create(Arc::clone(&self.stage) as _, context)
    }

    fn describe(&self) -> String {
        format!("Rules {}: {}", self.table, self.stage)
    }

    fn fingerprint(&self) -> Option<String> {
        self.stage.fingerprint().ok()
    }

    fn consumes(&self) -> Consumes {
        match self.of_source {
            of_source if self.stage.follows_watermarks() => Consumes::Holds { of_source },
            true => Consumes::JudgesSource,
            false => Consumes::Judges,
        }
    }
}

impl Spillable for Stage {
    fn what(&self) -> &'static str {
        "keys of rules"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        if self.keeps_last().is_some() {
            return Ok(Box::new(KeepingLast::new(Arc::new(self.clone()), context)?));
        }
        Ok(Box::new(Judging {
            memories: self.memories()?,
            stage: Arc::new(self.clone()),
            waiting: Waiting::default(),
            watermark: i64::MIN,
            task: context.clone(),
            account: Account::new("keys of rules", context),
        }))
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&evaluate(self.key(), rows)?, rows.num_rows())
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        match Part::of(state)? {
            Part::NoneWait => Ok(None),
            Part::Waiting => self.hashes(0, state).map(Some),
            Part::Gone(_) | Part::Kept(_) => hashes(state).map(Some),
        }
    }

    fn follows_watermarks(&self) -> bool {
        self.order().is_some() || self.holds_back()
    }

    fn holds_back(&self) -> bool {
        self.keeps_last().is_some()
    }
}

/// Rows that wait until no earlier one can come.
#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<(RecordBatch, Int64Array)>,
    /// The earliest of them.
    first: Option<i64>,
    bytes: usize,
    /// A checkpoint has some of them.
    saved: bool,
}

impl Waiting {
    fn push(&mut self, rows: RecordBatch, times: Int64Array) {
        if let Some(first) = arrow::compute::min(&times) {
            self.first = Some(self.first.map_or(first, |other| other.min(first)));
            self.bytes += spill::bytes_of(&rows);
            self.batches.push((rows, times));
        }
    }
}

/// The running rules of one subtask, or of a part of its keys.
#[derive(Debug)]
struct Judging {
    stage: Arc<Stage>,
    memories: Vec<Box<dyn Memory>>,
    waiting: Waiting,
    watermark: i64,
    task: TaskContext,
    account: Account,
}

impl Operator for Judging {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let Some(times) = self.times(&batch)? else {
            self.judge(batch, out)?;
            return self.settle();
        };
        // A row without a time has no turn, and one that is late has had it.
        let late = times
            .iter()
            .map(|time| time.map(|time| time < self.watermark));
        let late: BooleanArray = late.map(|late| Some(late.unwrap_or(true))).collect();
        if late.true_count() > 0 {
            self.judge(filter_record_batch(&batch, &late)?, out)?;
        }
        self.wait(&batch, &times, &not(&late)?)?;
        self.settle()
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        if self
            .waiting
            .first
            .is_some_and(|first| first <= self.watermark)
        {
            self.release(self.watermark, out)?;
        }
        for memory in &mut self.memories {
            memory.forget(self.watermark);
        }
        self.settle()
    }

    fn snapshot(&mut self, extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let all = extent == Extent::All;
        let state = save(&mut self.memories, all, self.task.job.batch_rows.max(1));
        let mut rows = Vec::new();
        if self.waiting.saved && !all {
            rows.push(none_waits());
        }
        let fields = self.stage.schema().fields();
        let schema = FORMAT.schema(WAITING, fields.iter().map(Arc::clone).collect());
        for (batch, _) in &self.waiting.batches {
            let columns = batch.columns().to_vec();
            rows.push(Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?));
        }
        self.waiting.saved = !self.waiting.batches.is_empty();
        Ok(Box::new(state.chain(rows)))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        groups: &KeyGroups,
    ) -> Result<()> {
        let mut waiting: Vec<RecordBatch> = Vec::new();
        for batch in state {
            let batch = batch?;
            let (rule, kept) = match Part::of(&batch)? {
                Part::NoneWait => {
                    waiting.clear();
                    continue;
                }
                Part::Waiting => {
                    waiting.push(batch);
                    continue;
                }
                Part::Gone(rule) => (rule, false),
                Part::Kept(rule) => (rule, true),
            };
            let Some(memory) = self.memories.get_mut(rule) else {
                return Err(unreadable(format!("it has a rule number {rule}")));
            };
            restore(&mut **memory, &batch, kept, groups)?;
            self.settle()?;
        }
        for batch in waiting {
            let keys = evaluate(self.stage.key(), &batch)?;
            let mine = groups.mask(&keys, batch.num_rows())?;
            let schema = Arc::clone(self.stage.schema());
            let batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
            if let Some(times) = self.times(&batch)? {
                self.wait(&batch, &times, &mine)?;
            }
        }
        self.waiting.saved = !self.waiting.batches.is_empty();
        self.settle()
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        self.release(i64::MAX, out)?;
        self.settle()
    }
}

impl Judging {
    /// The times in whose order rows are asked, in microseconds.
    fn times(&self, batch: &RecordBatch) -> Result<Option<Int64Array>> {
        let order = self.stage.order();
        order.map(|order| micros_of(order, batch)).transpose()
    }

    fn judge(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        if batch.num_rows() > 0 {
            out.send(self.stage.judge(batch, &mut self.memories, &self.task)?);
        }
        Ok(())
    }

    fn wait(&mut self, batch: &RecordBatch, times: &Int64Array, rows: &BooleanArray) -> Result<()> {
        let batch = filter_record_batch(batch, rows)?;
        let times = filter(times, rows)?;
        self.waiting
            .push(batch, times.as_primitive::<Int64Type>().clone());
        Ok(())
    }

    /// Asks about the rows up to a time, in its order; those of one time as they arrived.
    fn release(&mut self, up_to: i64, out: &mut Output) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting.saved = waiting.saved;
        let (mut ready, mut order) = (Vec::new(), Vec::new());
        for (batch, times) in waiting.batches {
            let due = times
                .iter()
                .map(|time| Some(time.is_some_and(|time| time <= up_to)));
            let due: BooleanArray = due.collect();
            if due.true_count() < batch.num_rows() {
                self.wait(&batch, &times, &not(&due)?)?;
            }
            if due.true_count() > 0 {
                ready.push(filter_record_batch(&batch, &due)?);
                let times = filter(&times, &due)?;
                order.extend_from_slice(times.as_primitive::<Int64Type>().values());
            }
        }
        let rows = concat_batches(self.stage.schema(), &ready)?;
        let mut turns: Vec<u32> = (0..u32::try_from(order.len()).unwrap_or(u32::MAX)).collect();
        turns.sort_by_key(|row| order.get(*row as usize).copied());
        let step = self.task.job.batch_rows.max(1);
        for some in turns.chunks(step) {
            let some = UInt32Array::from(some.to_vec());
            self.judge(take_record_batch(&rows, &some)?, out)?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let held: usize = self.memories.iter().map(|memory| memory.bytes()).sum();
        self.account.set(held + self.waiting.bytes)
    }
}

/// The times of rows, in microseconds.
pub(super) fn micros_of(time: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Int64Array> {
    let times = time.evaluate(batch)?.into_array(batch.num_rows())?;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = cast(&cast(&times, &micros)?, &DataType::Int64)?;
    Ok(times.as_primitive::<Int64Type>().clone())
}

/// Says that the rows of earlier checkpoints wait no more.
pub(super) fn none_waits() -> Result<RecordBatch> {
    let field = Field::new("_none", DataType::Boolean, false);
    let schema = FORMAT.schema(NONE_WAIT, vec![Arc::new(field)]);
    let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    Ok(RecordBatch::try_new(schema, vec![one])?)
}
