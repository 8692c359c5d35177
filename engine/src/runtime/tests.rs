//! The runtime over sources and sinks in memory: order, sums, failure, shutdown, watermarks.

mod drift;
mod lookup;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{binary, col, lit};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::*;
use crate::dead_letter::{DeadLetters, MemoryStore, OnError};
use crate::env::{Env, SystemClock, TokioSpawner};
use crate::error::{Error, Kind, Result, codes};
use crate::graph::{Edge, Graph, Node, NodeIndex, NodeKind, Partitioning};
use crate::job::{JobContext, Stop, TaskContext};
use crate::limits;
use crate::message::Epoch;
use crate::message::EventTime;
use crate::metrics::Metrics;
use crate::operator::project_filter::ProjectFilter;
use crate::operator::{Consumes, Operator, OperatorFactory, Output};
use crate::scan::{Scan, WatermarkSpec};
use crate::sink::{CommitToken, Sink, SinkWriter, Start};
use crate::source::{Boundedness, Low, Position, Read, Source, Split, SplitReader};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn batch(times: std::ops::Range<i64>) -> RecordBatch {
    let ts = TimestampMicrosecondArray::from_iter_values(times.clone());
    let v = Int64Array::from_iter_values(times);
    RecordBatch::try_new(schema(), vec![Arc::new(ts), Arc::new(v)]).unwrap()
}

/// Splits of batches in memory; each starts where its first batch does.
#[derive(Debug)]
struct Memory {
    splits: Vec<Vec<RecordBatch>>,
    unbounded: bool,
}

#[derive(Debug)]
struct MemoryReader {
    batches: std::vec::IntoIter<RecordBatch>,
    unbounded: bool,
}

#[async_trait]
impl Source for Memory {
    fn schema(&self) -> SchemaRef {
        schema()
    }
    fn boundedness(&self) -> Boundedness {
        if self.unbounded {
            Boundedness::Unbounded(Duration::from_secs(3600))
        } else {
            Boundedness::Bounded
        }
    }
    async fn discover(&self) -> Result<Vec<Split>> {
        let split = |i: usize| Split {
            id: i.to_string(),
            order: format!("{i:04}"),
            payload: i.to_string(),
            bytes: None,
            position: None,
        };
        Ok((0..self.splits.len()).map(split).collect())
    }
    async fn low(&self, split: &Split, _columns: &[usize]) -> Result<Low> {
        let batches = &self.splits[split.payload.parse::<usize>().unwrap()];
        Ok(batches
            .first()
            .map_or(Low::Empty, |b| Low::First(b.slice(0, 1))))
    }
    async fn open(
        &self,
        split: &Split,
        _projection: &[usize],
        _context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let batches = self.splits[split.payload.parse::<usize>().unwrap()].clone();
        Ok(Box::new(MemoryReader {
            batches: batches.into_iter(),
            unbounded: self.unbounded,
        }))
    }
    fn describe(&self) -> String {
        "memory".into()
    }
}

#[async_trait]
impl SplitReader for MemoryReader {
    async fn next(&mut self) -> Result<Read> {
        Ok(match self.batches.next() {
            Some(batch) => Read::Rows { batch, bytes: 1 },
            None if self.unbounded => Read::Pending,
            None => Read::End,
        })
    }
    fn position(&self) -> Position {
        Position::default()
    }
}

/// Keeps committed values; a writer gives its rows as the token.
#[derive(Debug, Default)]
struct Collect {
    committed: Mutex<Vec<i64>>,
    discarded: AtomicU64,
    aborted: AtomicU64,
}

#[derive(Debug)]
struct CollectSink(Arc<Collect>);

#[derive(Debug)]
struct CollectWriter(Arc<Collect>, Vec<i64>);

#[async_trait]
impl Sink for CollectSink {
    async fn check(&self, _schema: &SchemaRef, _start: Start) -> Result<()> {
        Ok(())
    }
    async fn writer(&self, _s: &SchemaRef, _c: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectWriter(Arc::clone(&self.0), Vec::new())))
    }
    async fn commit(&self, _epoch: Epoch, tokens: &[CommitToken]) -> Result<()> {
        let values = tokens
            .iter()
            .flat_map(|token| token.payload.split_whitespace())
            .map(|v| v.parse::<i64>().unwrap());
        self.0.committed.lock().extend(values);
        Ok(())
    }
    async fn abort(&self, _token: &CommitToken) -> Result<()> {
        self.0.aborted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn describe(&self) -> String {
        "collect".into()
    }
}

#[async_trait]
impl SinkWriter for CollectWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.1.extend(
            batch
                .column_by_name("v")
                .unwrap()
                .as_primitive::<Int64Type>()
                .values(),
        );
        Ok(())
    }
    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        let rows = std::mem::take(&mut self.1);
        let text: Vec<_> = rows.iter().map(ToString::to_string).collect();
        Ok(vec![CommitToken::new(text.join(" "), rows.len() as u64, 8)])
    }
    async fn discard(&mut self) -> Result<()> {
        self.0.discarded.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs a function on each batch; checks that no row is behind the watermark.
#[derive(Debug, Clone, Copy)]
enum Act {
    Fail,
    Panic,
    CheckTime,
}

#[derive(Debug)]
struct Actor(Act, EventTime);

impl OperatorFactory for Act {
    fn schema(&self) -> SchemaRef {
        schema()
    }
    fn create(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Actor(*self, EventTime::MIN)))
    }
    fn describe(&self) -> String {
        "act".into()
    }
    fn consumes(&self) -> Consumes {
        Consumes::Filters
    }
}

impl Operator for Actor {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let least = batch
            .column(1)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .min()
            .copied();
        match self.0 {
            Act::Fail if least.is_some_and(|v| v > 100) => {
                return Err(Error::new(Kind::Data, codes::EXECUTION, "a bad row"));
            }
            Act::Panic if least.is_some_and(|v| v > 100) => panic!("on purpose"),
            Act::CheckTime => assert!(least.unwrap() >= self.1.0, "{least:?} after {:?}", self.1),
            _ => {}
        }
        out.send(batch);
        Ok(())
    }
    fn watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<()> {
        assert!(watermark > self.1, "a watermark goes forward only");
        self.1 = watermark;
        Ok(())
    }
    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

fn context() -> (JobContext, watch::Sender<Stop>) {
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    let (sender, stop) = watch::channel(Stop::Run);
    let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 28));
    let job = JobContext {
        env: Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1),
        memory,
        batch_rows: 16,
        dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
        datafusion: Arc::new(DataFusionContext::default()),
        metrics: Metrics::default(),
        stop,
        pipeline: "test".into(),
        run_id: Arc::from("test"),
    };
    (job, sender)
}

struct Case {
    splits: Vec<Vec<RecordBatch>>,
    unbounded: bool,
    act: Option<Act>,
    parallelism: u32,
    streaming: bool,
}

fn scan(case: &Case) -> Scan {
    let ts = col("ts", &schema()).unwrap();
    let columns = schema()
        .fields()
        .iter()
        .map(|f| (col(f.name(), &schema()).unwrap(), Arc::clone(f)))
        .collect();
    let source: Arc<dyn Source> = Arc::new(Memory {
        splits: case.splits.clone(),
        unbounded: case.unbounded,
    });
    Scan {
        name: "input".into(),
        source: Arc::clone(&source),
        declared: source,
        projection: vec![0, 1],
        columns,
        required: Vec::new(),
        watermark: Some(WatermarkSpec {
            column: "ts".into(),
            expr: ts,
            text: "ts".into(),
        }),
        rules: None,
        arrivals: None,
        on_error: OnError::DeadLetter,
        quiet: false,
    }
}

/// Source, a filter for odd values, the act, the sink.
fn graph(case: &Case, collect: &Arc<Collect>) -> Graph {
    let odd = binary(
        col("v", &schema()).unwrap(),
        Op::BitwiseAnd,
        lit(1_i64),
        &schema(),
    )
    .unwrap();
    let odd = binary(odd, Op::Eq, lit(1_i64), &schema()).unwrap();
    let hash: Vec<Arc<dyn PhysicalExpr>> = vec![col("v", &schema()).unwrap()];
    let mut graph = Graph::default();
    let mut add = |id: &str, kind: NodeKind, parallelism: u32| {
        let (id, name) = (Arc::from(id), id.to_owned());
        graph
            .add(Node {
                id,
                name,
                kind,
                parallelism,
                schema: schema(),
            })
            .unwrap()
    };
    let filter: Arc<dyn OperatorFactory> = Arc::new(ProjectFilter::filter(odd, schema()));
    let act: Arc<dyn OperatorFactory> = case
        .act
        .map_or_else(|| Arc::clone(&filter), |act| Arc::new(act) as _);
    let nodes = [
        add(
            "input",
            NodeKind::Scan(Arc::new(scan(case))),
            case.parallelism,
        ),
        add("filter", NodeKind::Operator(filter), case.parallelism),
        add("act", NodeKind::Operator(act), 3),
        add(
            "out",
            NodeKind::Sink(Arc::new(CollectSink(Arc::clone(collect)))),
            2,
        ),
    ];
    let mut edge = |from: NodeIndex, to: NodeIndex, partitioning: Partitioning| {
        graph
            .connect(Edge {
                from,
                to,
                input: 0,
                partitioning,
            })
            .unwrap();
    };
    edge(nodes[0], nodes[1], Partitioning::Forward);
    edge(nodes[1], nodes[2], Partitioning::Hash(hash));
    edge(nodes[2], nodes[3], Partitioning::Rebalance);
    graph
}

async fn run(case: Case) -> (Result<()>, Arc<Collect>, Arc<Graph>, JobContext) {
    let collect = Arc::new(Collect::default());
    let graph = Arc::new(graph(&case, &collect));
    let (job, _stop) = context();
    let time = TimeOptions {
        streaming: case.streaming,
        idle_timeout: None,
        drift_max: None,
    };
    let result = Job::start(Arc::clone(&graph), job.clone(), time, None)
        .wait()
        .await
        .map(drop);
    (result, collect, graph, job)
}

/// Two splits that each span the whole time, and three that follow each other.
fn spanning() -> Vec<Vec<RecordBatch>> {
    let whole = || {
        (0..50)
            .map(|i| batch(i * 10..i * 10 + 10))
            .collect::<Vec<_>>()
    };
    let part = |from: i64| {
        (0..10)
            .map(|i| batch(from + i * 10..from + i * 10 + 10))
            .collect()
    };
    vec![whole(), whole(), part(200), part(0), part(100)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_behind_the_watermark_whatever_the_order_of_splits() {
    for parallelism in [1, 2, 5] {
        for streaming in [true, false] {
            let case = Case {
                splits: spanning(),
                unbounded: false,
                act: Some(Act::CheckTime),
                parallelism,
                streaming,
            };
            let (result, collect, graph, job) = run(case).await;
            result.unwrap();
            let got = collect.committed.lock();
            assert_eq!(got.len(), 650, "parallelism {parallelism}");
            let account = &sources(&graph, &job.metrics, &job.dead_letters)[0];
            assert_eq!(
                (account.rows_in, account.rows_out, account.filtered),
                (1300, 650, 650)
            );
            assert_eq!(sinks(&graph, &job.metrics)[0].rows, 650);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_or_panicking_task_fails_the_job_and_leaves_nothing_visible() {
    for (act, text) in [
        (Act::Fail, "a bad row"),
        (Act::Panic, "a task panicked: on purpose"),
    ] {
        let case = Case {
            splits: spanning(),
            unbounded: false,
            act: Some(act),
            parallelism: 2,
            streaming: false,
        };
        let (result, collect, ..) = run(case).await;
        assert_eq!(result.unwrap_err().to_string(), text);
        assert!(collect.committed.lock().is_empty());
        let undone =
            collect.discarded.load(Ordering::Relaxed) + collect.aborted.load(Ordering::Relaxed);
        assert!(undone > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_job_commits_all_that_it_has_read() {
    let collect = Arc::new(Collect::default());
    let case = Case {
        splits: spanning(),
        unbounded: true,
        act: None,
        parallelism: 5,
        streaming: true,
    };
    let graph = Arc::new(graph(&case, &collect));
    let (job, stop) = context();
    let time = TimeOptions {
        streaming: true,
        idle_timeout: Some(Duration::from_millis(1)),
        drift_max: None,
    };
    let running = Job::start(Arc::clone(&graph), job.clone(), time, None);
    while job.metrics.node("out").is_none_or(|out| out.rows_in < 650) {
        job.env.clock().sleep(Duration::from_millis(1)).await;
    }
    stop.send_replace(Stop::Drain);
    running.wait().await.unwrap();
    assert_eq!(collect.committed.lock().len(), 650);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_stopped_at_once_commits_nothing_more() {
    let collect = Arc::new(Collect::default());
    let case = Case {
        splits: spanning(),
        unbounded: true,
        act: None,
        parallelism: 1,
        streaming: true,
    };
    let graph = Arc::new(graph(&case, &collect));
    let (job, stop) = context();
    let time = TimeOptions {
        streaming: true,
        idle_timeout: None,
        drift_max: None,
    };
    let running = Job::start(graph, job, time, None);
    stop.send_replace(Stop::Now);
    assert_eq!(running.wait().await.unwrap_err().kind(), Kind::Cancelled);
    assert!(collect.committed.lock().is_empty());
}
