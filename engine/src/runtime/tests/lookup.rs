//! Lookups in a running job: answers that come in another order than the questions, failures that
//! pass and that stay, and an end while an answer is waited for.

use std::sync::atomic::AtomicUsize;

use arrow::array::ArrayRef;
use datafusion_common::NullEquality;
use rand::Rng as _;

use super::*;
use crate::join::{JoinKind, JoinSpec, LookupJoinFactory};
use crate::lookup::{Found, Lookup, Settings};

/// How the table of [`Echo`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Answers after a while, a short or a long one; every third call fails for now.
    Slow,
    /// Fails for good.
    Refuses,
    /// Never answers.
    Hangs,
}

/// A table that has each number once.
#[derive(Debug)]
struct Echo {
    env: Env,
    mood: Mood,
    calls: AtomicUsize,
}

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]))
}

#[async_trait]
impl Lookup for Echo {
    fn schema(&self) -> SchemaRef {
        numbers()
    }
    fn settings(&self) -> Settings {
        Settings {
            keys_max: 3,
            ..Settings::default()
        }
    }
    fn describe(&self) -> String {
        "numbers".into()
    }
    async fn get(&self, keys: &[ArrayRef]) -> Result<Found> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.mood {
            Mood::Slow if call % 3 == 1 => {
                return Err(Error::new(Kind::Unavailable, codes::UNAVAILABLE, "away"));
            }
            Mood::Slow => {
                let pause = self.env.rng(&call.to_string()).random_range(0..3_000);
                self.env.clock().sleep(Duration::from_micros(pause)).await;
            }
            Mood::Refuses => return Err(Error::new(Kind::Invalid, codes::PERMISSION, "refused")),
            Mood::Hangs => std::future::pending().await,
        }
        Ok(Found {
            rows: RecordBatch::try_new(numbers(), vec![Arc::clone(&keys[0])])?,
            keys: (0..keys[0].len() as u32).collect(),
        })
    }
}

/// Source, lookup, the check of times, the sink. A single subtask has a single split, in order.
fn asking(mood: Mood, job: &JobContext, parallelism: u32, collect: &Arc<Collect>) -> Arc<Graph> {
    let mut splits = spanning();
    if parallelism == 1 {
        splits.truncate(1);
    }
    let case = Case {
        splits,
        unbounded: false,
        act: None,
        parallelism,
        streaming: true,
    };
    let v = || col("v", &schema()).unwrap();
    let spec = JoinSpec {
        kind: JoinKind::Inner,
        inputs: [schema(), numbers()],
        on: vec![(v(), col("k", &numbers()).unwrap())],
        null_equality: NullEquality::NullEqualsNothing,
        filter: None,
        output: vec![0, 1],
        schema: schema(),
    };
    let echo = Echo {
        env: job.env.clone(),
        mood,
        calls: AtomicUsize::new(0),
    };
    let join = LookupJoinFactory::try_new(spec, Arc::new(echo)).unwrap();
    let kinds = [
        NodeKind::Scan(Arc::new(scan(&case))),
        NodeKind::Lookup(Arc::new(join)),
        NodeKind::Operator(Arc::new(Act::CheckTime)),
        NodeKind::Sink(Arc::new(CollectSink(Arc::clone(collect)))),
    ];
    let mut graph = Graph::default();
    for (at, (id, kind)) in ["input", "lookup", "check", "out"]
        .into_iter()
        .zip(kinds)
        .enumerate()
    {
        let to = graph.add(Node {
            id: Arc::from(id),
            name: id.to_owned(),
            kind,
            parallelism,
            schema: schema(),
        });
        let partitioning = match at {
            0 => continue,
            1 => Partitioning::Hash(vec![v()]),
            _ => Partitioning::Forward,
        };
        let edge = Edge {
            from: NodeIndex(at - 1),
            to: to.unwrap(),
            input: 0,
            partitioning,
        };
        graph.connect(edge).unwrap();
    }
    Arc::new(graph)
}

const TIME: TimeOptions = TimeOptions {
    streaming: true,
    idle_timeout: None,
    drift_max: None,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_on_in_the_order_of_the_questions() {
    for (parallelism, rows) in [(1, 500), (3, 1_300)] {
        let (job, _stop) = context();
        let collect = Arc::new(Collect::default());
        let graph = asking(Mood::Slow, &job, parallelism, &collect);
        Job::start(graph, job.clone(), TIME, None)
            .wait()
            .await
            .unwrap();
        let mut found = collect.committed.lock().clone();
        assert_eq!(found.len(), rows, "parallelism {parallelism}");
        assert!(parallelism > 1 || found.is_sorted());
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 500);
        let counts = job.metrics.node("lookup").unwrap();
        let counted = rows as u64;
        assert_eq!((counts.rows_in, counts.rows_out), (counted, counted));
        assert!(counts.asked >= 500 && counts.cached == 0, "{counts:?}");
        assert_eq!(counts.watermark, EventTime::MAX);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_refuses_ends_the_job() {
    let (job, _stop) = context();
    let collect = Arc::new(Collect::default());
    let graph = asking(Mood::Refuses, &job, 2, &collect);
    let error = Job::start(graph, job, TIME, None).wait().await.unwrap_err();
    assert_eq!(error.code(), codes::PERMISSION);
    assert!(collect.committed.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_for_an_answer_can_be_stopped() {
    let (job, stop) = context();
    let collect = Arc::new(Collect::default());
    let graph = asking(Mood::Hangs, &job, 1, &collect);
    let running = Job::start(graph, job.clone(), TIME, None);
    while job
        .metrics
        .node("lookup")
        .is_none_or(|lookup| lookup.asked == 0)
    {
        job.env.clock().sleep(Duration::from_millis(1)).await;
    }
    stop.send_replace(Stop::Now);
    assert_eq!(running.wait().await.unwrap_err().kind(), Kind::Cancelled);
}
