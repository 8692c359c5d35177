//! Operators to feed, in one phase and two, with restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
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
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;

pub(super) use super::rows::*;
use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::env::{Env, SystemClock, TokioSpawner};
use crate::error::Result;
use crate::job::{JobContext, Stop, TaskContext};
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::metrics::{Metrics, SubtaskMetrics};
use crate::operator::{Extent, Operator, OperatorFactory, Output, driving};
use crate::window::{AggregateSpec, Assign, Firing, OutputColumn, Phase, WindowAggregateFactory};

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
        firing: Firing::default(),
        sources: "rows".into(),
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

/// An operator with what it has given so far.
pub(super) struct Node {
    pub(super) factory: Arc<dyn OperatorFactory>,
    pub(super) context: TaskContext,
    pub(super) operator: Box<dyn Operator>,
    pub(super) out: Output,
    pub(super) letters: Arc<MemoryStore>,
    snapshots: Vec<RecordBatch>,
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
        let factory = Arc::new(WindowAggregateFactory::try_new(spec.clone(), phase).unwrap());
        Self::of(factory, context, runtime)
    }

    /// Any operator.
    pub(super) fn any(factory: Arc<dyn OperatorFactory>, batch_rows: usize) -> Self {
        Self::any_with_memory(factory, batch_rows, 1 << 30)
    }

    pub(super) fn any_with_memory(
        factory: Arc<dyn OperatorFactory>,
        batch_rows: usize,
        memory: usize,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
        let context = context(runtime.handle(), memory, batch_rows);
        Self::of(factory, context, runtime)
    }

    fn of(
        factory: Arc<dyn OperatorFactory>,
        context: TaskContext,
        runtime: tokio::runtime::Runtime,
    ) -> Self {
        let mut context = context;
        let letters = Arc::new(MemoryStore::default());
        context.job.dead_letters = DeadLetters::new(Arc::clone(&letters) as _);
        let operator = factory.create(&context).unwrap();
        Self {
            letters,
            factory,
            context,
            operator,
            out: Output::default(),
            snapshots: Vec::new(),
            _runtime: runtime,
        }
    }

    /// The same operator, as one of several subtasks.
    pub(super) fn with_subtask(mut self, subtask: u32, parallelism: u32) -> Self {
        (self.context.subtask, self.context.parallelism) = (subtask, parallelism);
        self.operator = self.factory.create(&self.context).unwrap();
        self
    }

    pub(super) fn rows(&mut self, batch: RecordBatch) {
        driving::process(&mut *self.operator, 0, batch, &mut self.out).unwrap();
    }

    pub(super) fn watermark(&mut self, time: i64) {
        self.operator
            .watermark(EventTime(time), &mut self.out)
            .unwrap();
        while self.operator.resume(&mut self.out).unwrap() {}
    }

    pub(super) fn snapshot(&mut self) {
        let (operator, chain) = (&mut *self.operator, &mut self.snapshots);
        driving::snapshot(operator, Extent::Changes, chain, &mut self.out).unwrap();
    }

    /// A crash right after a snapshot: a new operator takes over from the snapshots.
    pub(super) fn restart(&mut self) {
        self.snapshot();
        self.operator = self.factory.create(&self.context).unwrap();
        let mut state = self.snapshots.clone().into_iter().map(Ok);
        self.operator
            .restore(&mut state, &KeyGroups::all())
            .unwrap();
    }

    /// The end of the input, as the runtime brings it.
    pub(super) fn end(&mut self) {
        driving::end(&mut *self.operator, &mut self.out).unwrap();
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
            pipeline: "test".into(),
            run_id: Arc::from("test"),
        },
        node: Arc::from("window"),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    }
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
    node.end();
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
        local.end();
        local
            .take()
            .into_iter()
            .for_each(|states| last.rows(states));
    }
    last.end();
    last.take()
}

/// What an operator keeps at a barrier.
pub(super) fn snapshot(operator: &mut dyn Operator) -> Vec<RecordBatch> {
    let state = operator.snapshot(Extent::Changes, &mut Output::default());
    state.unwrap().collect::<Result<_>>().unwrap()
}
