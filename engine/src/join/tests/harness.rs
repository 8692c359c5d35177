//! Joins with several subtasks, fed by hash, with restarts in between.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion_common::NullEquality;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion_expr::Operator as Infix;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::sync::watch;

use super::oracle::{COLUMNS, Row, batch, input};
use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::env::{Env, SystemClock, TokioSpawner};
use crate::job::{JobContext, Stop, TaskContext};
use crate::join::{JoinKind, JoinSpec};
use crate::key_group::{KeyGroups, hash_keys, subtask_of};
use crate::message::EventTime;
use crate::metrics::{Metrics, SubtaskMetrics};
use crate::operator::{Extent, Operator, OperatorFactory, Output, driving};

pub(super) fn column(side: usize, at: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(input(side).field(at).name(), at))
}

/// A random join on the key, sometimes on the name too, sometimes with a filter.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) kind: JoinKind,
    /// Columns of the rows that must be equal.
    pub(super) on: Vec<usize>,
    pub(super) nulls_equal: bool,
    pub(super) filtered: bool,
    pub(super) output: Vec<usize>,
}

impl Case {
    pub(super) fn random(rng: &mut StdRng, kind: JoinKind, with_time: bool) -> Self {
        let mut on = if with_time { vec![0, 1] } else { vec![1] };
        if rng.random_bool(0.3) {
            on.push(2);
        }
        let columns = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => COLUMNS,
            _ => 2 * COLUMNS,
        };
        let mut output: Vec<usize> = (0..columns).collect();
        output.shuffle(rng);
        Self {
            kind,
            on,
            nulls_equal: rng.random_bool(0.2),
            filtered: rng.random_bool(0.4),
            output,
        }
    }

    pub(super) fn spec(&self) -> JoinSpec {
        let both: Vec<Field> = [input(0), input(1)]
            .iter()
            .flat_map(|schema| schema.fields().iter().map(|f| f.as_ref().clone()))
            .map(|field| field.with_nullable(true))
            .collect();
        // On the left value being no more than the right one.
        let filter = self.filtered.then(|| {
            let side = |at: usize| Arc::new(Column::new("value", at)) as Arc<dyn PhysicalExpr>;
            Arc::new(BinaryExpr::new(side(3), Infix::LtEq, side(COLUMNS + 3)))
                as Arc<dyn PhysicalExpr>
        });
        let fields: Vec<Field> = self.output.iter().map(|at| both[*at].clone()).collect();
        JoinSpec {
            kind: self.kind,
            inputs: [input(0), input(1)],
            on: self
                .on
                .iter()
                .map(|at| (column(0, *at), column(1, *at)))
                .collect(),
            null_equality: if self.nulls_equal {
                NullEquality::NullEqualsNull
            } else {
                NullEquality::NullEqualsNothing
            },
            filter,
            output: self.output.clone(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// Whether keys and filter hold; the time is not looked at.
    pub(super) fn matches(&self, left: &Row, right: &Row) -> bool {
        let keys = match (left.key, right.key) {
            (Some(l), Some(r)) => l == r,
            (None, None) => self.nulls_equal,
            _ => false,
        };
        let name = !self.on.contains(&2) || left.name == right.name;
        keys && name && (!self.filtered || left.value <= right.value)
    }

    /// Picks the columns that come out, as lines in order.
    pub(super) fn lines(&self, rows: Vec<Vec<String>>) -> Vec<String> {
        let pick = |row: &Vec<String>| {
            let cells: Vec<&str> = self.output.iter().map(|at| row[*at].as_str()).collect();
            cells.join("|")
        };
        let mut lines: Vec<String> = rows.iter().map(pick).collect();
        lines.sort();
        lines
    }
}

pub(super) fn context(
    handle: &tokio::runtime::Handle,
    memory: usize,
    batch_rows: usize,
) -> TaskContext {
    let spawner = TokioSpawner::new(handle.clone(), handle.clone());
    let (_, stop) = watch::channel(Stop::Run);
    let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
    TaskContext {
        job: JobContext {
            env: Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1),
            memory,
            batch_rows,
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
            datafusion: Arc::new(DataFusionContext::default()),
            metrics: Metrics::default(),
            stop,
            pipeline: "test".into(),
            run_id: Arc::from("test"),
        },
        node: Arc::from("join"),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    }
}

/// Some subtasks of a join and what they have given.
pub(super) struct Cluster {
    factory: Box<dyn OperatorFactory>,
    keys: Vec<usize>,
    pub(super) context: TaskContext,
    pub(super) subtasks: Vec<Box<dyn Operator>>,
    /// The snapshots of each subtask.
    snapshots: Vec<Vec<RecordBatch>>,
    pub(super) out: Output,
    memory: usize,
    /// Most files with rows that there were at once.
    pub(super) files: usize,
    /// Most bytes of state of one subtask.
    pub(super) bytes: usize,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    pub(super) fn new(
        factory: impl OperatorFactory + 'static,
        keys: &[usize],
        subtasks: usize,
        batch_rows: usize,
        memory: usize,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let context = context(runtime.handle(), memory, batch_rows);
        let mut cluster = Self {
            factory: Box::new(factory),
            keys: keys.to_vec(),
            context,
            subtasks: Vec::new(),
            snapshots: Vec::new(),
            out: Output::default(),
            memory,
            files: 0,
            bytes: 0,
            _runtime: runtime,
        };
        cluster.subtasks = (0..subtasks)
            .map(|at| cluster.create(at, subtasks))
            .collect();
        cluster.snapshots = vec![Vec::new(); subtasks];
        cluster
    }

    fn create(&self, subtask: usize, of: usize) -> Box<dyn Operator> {
        let mut context = self.context.clone();
        context.subtask = subtask.try_into().unwrap();
        context.parallelism = of.try_into().unwrap();
        // Each subtask has its own share.
        context.job.memory = Arc::new(GreedyMemoryPool::new(self.memory));
        self.factory.create(&context).unwrap()
    }

    pub(super) fn rows(&mut self, side: usize, rows: &[Row]) {
        self.batch(side, &batch(side, rows));
    }

    /// Gives each subtask its rows, as the exchange does.
    pub(super) fn batch(&mut self, side: usize, batch: &RecordBatch) {
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|k| Arc::clone(batch.column(*k)))
            .collect();
        let mut hashes = Vec::new();
        hash_keys(&keys, batch.num_rows(), &mut hashes).unwrap();
        let count = self.subtasks.len();
        for (at, subtask) in self.subtasks.iter_mut().enumerate() {
            let mask: BooleanArray = hashes
                .iter()
                .map(|hash| Some(subtask_of(*hash, count) == at))
                .collect();
            let part = filter_record_batch(batch, &mask).unwrap();
            if part.num_rows() > 0 {
                driving::process(&mut **subtask, side, part, &mut self.out).unwrap();
            }
        }
    }

    /// Gives the watermark that goes on.
    pub(super) fn watermark(&mut self, time: i64) -> i64 {
        let mut on = i64::MAX;
        for subtask in &mut self.subtasks {
            subtask.watermark(EventTime(time), &mut self.out).unwrap();
            driving::drain(&mut **subtask, &mut self.out).unwrap();
            on = on.min(subtask.output_watermark(EventTime(time)).0);
        }
        on
    }

    pub(super) fn tick(&mut self, now: i64) {
        for subtask in &mut self.subtasks {
            subtask.tick(now, &mut self.out).unwrap();
            driving::drain(&mut **subtask, &mut self.out).unwrap();
        }
    }

    pub(super) fn note_state(&mut self) {
        let disk = self.context.job.datafusion.runtime_env();
        let files = disk.spilling_progress().active_files_count;
        self.files = self.files.max(files);
        let bytes = self.context.metrics.state_bytes.load(Relaxed);
        self.bytes = self.bytes.max(usize::try_from(bytes).unwrap());
    }

    pub(super) fn end(&mut self) {
        for subtask in &mut self.subtasks {
            driving::end(&mut **subtask, &mut self.out).unwrap();
        }
    }

    /// A checkpoint: each subtask gives what changed, or everything.
    pub(super) fn snapshot(&mut self, extent: Extent) {
        for (subtask, kept) in self.subtasks.iter_mut().zip(&mut self.snapshots) {
            driving::snapshot(&mut **subtask, extent, kept, &mut self.out).unwrap();
        }
    }

    /// Rows of the snapshots so far.
    pub(super) fn saved_rows(&self) -> usize {
        self.snapshots
            .iter()
            .flatten()
            .map(RecordBatch::num_rows)
            .sum()
    }

    /// A crash right after a checkpoint; so many subtasks take over.
    pub(super) fn restart(&mut self, subtasks: usize) {
        let count = u32::try_from(subtasks).unwrap();
        let same = subtasks == self.subtasks.len();
        self.subtasks = (0..subtasks).map(|at| self.create(at, subtasks)).collect();
        for (at, subtask) in (0..count).zip(&mut self.subtasks) {
            for (old, kept) in self.snapshots.iter().enumerate() {
                if same && old != at as usize {
                    continue;
                }
                let mut state = kept.clone().into_iter().map(Ok);
                let groups = KeyGroups::of(at, count);
                subtask.restore(&mut state, &groups).unwrap();
            }
        }
        if !same {
            self.snapshots = vec![Vec::new(); subtasks];
            self.snapshot(Extent::All);
        }
    }

    /// Now and then a checkpoint, now and then a crash after one.
    pub(super) fn disturb(&mut self, rng: &mut StdRng) {
        let extent = if rng.random_bool(0.3) {
            Extent::All
        } else {
            Extent::Changes
        };
        if rng.random_bool(0.1) {
            self.snapshot(extent);
        }
        if rng.random_bool(0.05) {
            self.snapshot(extent);
            let subtasks = [1, 2, 3, 5][rng.random_range(0..4)];
            self.restart(subtasks);
        }
    }
}

/// The rows of batches as cells.
pub(super) fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|c| cell(c, row)).collect());
        }
    }
    rows
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int8 => column
            .as_primitive::<arrow::datatypes::Int8Type>()
            .value(row)
            .to_string(),
        _ => column
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
    }
}

/// The rows of batches as sorted lines.
pub(super) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines: Vec<String> = cells(batches).iter().map(|row| row.join("|")).collect();
    lines.sort();
    lines
}

/// Compares sorted lines; names the first that differs, not all.
pub(super) fn same(found: &[String], expected: &[String], what: &str) {
    let pairs = found.iter().zip(expected).enumerate();
    let first = pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i).next();
    if first.is_some() || found.len() != expected.len() {
        let at = first.unwrap_or(found.len().min(expected.len()));
        let (count, wanted) = (found.len(), expected.len());
        let (found, expected) = (found.get(at), expected.get(at));
        panic!("{what}: {count} rows for {wanted}; row {at} is {found:?}, not {expected:?}");
    }
}
