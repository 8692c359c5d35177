//! Crashes, and restarts with another parallelism: the results are those of a run without.

use std::cell::Cell;
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use crate::key_group::KeyGroups;
use crate::operator::{Extent, OperatorFactory, driving};
use crate::window::{AggregateSpec, Assign, Phase, WindowAggregateFactory, WindowSpec};

/// What a job is made of: stateless operators, and keyed ones behind an exchange.
pub(super) struct Job {
    pub(super) first: Option<Arc<dyn OperatorFactory>>,
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) last: Arc<dyn OperatorFactory>,
    /// Of each subtask.
    pub(super) memory: usize,
    /// Most files with state of one subtask.
    pub(super) files: Cell<usize>,
}

impl Job {
    pub(super) fn of(spec: &AggregateSpec, phases: bool) -> Self {
        let factory =
            |phase| Arc::new(WindowAggregateFactory::try_new(spec.clone(), phase).unwrap());
        if !phases {
            return Self {
                first: None,
                keys: spec.keys.iter().map(|(key, _)| Arc::clone(key)).collect(),
                last: factory(Phase::Single),
                memory: 1 << 30,
                files: Cell::default(),
            };
        }
        let local = factory(Phase::Local);
        Self {
            keys: local.shuffle_keys(),
            first: Some(local),
            last: factory(Phase::Final),
            memory: 1 << 30,
            files: Cell::default(),
        }
    }
}

/// A running job, with its last checkpoint.
pub(super) struct Cluster<'a> {
    job: &'a Job,
    batch_rows: usize,
    firsts: Vec<Node>,
    lasts: Vec<Node>,
    /// The snapshots of each subtask since its last full one.
    chains: Vec<Vec<RecordBatch>>,
    out: Vec<RecordBatch>,
    /// The next checkpoint must be full: the chains are those of other subtasks.
    renewed: bool,
    /// Batches of `out` that belong to the last checkpoint.
    committed: usize,
}

impl<'a> Cluster<'a> {
    pub(super) fn start(job: &'a Job, parallelism: u32, batch_rows: usize) -> Self {
        let nodes = |factory: &Arc<dyn OperatorFactory>| -> Vec<Node> {
            let node = |subtask| {
                let node = Node::any_with_memory(Arc::clone(factory), batch_rows, job.memory);
                node.with_subtask(subtask, parallelism)
            };
            (0..parallelism).map(node).collect()
        };
        Self {
            firsts: job.first.as_ref().map(nodes).unwrap_or_default(),
            lasts: nodes(&job.last),
            chains: Vec::new(),
            renewed: true,
            job,
            batch_rows,
            out: Vec::new(),
            committed: 0,
        }
    }

    pub(super) fn rows(&mut self, batch: RecordBatch, rng: &mut StdRng) {
        if self.firsts.is_empty() {
            return self.exchange(&batch);
        }
        let to = rng.random_range(0..self.firsts.len());
        self.firsts[to].rows(batch);
        self.flow();
    }

    fn flow(&mut self) {
        let sent: Vec<RecordBatch> = self.firsts.iter_mut().flat_map(Node::take).collect();
        sent.iter().for_each(|batch| self.exchange(batch));
    }

    fn exchange(&mut self, batch: &RecordBatch) {
        let rows = batch.num_rows();
        let keys = self.job.keys.iter().map(|key| key.evaluate(batch));
        let keys: Vec<_> = keys.map(|k| k.unwrap().into_array(rows).unwrap()).collect();
        let subtasks = u32::try_from(self.lasts.len()).unwrap();
        for (i, node) in (0..).zip(&mut self.lasts) {
            let mask = KeyGroups::of(i, subtasks).mask(&keys, rows).unwrap();
            let own = filter_record_batch(batch, &mask).unwrap();
            if own.num_rows() > 0 {
                node.rows(own);
            }
            self.out.extend(node.take());
            let disk = node.context.job.datafusion.runtime_env();
            let files = disk.spilling_progress().active_files_count;
            self.job.files.set(self.job.files.get().max(files));
        }
    }

    pub(super) fn watermark(&mut self, time: i64) {
        self.firsts.iter_mut().for_each(|node| node.watermark(time));
        self.flow();
        for node in &mut self.lasts {
            node.watermark(time);
            self.out.extend(node.take());
        }
    }

    pub(super) fn tick(&mut self, now: i64) {
        for node in &mut self.firsts {
            node.operator.tick(now, &mut node.out).unwrap();
            driving::drain(&mut *node.operator, &mut node.out).unwrap();
        }
        self.flow();
        for node in &mut self.lasts {
            node.operator.tick(now, &mut node.out).unwrap();
            driving::drain(&mut *node.operator, &mut node.out).unwrap();
            self.out.extend(node.take());
        }
    }

    pub(super) fn checkpoint(&mut self, rng: &mut StdRng) {
        for node in &mut self.firsts {
            let state = node
                .operator
                .snapshot(Extent::Changes, &mut node.out)
                .unwrap();
            assert_eq!(state.count(), 0, "the first phase keeps nothing");
        }
        self.flow();
        let full = std::mem::take(&mut self.renewed) || rng.random_bool(0.2);
        if full {
            self.chains = vec![Vec::new(); self.lasts.len()];
        }
        let extent = if full { Extent::All } else { Extent::Changes };
        for (node, chain) in self.lasts.iter_mut().zip(&mut self.chains) {
            driving::snapshot(&mut *node.operator, extent, chain, &mut node.out).unwrap();
            self.out.extend(node.take());
        }
        self.committed = self.out.len();
    }

    /// All since the last checkpoint is gone; new subtasks take over from it.
    pub(super) fn crash(&mut self, parallelism: u32) {
        let mut next = Self::start(self.job, parallelism, self.batch_rows);
        for (i, node) in (0..).zip(&mut next.lasts) {
            for chain in &self.chains {
                let mut state = chain.iter().cloned().map(Ok);
                let groups = KeyGroups::of(i, parallelism);
                node.operator.restore(&mut state, &groups).unwrap();
            }
        }
        next.out = std::mem::take(&mut self.out);
        next.out.truncate(self.committed);
        next.committed = self.committed;
        // The next checkpoint is full; until then the old one counts, for the old subtasks.
        next.chains = std::mem::take(&mut self.chains);
        *self = next;
    }

    pub(super) fn end(mut self) -> Vec<RecordBatch> {
        for node in &mut self.firsts {
            node.end();
        }
        self.flow();
        for node in &mut self.lasts {
            node.end();
            self.out.extend(node.take());
        }
        self.out
    }
}

pub(super) const PARALLELISMS: [u32; 4] = [1, 2, 3, 5];

/// Runs all steps; crashes now and then, and goes on from the last checkpoint with another
/// parallelism.
pub(super) fn run(
    job: &Job,
    steps: &[Step],
    batch_rows: usize,
    before: u32,
    after: u32,
    rng: &mut StdRng,
) -> Vec<RecordBatch> {
    let mut cluster = Cluster::start(job, before, batch_rows);
    let crashes = [
        rng.random_range(0..steps.len()),
        rng.random_range(0..steps.len()),
    ];
    let (mut at, mut checkpoint, mut crashed) = (0, 0, 0);
    let mut now = 0;
    while at < steps.len() {
        match &steps[at] {
            Step::Rows(rows) => cluster.rows(batch(rows), rng),
            Step::Watermark(time) => cluster.watermark(*time),
        }
        now += 100_000;
        if rng.random_bool(0.3) {
            cluster.tick(now);
        }
        at += 1;
        if rng.random_bool(0.2) {
            cluster.checkpoint(rng);
            checkpoint = at;
        }
        if crashed < 2 && crashes.contains(&(at - 1)) {
            crashed += 1;
            cluster.crash([after, before][crashed - 1]);
            at = checkpoint;
        }
    }
    cluster.end()
}

#[test]
fn crashes_and_other_parallelisms_change_nothing() {
    for seed in seeds(2) {
        let mut rng = rng("crashes_and_other_parallelisms", seed);
        for before in PARALLELISMS {
            for after in PARALLELISMS {
                let (kind, offset) = random_kind(&mut rng);
                let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
                let batch_rows = [7, 8_192][rng.random_range(0..2)];
                let steps = random_steps(&mut rng, 300, 40, 30);
                let expected = answer(&in_windows(&steps, kind, offset), keys);
                let assign = Assign::Time {
                    column: 0,
                    spec: WindowSpec::new(kind, offset).unwrap(),
                };
                let job = Job::of(&usual(assign, keys), rng.random_bool(0.7));
                let found = run(&job, &steps, batch_rows, before, after, &mut rng);
                let what = format!("{kind:?} from {before} to {after}");
                same(&lines(&found), &expected, &what);
            }
        }
    }
}
