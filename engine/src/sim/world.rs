//! A world of one pipeline: the stores that outlive every process, and the processes.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion_execution::runtime_env::RuntimeEnv;
use futures::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::data::{Bag, Line, Size, bag, lines};
use super::executor::{Halt, Instance, Sim};
use super::fault::{FaultStore, Gate, Log, Plan};
use super::pipeline::{Pipeline, VIEW, view_schema};
use super::sink::{Bug, Seen, SimSink};
use super::source::{Opened, SimSource};
use crate::checkpoint::Store;
use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::env::{Env, Work};
use crate::error::Result;
use crate::job::{JobContext, Stop};
use crate::metrics::Metrics;
use crate::runtime::{CheckpointOptions, Job, JobEnd, TimeOptions};
use crate::view::{Room, Snapshot};

/// The instance that only looks.
const OBSERVER: Instance = usize::MAX;
/// Checkpoints that are kept.
pub(super) const RETAINED: usize = 2;

/// What is simulated.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) pipeline: Pipeline,
    pub(super) seed: u64,
    pub(super) size: Size,
    pub(super) bug: Option<Bug>,
}

/// What an instance found when it was about to read, by source and split.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) visible: Bag,
    /// Whether it got so far, and had the pipeline for itself until then.
    pub(super) looked: bool,
}

/// One process.
pub(super) struct Process {
    pub(super) gate: Arc<Gate>,
    pub(super) plan: Option<Plan>,
    pub(super) done: Arc<Mutex<Option<Result<JobEnd>>>>,
    pub(super) stop: watch::Sender<Stop>,
    pub(super) metrics: Metrics,
    pub(super) opened: Opened,
    pub(super) found: Arc<Mutex<Found>>,
    pub(super) letters: DeadLetters,
}

/// Everything.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) sim: Sim,
    state: Arc<InMemory>,
    out: Arc<InMemory>,
    pub(super) log: Log,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) processes: Vec<Process>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.sim.end();
    }
}

/// Gives what is ready at once, as all is in these stores.
fn now<T>(future: impl Future<Output = object_store::Result<T>>) -> T {
    future.now_or_never().unwrap().unwrap()
}

fn objects(store: &InMemory, folder: &str) -> Vec<(String, Vec<u8>)> {
    let prefix = Path::from(folder);
    let found: Vec<_> = now(store.list(Some(&prefix)).try_collect());
    let content = |at: &Path| now(async { store.get(at).await?.bytes().await }).to_vec();
    found
        .iter()
        .map(|meta| (meta.location.to_string(), content(&meta.location)))
        .collect()
}

/// The rows that a reader sees.
fn visible(out: &InMemory) -> Bag {
    let rows = objects(out, "visible").into_iter();
    bag(rows.flat_map(|(_, bytes)| serde_json::from_slice::<Vec<Line>>(&bytes).unwrap()))
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            sim: Sim::new(setup.seed),
            setup,
            state: Arc::new(InMemory::new()),
            out: Arc::new(InMemory::new()),
            log: Log::default(),
            seen: Arc::default(),
            processes: Vec::new(),
        }
    }

    /// Starts a process.
    pub(super) fn start(&mut self, parallelism: u32, plan: Option<Plan>) {
        let instance = self.processes.len();
        let env = self.sim.env(instance, self.setup.seed);
        let gate = Gate::new(&self.sim, env.clone(), instance, plan);
        let bug = self.setup.bug;
        let mut kept = FaultStore::new(&self.state, &gate);
        kept.log = Arc::clone(&self.log);
        kept.overwrites = bug == Some(Bug::NoFence);
        let opened = Opened::default();
        let sources = (0..self.setup.pipeline.sources()).map(|number| SimSource {
            number,
            size: self.setup.size,
            sim: self.sim.clone(),
            side_by_side: self.setup.seed % 2 == 1,
            skips: bug == Some(Bug::SkipsBatch),
            opened: Arc::clone(&opened),
        });
        let found = Arc::new(Mutex::new(Found::default()));
        let (looks, out, alone) = (Arc::clone(&found), Arc::clone(&self.out), Arc::clone(&gate));
        let sink = SimSink {
            store: FaultStore::new(&self.out, &gate),
            run: format!("run{instance}"),
            seen: Arc::clone(&self.seen),
            bug,
            look: Arc::new(move || {
                let looked = !alone.has_fired();
                let visible = visible(&out);
                *looks.lock() = Found { visible, looked };
                looked
            }),
            checked: Arc::default(),
            fence: Arc::default(),
        };
        let graph = self
            .setup
            .pipeline
            .graph(sources.collect(), sink, parallelism);
        let (job, stop) = context(&env, instance);
        let letters = job.dead_letters.clone();
        let (metrics, time) = (job.metrics.clone(), streaming());
        let options = CheckpointOptions {
            alone: false,
            store: Store::new(Arc::new(kept), Path::from("state"), None, env.clone()),
            interval: Duration::from_millis(12),
            retained: RETAINED,
        };
        let job = Job::start(graph, job, time, Some(options));
        let done: Arc<Mutex<Option<Result<JobEnd>>>> = Arc::default();
        let tell = Arc::clone(&done);
        drop(env.spawn(Work::Io, async move {
            let result = job.wait().await;
            *tell.lock() = Some(result);
        }));
        self.processes.push(Process {
            gate,
            plan,
            done,
            stop,
            metrics,
            opened,
            found,
            letters,
        });
    }

    /// What a reader of the sink sees.
    pub(super) fn visible(&self) -> Bag {
        visible(&self.out)
    }

    /// What is finished and not committed.
    pub(super) fn staged(&self) -> Vec<String> {
        let staged = objects(&self.out, "staged").into_iter();
        staged.map(|(name, _)| name).collect()
    }

    /// The files of the checkpoint store.
    pub(super) fn kept(&self) -> Vec<String> {
        let kept = objects(&self.state, "state").into_iter();
        kept.map(|(name, _)| name).collect()
    }

    /// Lets an observer ask the checkpoint store, while the world goes on.
    pub(super) fn ask<T: Send + 'static, F>(&self, question: impl FnOnce(Store) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let env = self.sim.env(OBSERVER, 0);
        let inner: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&self.state);
        let store = Store::new(inner, Path::from("state"), None, env.clone());
        let answer = Arc::new(Mutex::new(None));
        let (tell, asked) = (Arc::clone(&answer), question(store));
        drop(env.spawn(Work::Io, async move {
            let result = asked.await;
            *tell.lock() = Some(result);
        }));
        let halt = self.sim.run_until(|| answer.lock().is_some());
        assert_eq!(halt, Halt::Reached);
        answer.lock().take().unwrap()
    }

    /// The rows of the view in the newest checkpoint.
    pub(super) fn view(&self) -> Bag {
        let rows = self.ask(|store| async move {
            let epoch = store.list().await?.iter().map(|l| l.epoch).max();
            let manifest = store.inspect(epoch.unwrap()).await?;
            let room = Room::of(&RuntimeEnv::default());
            let mut snapshot = Snapshot::try_new(&view_schema(), &room)?;
            for node in manifest.nodes.iter().filter(|node| node.id == VIEW) {
                for chain in &node.chains {
                    let mut batches: Vec<Result<RecordBatch>> = Vec::new();
                    for file in &chain.files {
                        batches.extend(store.read_state(file).await?);
                    }
                    snapshot.apply(Box::new(batches.into_iter()))?;
                }
            }
            snapshot.finish()?.share(0)?.batches(1_000)
        });
        bag(rows.unwrap().iter().flat_map(lines))
    }
}

fn context(env: &Env, instance: Instance) -> (JobContext, watch::Sender<Stop>) {
    let (stop, asked) = watch::channel(Stop::Run);
    let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 26));
    let job = JobContext {
        env: env.clone(),
        memory,
        batch_rows: 16,
        dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
        datafusion: Arc::new(DataFusionContext::default()),
        metrics: Metrics::default(),
        stop: asked,
        pipeline: "simulated".into(),
        run_id: format!("run{instance}").into(),
    };
    (job, stop)
}

fn streaming() -> TimeOptions {
    TimeOptions {
        streaming: true,
        idle_timeout: None,
        drift_max: None,
    }
}
