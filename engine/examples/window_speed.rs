//! How fast window aggregation is by itself: rows made in memory, one thread per subtask.
//!
//! `cargo run --release -p weir-engine --example window_speed [rows]` prints million rows per second
//! for windows of ten seconds with 10 to 1,000,000 keys, two subtasks, one phase and two; then hops
//! and short windows. 2 s of disorder; 8,192 rows per batch; count(*) and sum.

#![expect(clippy::print_stdout, reason = "the figures are the program's result")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time on real threads"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::{col, lit};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::message::EventTime;
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::operator::{Operator, OperatorFactory, Output};
use weir_engine::window::{
    AggregateSpec, Assign, Firing, OutputColumn, Phase, WindowAggregateFactory, WindowSpec,
};

const THREADS: usize = 2;
const BATCH_ROWS: usize = 8_192;
const DISORDER: i64 = 2_000_000;
/// The whole input spans 1,000 seconds of event time.
const SPAN: i64 = 1_000_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ),
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]))
}

fn rows_of(thread: usize, rows: usize, keys: i64) -> Vec<RecordBatch> {
    let mut rng = SmallRng::seed_from_u64(thread as u64);
    let mut batches = Vec::new();
    for first in (0..rows).step_by(BATCH_ROWS) {
        let count = BATCH_ROWS.min(rows - first);
        let time = |i: usize| SPAN / 1_000 * ((first + i) as i64) / (rows as i64 / 1_000).max(1);
        let ts: Vec<i64> = (0..count)
            .map(|i| time(i) - rng.random_range(0..DISORDER))
            .collect();
        let key: Vec<i64> = (0..count).map(|_| rng.random_range(0..keys)).collect();
        let value: Vec<f64> = (0..count).map(|_| rng.random()).collect();
        let batch = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from(ts)),
                Arc::new(Int64Array::from(key)),
                Arc::new(Float64Array::from(value)),
            ],
        );
        batches.push(batch.unwrap());
    }
    batches
}

fn spec(windows: WindowSpec) -> AggregateSpec {
    let build = |function, args: Vec<Arc<dyn PhysicalExpr>>, name: &str| {
        let builder = AggregateExprBuilder::new(function, args)
            .schema(schema())
            .alias(name);
        Arc::new(builder.build().unwrap())
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    AggregateSpec {
        assign: Assign::Time {
            column: 0,
            spec: windows,
        },
        keys: vec![(col("key", &schema()).unwrap(), "key".to_owned())],
        aggregates: vec![
            build(count_udaf(), vec![lit(1_i64)], "c"),
            build(sum_udaf(), vec![col("value", &schema()).unwrap()], "s"),
        ],
        filters: vec![None, None],
        input: schema(),
        output: vec![
            OutputColumn::WindowStart,
            OutputColumn::Key(0),
            OutputColumn::Aggregate(0),
            OutputColumn::Aggregate(1),
        ],
        schema: Arc::new(Schema::new(vec![
            Field::new("window_start", micros, false),
            Field::new("key", DataType::Int64, true),
            Field::new("c", DataType::Int64, true),
            Field::new("s", DataType::Float64, true),
        ])),
        firing: Firing::default(),
        sources: "speed".into(),
    }
}

fn context(handle: &tokio::runtime::Handle) -> TaskContext {
    let spawner = TokioSpawner::new(handle.clone(), handle.clone());
    let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(4 << 30));
    TaskContext {
        job: JobContext {
            env: Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1),
            memory,
            batch_rows: BATCH_ROWS,
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
            datafusion: Arc::new(DataFusionContext::default()),
            metrics: Metrics::default(),
            stop: watch::channel(Stop::Run).1,
            pipeline: "test".into(),
            run_id: Arc::from("bench"),
        },
        node: Arc::from("window"),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    }
}

/// Feeds one subtask; gives its groups and the sum of its counts, or in two phases those after a
/// final phase of its own.
fn feed(
    batches: &[RecordBatch],
    mut first: Box<dyn Operator>,
    mut second: Option<Box<dyn Operator>>,
) -> (usize, i64) {
    let (mut out, mut last, mut high) = (Output::default(), Output::default(), i64::MIN);
    let (mut groups, mut counted) = (0, 0);
    let mut step = |batch: Option<&RecordBatch>, watermark: i64| {
        if let Some(batch) = batch {
            first.process(0, batch.clone(), &mut out).unwrap();
        }
        first.watermark(EventTime(watermark), &mut out).unwrap();
        let mut results = out.take();
        if let Some(second) = &mut second {
            for states in results {
                second.process(0, states, &mut last).unwrap();
            }
            second.watermark(EventTime(watermark), &mut last).unwrap();
            results = last.take();
        }
        for batch in results {
            groups += batch.num_rows();
            counted += batch
                .column(2)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .sum::<i64>();
        }
    };
    for batch in batches {
        let times = batch
            .column(0)
            .as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        high = high.max(arrow::compute::max(times).unwrap());
        step(Some(batch), high - DISORDER);
    }
    step(None, i64::MAX);
    (groups, counted)
}

fn measure(name: &str, windows: WindowSpec, input: &[Vec<RecordBatch>], phases: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let rows: usize = input.iter().flatten().map(RecordBatch::num_rows).sum();
    let context = context(runtime.handle());
    let create = |phase| {
        WindowAggregateFactory::try_new(spec(windows), phase)
            .unwrap()
            .create(&context)
            .unwrap()
    };
    let mut best = f64::MAX;
    let mut sums = (0, 0);
    for _ in 0..3 {
        let start = Instant::now();
        let parts: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = input
                .iter()
                .map(|batches| {
                    let first = create(if phases { Phase::Local } else { Phase::Single });
                    let second = phases.then(|| create(Phase::Final));
                    scope.spawn(move || feed(batches, first, second))
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        best = best.min(start.elapsed().as_secs_f64());
        sums = parts.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    }
    let rate = rows as f64 / best / 1e6;
    println!(
        "{name:44} {rate:8.1} M rows/s  groups {:>9}  rows counted {}",
        sums.0, sums.1
    );
}

fn main() {
    let rows = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(10_000_000_usize);
    let tumble = WindowSpec::tumble(10_000_000).unwrap();
    for keys in [10, 1_000, 10_000, 1_000_000] {
        let input: Vec<_> = (0..THREADS)
            .map(|t| rows_of(t, rows / THREADS, keys))
            .collect();
        measure(&format!("tumble 10 s, {keys} keys"), tumble, &input, false);
        measure(
            &format!("tumble 10 s, {keys} keys, two phases"),
            tumble,
            &input,
            true,
        );
        if keys == 1_000 || keys == 1_000_000 {
            for (slide, size) in [(2, 10), (1, 10), (1, 100)] {
                let spec = WindowSpec::hop(slide * 1_000_000, size * 1_000_000).unwrap();
                measure(
                    &format!("hop {slide} s, {size} s, {keys} keys"),
                    spec,
                    &input,
                    false,
                );
            }
            let spec = WindowSpec::cumulate(1_000_000, 60_000_000).unwrap();
            measure(
                &format!("cumulate 1 s, 60 s, {keys} keys"),
                spec,
                &input,
                false,
            );
            for size in [100_000, 1_000] {
                let spec = WindowSpec::tumble(size).unwrap();
                measure(
                    &format!("tumble {} ms, {keys} keys", size / 1_000),
                    spec,
                    &input,
                    false,
                );
            }
        }
    }
}
