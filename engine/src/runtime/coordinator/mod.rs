//! Takes the checkpoints of a job: sends barriers, gathers what the tasks hand over, writes it, makes
//! the epoch durable, then lets the sinks show it.
//!
//! What to do when is decided by [`protocol::Machine`], which is pure; this is the part that acts.
//! One epoch is under way at a time.

mod durable;
mod stall;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::progress::CheckpointProgress;
use super::recovery::{self, Recovered, fenced};
use super::report::{Barrier, Handover, Part, Report, Subtask};
use crate::checkpoint::protocol::{Decision, Fact, Machine};
use crate::checkpoint::{
    Manifest, ManifestKind, NodeState, SavedToken, SinkCommit, StateFile, chain,
};
use crate::error::{Error, Result};
use crate::feed::Ledger;
use crate::graph::{Graph, NodeKind};
use crate::job::{JobContext, Stop};
use crate::limits;
use crate::message::Epoch;
use crate::operator::Extent;
use crate::sink::Sink;
use stall::{Stage, Waits};

type Written = BoxFuture<'static, Result<(Subtask, Extent, Option<StateFile>)>>;

/// How the checkpoints of a job end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All input is read, and all of it is visible.
    Finished,
    /// The job was asked to end: it goes on from this epoch.
    Stopped(u64),
}

/// The coordinator of one job.
pub(super) struct Coordinator {
    recovered: Arc<Recovered>,
    job: JobContext,
    interval: Duration,
    retained: usize,
    /// Whether the job goes on when its input has ended, and whether it takes requests alone.
    kind: (bool, bool),
    machine: Machine,
    /// The epoch under way, or the next one.
    epoch: u64,
    nodes: BTreeMap<String, NodeState>,
    ledgers: BTreeMap<Arc<str>, Ledger>,
    sinks: BTreeMap<String, Arc<dyn Sink>>,
    views: Vec<crate::checkpoint::ViewInfo>,
    barriers: watch::Sender<Barrier>,
    reports: mpsc::Receiver<Report>,
    /// Tasks that fill tables and have not ended.
    loading: usize,
    /// Tasks that have passed the barrier under way or have ended before it.
    passed: BTreeSet<usize>,
    ended: BTreeSet<usize>,
    /// Handed over by tasks that ended after they had passed the barrier under way.
    deferred: Vec<Handover>,
    waiting: VecDeque<Part>,
    writing: FuturesUnordered<Written>,
    /// Prepared for the epoch under way, by sink.
    tokens: BTreeMap<String, Vec<SavedToken>>,
    /// Prepared in earlier epochs of a job that commits at its end.
    held: Vec<SinkCommit>,
    commits: Vec<SinkCommit>,
    started: Duration,
    progress: CheckpointProgress,
    stage: Stage,
    /// How the job was asked to end.
    asked: Stop,
    /// The manifest of the last epoch that is durable.
    last: Option<Manifest>,
}

/// What a coordinator is made of.
pub(super) struct Setup {
    pub(super) recovered: Arc<Recovered>,
    pub(super) job: JobContext,
    pub(super) interval: Option<Duration>,
    pub(super) retained: usize,
    pub(super) kind: (bool, bool),
    /// Whether the sinks show nothing before the end.
    pub(super) hold: bool,
    /// The names of the tasks that take part.
    pub(super) tasks: Vec<String>,
    pub(super) loading: usize,
    pub(super) barriers: watch::Sender<Barrier>,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) progress: CheckpointProgress,
}

impl Coordinator {
    pub(super) fn new(graph: &Graph, setup: Setup) -> Self {
        let epoch = Epoch(setup.recovered.epoch());
        let nodes = graph.nodes().filter_map(|(_, node)| {
            let mut entry = recovery::entry(node)?;
            // What was given back counts as saved: the files that hold it stay in the chain.
            let known = setup.recovered.continued(&entry.id, entry.chains.len());
            if let Some(chains) = known {
                entry.chains = chains.to_vec();
            }
            Some(entry)
        });
        let ledgers = graph.nodes().filter_map(|(_, node)| {
            let reads = matches!(node.kind, NodeKind::Scan(_) | NodeKind::Island(_));
            reads.then(|| (Arc::clone(&node.id), setup.recovered.ledger(&node.id)))
        });
        let views = graph.nodes().filter_map(|(_, node)| match &node.kind {
            NodeKind::Operator(factory) => factory.view(),
            _ => None,
        });
        // What an epoch before has prepared and shown by now is not prepared again.
        let held = if setup.hold {
            setup.recovered.manifest.commits.clone()
        } else {
            Vec::new()
        };
        Self {
            machine: Machine::new(setup.tasks.len(), epoch, setup.hold),
            nodes: nodes.map(|node| (node.id.clone(), node)).collect(),
            ledgers: ledgers.collect(),
            sinks: recovery::sinks(graph),
            views: views.collect(),
            barriers: setup.barriers,
            reports: setup.reports,
            loading: setup.loading,
            passed: BTreeSet::new(),
            ended: BTreeSet::new(),
            epoch: epoch.0 + 1,
            last: None,
            deferred: Vec::new(),
            waiting: VecDeque::new(),
            writing: FuturesUnordered::new(),
            tokens: BTreeMap::new(),
            held,
            commits: Vec::new(),
            started: Duration::ZERO,
            progress: setup.progress,
            stage: Stage::new(setup.tasks),
            asked: Stop::Run,
            // Without an interval only the end is an epoch.
            interval: setup.interval.unwrap_or(Duration::MAX),
            retained: setup.retained,
            kind: setup.kind,
            recovered: setup.recovered,
            job: setup.job,
        }
    }

    /// Runs until the job has ended, by itself or because `stop` asked for it. `failed` tells that
    /// a task has failed.
    pub(super) async fn run(
        mut self,
        mut stop: watch::Receiver<Stop>,
        mut failed: watch::Receiver<bool>,
    ) -> Result<Ending> {
        let watched = self.stage.clone().watch(self.job.env.clock_arc());
        let result = tokio::select! {
            biased;
            result = self.work(&mut stop) => result,
            () = watched => Err(Error::internal("a watch without end has ended")),
            _ = failed.wait_for(|failed| *failed) => Err(Error::cancelled()),
        };
        if result.is_err() {
            self.discard().await;
        }
        result
    }

    async fn work(&mut self, stop: &mut watch::Receiver<Stop>) -> Result<Ending> {
        let clock = self.job.env.clock_arc();
        let mut due = clock.sleep(self.interval.min(limits::CHECKPOINT_INTERVAL_MAX));
        loop {
            let fact = tokio::select! {
                biased;
                report = self.reports.recv() => match report {
                    Some(report) => self.heard(report),
                    None => return Err(Error::cancelled()),
                },
                Some(written) = self.writing.next() => {
                    self.wrote(written?);
                    None
                }
                () = &mut due => {
                    due = clock.sleep(self.interval.min(limits::CHECKPOINT_INTERVAL_MAX));
                    let counts = self.loading == 0 && self.interval != Duration::MAX;
                    counts.then_some(Fact::Due)
                }
                asked = harder(stop, self.asked) => {
                    self.asked = asked;
                    if asked == Stop::Now || self.interval == Duration::MAX {
                        return Err(Error::cancelled());
                    }
                    if self.loading > 0 {
                        // Nothing was read yet that the last epoch doesn't have.
                        return Ok(Ending::Stopped(self.recovered.epoch()));
                    }
                    Some(Fact::Savepoint)
                }
            };
            if let Some(fact) = fact
                && let Some(ending) = self.act(fact).await?
            {
                return Ok(ending);
            }
        }
    }

    /// Takes a task's report in.
    fn heard(&mut self, report: Report) -> Option<Fact> {
        match report {
            Report::Loaded => {
                self.loading = self.loading.saturating_sub(1);
                None
            }
            Report::Passed(task, epoch, handover) => {
                self.passed.insert(task);
                self.stage.passed(task);
                self.gather(handover);
                Some(Fact::Ack { task, epoch })
            }
            Report::Ended(task, handover) => {
                self.ended.insert(task);
                self.stage.passed(task);
                if self.passed.insert(task) {
                    self.gather(handover);
                } else {
                    // It comes after the barrier under way.
                    self.deferred.push(handover);
                }
                Some(Fact::Ended { task })
            }
        }
    }

    fn gather(&mut self, handover: Handover) {
        if let Some((node, report)) = handover.splits {
            self.ledgers.entry(node).or_default().take(report);
        }
        for ((node, _), token) in handover.tokens {
            self.tokens.entry(node.to_string()).or_default().push(token);
        }
        self.waiting.extend(handover.parts);
        self.write_more();
    }

    fn write_more(&mut self) {
        while self.writing.len() < limits::STATE_WRITES_MAX
            && let Some(part) = self.waiting.pop_front()
        {
            let (recovered, epoch) = (Arc::clone(&self.recovered), self.epoch);
            self.writing.push(Box::pin(async move {
                let full = part.extent == Extent::All;
                let (node, subtask) = (&part.of.0, part.of.1);
                let written = recovered.store.write_state(
                    recovered.generation,
                    epoch,
                    node,
                    subtask,
                    0,
                    full,
                    part.state,
                );
                let file = written.await?;
                Ok((part.of, part.extent, file))
            }));
        }
    }

    fn wrote(&mut self, (of, extent, file): (Subtask, Extent, Option<StateFile>)) {
        self.progress
            .add_bytes(file.as_ref().map_or(0, |file| file.bytes));
        let chains = self.nodes.get_mut(&*of.0).map(|node| &mut node.chains);
        let chain = chains.and_then(|chains| chains.iter_mut().find(|c| c.subtask == of.1));
        if let Some(chain) = chain {
            if extent == Extent::All {
                chain.files.clear();
            }
            chain.files.extend(file);
        }
        self.write_more();
    }

    /// Carries decisions out until the next report is needed.
    async fn act(&mut self, fact: Fact) -> Result<Option<Ending>> {
        let mut decisions: VecDeque<Decision> = self.machine.take(fact).into();
        while let Some(decision) = decisions.pop_front() {
            let fact = match decision {
                Decision::Inject(epoch) => {
                    self.inject(epoch);
                    None
                }
                Decision::Write(epoch) => {
                    self.waits(Waits::State);
                    self.write_rest().await?;
                    Some(Fact::StateWritten(epoch))
                }
                Decision::Publish(epoch, kind) => {
                    self.waits(Waits::Manifest);
                    Some(self.publish(epoch, kind).await?)
                }
                Decision::Commit(epoch) => {
                    self.waits(Waits::Sinks);
                    self.commit().await?;
                    Some(Fact::Committed(epoch))
                }
                Decision::Collect => {
                    self.waits(Waits::Garbage);
                    self.settle();
                    self.collect().await;
                    self.stage.end();
                    let kind = self.last.as_ref().map(|last| last.kind);
                    if self.asked == Stop::Drain && kind == Some(ManifestKind::Savepoint) {
                        return Ok(Some(Ending::Stopped(self.epoch - 1)));
                    }
                    None
                }
                Decision::Finish => {
                    if let Some(last) = self.last.take() {
                        self.recovered.close(last).await?;
                    }
                    return Ok(Some(Ending::Finished));
                }
                Decision::Discard { .. } => return Err(fenced()),
            };
            if let Some(fact) = fact {
                decisions.extend(self.machine.take(fact));
            }
        }
        Ok(None)
    }

    fn waits(&self, waits: Waits) {
        let now = self.job.env.clock().monotonic();
        self.stage.waits(self.epoch, waits, now);
    }

    fn inject(&mut self, epoch: Epoch) {
        self.started = self.job.env.clock().monotonic();
        self.stage.begin(epoch.0, self.started, &self.ended);
        let full = self.nodes.values().flat_map(|node| {
            let chains = node.chains.iter();
            let all = chains.filter(|chain| chain::next_extent(&chain.files) == Extent::All);
            all.map(|chain| (Arc::from(node.id.as_str()), chain.subtask))
        });
        let full: HashSet<Subtask> = full.collect();
        self.barriers.send_replace(Barrier {
            epoch: epoch.0,
            last: self.asked == Stop::Drain,
            full: Arc::new(full),
        });
    }

    /// Writes what is left of an epoch that all tasks have passed.
    async fn write_rest(&mut self) -> Result<()> {
        let extents: Vec<Extent> = self
            .ledgers
            .keys()
            .map(|node| {
                let chain = self.nodes.get(&**node).and_then(|node| node.chains.first());
                chain.map_or(Extent::All, |chain| chain::next_extent(&chain.files))
            })
            .collect();
        let parts = self
            .ledgers
            .iter_mut()
            .zip(extents)
            .map(|((node, ledger), extent)| Part {
                of: (Arc::clone(node), 0),
                extent,
                state: ledger.snapshot(extent),
            });
        self.waiting.extend(parts);
        self.write_more();
        while let Some(written) = self.writing.next().await {
            self.wrote(written?);
        }
        Ok(())
    }

    /// An epoch is done: what came after its barrier counts for the next one.
    fn settle(&mut self) {
        // In a job that commits at its end, the work waits for the last epoch.
        self.held = std::mem::take(&mut self.commits);
        let took = self.job.env.clock().monotonic() - self.started;
        self.progress.done(self.epoch, took);
        self.epoch += 1;
        self.passed.clone_from(&self.ended);
        for handover in std::mem::take(&mut self.deferred) {
            self.gather(handover);
        }
    }
}

/// Waits until a harder stop is asked for than before.
async fn harder(stop: &mut watch::Receiver<Stop>, than: Stop) -> Stop {
    let asked = stop.wait_for(|stop| *stop > than).await.map(|stop| *stop);
    match asked {
        Ok(asked) => asked,
        // Nobody is left to ask.
        Err(_) => std::future::pending().await,
    }
}
