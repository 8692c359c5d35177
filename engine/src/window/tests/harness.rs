//! Random input, operators to feed it to, and a naive answer to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::average::avg_udaf;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{col, lit};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::env::{Env, SystemClock, TokioSpawner};
use crate::job::{JobContext, Stop, TaskContext};
use crate::message::{Epoch, EventTime};
use crate::metrics::{Metrics, SubtaskMetrics};
use crate::operator::{Operator, OperatorFactory, Output};
use crate::window::{
    AggregateSpec, Assign, OutputColumn, Phase, WindowAggregateFactory, WindowKind,
};

/// One row of the tests' input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) ts: Option<i64>,
    pub(super) key: Option<i64>,
    pub(super) name: &'static str,
    pub(super) value: Option<f64>,
    pub(super) flag: bool,
}

/// What happens to an operator.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
}

pub(super) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(super) fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", micros(), true),
        Field::new("key", DataType::Int64, true),
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, false),
    ]))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter(
            rows.iter().map(|r| r.ts),
        )),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.key))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.name))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.value))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.flag)))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// The seeds to try: `SEED`, or some.
pub(super) fn seeds(count: u64) -> Range<u64> {
    match std::env::var("SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

pub(super) fn rng(test: &str, seed: u64) -> StdRng {
    println!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}

pub(super) fn random_row(rng: &mut StdRng, ts: i64, keys: i64) -> Row {
    Row {
        ts: Some(ts),
        key: rng.random_bool(0.95).then(|| rng.random_range(0..keys)),
        name: ["a", "b", "c"][rng.random_range(0..3)],
        // Whole numbers: sums are then the same in any order.
        value: rng
            .random_bool(0.9)
            .then(|| f64::from(rng.random_range(-50..50_i32))),
        flag: rng.random_bool(0.4),
    }
}

/// Rows that are behind by less than the bound that the watermarks keep; batches of random sizes.
pub(super) fn random_steps(
    rng: &mut StdRng,
    rows: usize,
    batch_max: usize,
    keys: i64,
) -> Vec<Step> {
    let bound = rng.random_range(1..400_i64);
    let pace = rng.random_range(1..30_i64);
    let mut now = rng.random_range(-3_000..1_000_i64);
    let (mut steps, mut pending, mut high) = (Vec::new(), Vec::new(), i64::MIN);
    let mut size = rng.random_range(1..=batch_max);
    for _ in 0..rows {
        now += rng.random_range(0..=pace);
        if rng.random_bool(0.002) {
            now += rng.random_range(0..5_000);
        }
        high = high.max(now);
        let ts = now - rng.random_range(0..bound);
        pending.push(random_row(rng, ts, keys));
        if pending.len() >= size {
            steps.push(Step::Rows(std::mem::take(&mut pending)));
            size = rng.random_range(1..=batch_max);
            if rng.random_bool(0.5) {
                steps.push(Step::Watermark(high - bound));
            }
        }
    }
    steps.push(Step::Rows(pending));
    steps
}

pub(super) fn random_kind(rng: &mut StdRng) -> (WindowKind, i64) {
    let part = rng.random_range(1..120_i64);
    let times = rng.random_range(1..12_i64);
    let kind = match rng.random_range(0..4) {
        0 => WindowKind::Tumble { size: part * times },
        1 => WindowKind::Cumulate {
            step: part,
            size: part * times,
        },
        2 => WindowKind::Hop {
            slide: part,
            size: part * times,
        },
        _ => WindowKind::Hop {
            slide: part,
            size: part * times + rng.random_range(0..part),
        },
    };
    (kind, rng.random_range(-500..500))
}

/// The windows that hold a time, found by trying all that are near.
pub(super) fn windows_of(kind: WindowKind, offset: i64, ts: i64) -> BTreeSet<(i64, i64)> {
    let (pitch, size, parts) = match kind {
        WindowKind::Tumble { size } => (size, size, vec![size]),
        WindowKind::Hop { slide, size } => (slide, size, vec![size]),
        WindowKind::Cumulate { step, size } => {
            (size, size, (1..=size / step).map(|n| n * step).collect())
        }
    };
    let near = (ts - offset) / pitch;
    let back = size / pitch + 2;
    (near - back..=near + 2)
        .map(|n| offset + n * pitch)
        .flat_map(|start| parts.iter().map(move |length| (start, start + length)))
        .filter(|(start, end)| *start <= ts && ts < *end)
        .collect()
}

pub(super) fn aggregate(
    function: Arc<AggregateUDF>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    distinct: bool,
) -> Arc<AggregateFunctionExpr> {
    let name = format!("{}_{distinct}", function.name());
    let builder = AggregateExprBuilder::new(function, args)
        .schema(input())
        .alias(name);
    Arc::new(builder.with_distinct(distinct).build().unwrap())
}

pub(super) fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &input()).unwrap()
}

/// Window, keys, then the results of the aggregates.
pub(super) fn spec_of(
    assign: Assign,
    keys: &[&str],
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
) -> AggregateSpec {
    let mut fields = vec![
        Field::new("window_start", micros(), false),
        Field::new("window_end", micros(), false),
    ];
    let mut output = vec![OutputColumn::WindowStart, OutputColumn::WindowEnd];
    for (i, key) in keys.iter().enumerate() {
        fields.push(input().field_with_name(key).unwrap().clone());
        output.push(OutputColumn::Key(i));
    }
    for (i, aggregate) in aggregates.iter().enumerate() {
        fields.push(aggregate.field().as_ref().clone().with_nullable(true));
        output.push(OutputColumn::Aggregate(i));
    }
    AggregateSpec {
        assign,
        keys: keys
            .iter()
            .map(|key| (column(key), (*key).to_owned()))
            .collect(),
        aggregates,
        filters,
        input: input(),
        output,
        schema: Arc::new(Schema::new(fields)),
    }
}

/// count(*), count(value), sum, min, max, avg, count(DISTINCT name), sum FILTER (WHERE flag).
pub(super) fn usual(assign: Assign, keys: &[&str]) -> AggregateSpec {
    let value = || vec![column("value")];
    let aggregates = vec![
        aggregate(count_udaf(), vec![lit(1_i64)], false),
        aggregate(count_udaf(), value(), false),
        aggregate(sum_udaf(), value(), false),
        aggregate(min_udaf(), value(), false),
        aggregate(max_udaf(), value(), false),
        aggregate(avg_udaf(), value(), false),
        aggregate(count_udaf(), vec![column("name")], true),
        aggregate(sum_udaf(), value(), false),
    ];
    let mut filters = vec![None; 7];
    filters.push(Some(column("flag")));
    spec_of(assign, keys, aggregates, filters)
}

/// What [`usual`] must give for rows in windows, as text; keys are `key`, `name` or none.
pub(super) fn answer(rows: &[(Row, (i64, i64))], keys: &[&str]) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for (row, window) in rows {
        let key: Vec<String> = keys
            .iter()
            .map(|key| match *key {
                "key" => row.key.map_or_else(String::new, |k| k.to_string()),
                _ => row.name.to_owned(),
            })
            .collect();
        groups.entry((*window, key)).or_default().push(row);
    }
    let text = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:?}"));
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(((start, end), key), rows)| {
            let values: Vec<f64> = rows.iter().filter_map(|r| r.value).collect();
            let flagged: Vec<f64> = rows
                .iter()
                .filter(|r| r.flag)
                .filter_map(|r| r.value)
                .collect();
            let some = |values: &[f64], value: f64| (!values.is_empty()).then_some(value);
            let sum: f64 = values.iter().sum();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let names: BTreeSet<_> = rows.iter().map(|r| r.name).collect();
            let mut line = vec![time(start), time(end)];
            line.extend(key);
            line.push(rows.len().to_string());
            line.push(values.len().to_string());
            line.push(text(some(&values, sum)));
            line.push(text(some(&values, least)));
            line.push(text(some(&values, most)));
            line.push(text(some(&values, sum / values.len() as f64)));
            line.push(names.len().to_string());
            line.push(text(some(&flagged, flagged.iter().sum())));
            line.join(" | ")
        })
        .collect();
    lines.sort();
    lines
}

fn time(micros: i64) -> String {
    let array = TimestampMicrosecondArray::from(vec![micros]);
    array_value_to_string(&array, 0).unwrap()
}

/// All rows in all of their windows.
pub(super) fn in_windows(steps: &[Step], kind: WindowKind, offset: i64) -> Vec<(Row, (i64, i64))> {
    let rows = steps.iter().flat_map(|step| match step {
        Step::Rows(rows) => rows.as_slice(),
        Step::Watermark(_) => &[],
    });
    rows.flat_map(|row| {
        let windows = row
            .ts
            .map(|ts| windows_of(kind, offset, ts))
            .unwrap_or_default();
        windows.into_iter().map(|window| (row.clone(), window))
    })
    .collect()
}

/// An operator with what it has given so far.
pub(super) struct Node {
    pub(super) factory: WindowAggregateFactory,
    pub(super) context: TaskContext,
    pub(super) operator: Box<dyn Operator>,
    pub(super) out: Output,
    snapshots: Vec<RecordBatch>,
    epoch: u64,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    pub(super) fn new(spec: &AggregateSpec, phase: Phase, batch_rows: usize) -> Self {
        Self::with_memory(spec, phase, batch_rows, 1 << 30)
    }

    pub(super) fn with_memory(
        spec: &AggregateSpec,
        phase: Phase,
        batch_rows: usize,
        memory: usize,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
        let context = context(runtime.handle(), memory, batch_rows);
        let factory = WindowAggregateFactory::try_new(spec.clone(), phase).unwrap();
        let operator = factory.create(&context).unwrap();
        Self {
            factory,
            context,
            operator,
            out: Output::default(),
            snapshots: Vec::new(),
            epoch: 0,
            _runtime: runtime,
        }
    }

    pub(super) fn rows(&mut self, batch: RecordBatch) {
        self.operator.process(0, batch, &mut self.out).unwrap();
    }

    pub(super) fn watermark(&mut self, time: i64) {
        self.operator
            .watermark(EventTime(time), &mut self.out)
            .unwrap();
    }

    pub(super) fn snapshot(&mut self) {
        self.epoch += 1;
        self.snapshots
            .extend(self.operator.snapshot(Epoch(self.epoch)).unwrap());
    }

    /// A crash right after a snapshot: a new operator takes over from the snapshots.
    pub(super) fn restart(&mut self) {
        self.snapshot();
        self.operator = self.factory.create(&self.context).unwrap();
        self.operator.restore(self.snapshots.clone()).unwrap();
    }

    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        self.out.take()
    }

    pub(super) fn late(&self) -> u64 {
        self.context.metrics.late.load(Relaxed)
    }
}

pub(super) fn context(
    handle: &tokio::runtime::Handle,
    memory: Arc<dyn MemoryPool>,
    batch_rows: usize,
) -> TaskContext {
    let spawner = TokioSpawner::new(handle.clone(), handle.clone());
    let (_, stop) = watch::channel(Stop::Run);
    TaskContext {
        job: JobContext {
            env: Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1),
            memory,
            batch_rows,
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
            datafusion: Arc::new(DataFusionContext::default()),
            metrics: Metrics::default(),
            stop,
            run_id: Arc::from("test"),
        },
        node: Arc::from("window"),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    }
}

/// Rows as text, sorted.
pub(super) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let line = batch
                .columns()
                .iter()
                .map(|c| array_value_to_string(c, row).unwrap());
            lines.push(line.collect::<Vec<_>>().join(" | "));
        }
    }
    lines.sort();
    lines
}

/// Runs all steps in one node; restarts it now and then when there is chance for it.
pub(super) fn run_single(
    spec: &AggregateSpec,
    steps: &[Step],
    batch_rows: usize,
    mut chance: Option<&mut StdRng>,
) -> Vec<RecordBatch> {
    let mut node = Node::new(spec, Phase::Single, batch_rows);
    for step in steps {
        match step {
            Step::Rows(rows) => node.rows(batch(rows)),
            Step::Watermark(time) => node.watermark(*time),
        }
        disturb(&mut node, chance.as_deref_mut());
    }
    node.operator.end(&mut node.out).unwrap();
    node.take()
}

fn disturb(node: &mut Node, chance: Option<&mut StdRng>) {
    if let Some(rng) = chance {
        if rng.random_bool(0.1) {
            node.snapshot();
        }
        if rng.random_bool(0.05) {
            node.restart();
        }
    }
}

/// Runs all steps in some local nodes and a final one, with batches dealt at random.
pub(super) fn run_phases(
    spec: &AggregateSpec,
    steps: &[Step],
    batch_rows: usize,
    locals: usize,
    rng: &mut StdRng,
    disturbed: bool,
) -> Vec<RecordBatch> {
    let mut locals: Vec<Node> = (0..locals)
        .map(|_| Node::new(spec, Phase::Local, batch_rows))
        .collect();
    let mut last = Node::new(spec, Phase::Final, batch_rows);
    for step in steps {
        match step {
            Step::Rows(rows) => {
                let node = rng.random_range(0..locals.len());
                locals[node].rows(batch(rows));
            }
            Step::Watermark(time) => locals.iter_mut().for_each(|l| l.watermark(*time)),
        }
        for local in &mut locals {
            if disturbed {
                disturb(local, Some(rng));
            }
            local
                .take()
                .into_iter()
                .for_each(|states| last.rows(states));
        }
        if let Step::Watermark(time) = step {
            last.watermark(*time);
        }
        if disturbed {
            disturb(&mut last, Some(rng));
        }
    }
    for local in &mut locals {
        local.operator.end(&mut local.out).unwrap();
        local
            .take()
            .into_iter()
            .for_each(|states| last.rows(states));
    }
    last.operator.end(&mut last.out).unwrap();
    last.take()
}
