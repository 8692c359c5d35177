//! Turns a graph into tasks: fuses forward edges, makes the channels, creates the operators.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::chain::{Chain, Link};
use super::recovery::Recovered;
use super::report::{Barrier, Report, Wire};
use super::tail::{Commits, Held, Keeper, Tail, Writing};
use super::task::{Head, Task};
use crate::error::{Error, Result};
use crate::exchange::{Inbox, Outlet, Sender, inbox};
use crate::feed::{Feed, WatermarkMode};
use crate::graph::{Edge, Graph, Node, NodeIndex, NodeKind, Partitioning};
use crate::island;
use crate::job::{JobContext, TaskContext};
use crate::message::Epoch;
use crate::source::Boundedness;

/// How a graph is run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) watermarks: WatermarkMode,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) drift_max: Option<Duration>,
    pub(super) commits: CommitMode,
    pub(super) failed: watch::Receiver<bool>,
}

/// When work becomes visible.
#[derive(Debug, Clone)]
pub(super) enum CommitMode {
    /// When files roll: the counter numbers the commits.
    AtOnce(Arc<AtomicU64>),
    /// At the end of a bounded job.
    AtEnd(Held),
    /// By checkpoints.
    WithEpoch(
        Arc<Recovered>,
        mpsc::Sender<Report>,
        watch::Receiver<Barrier>,
    ),
}

/// What was built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) tasks: Vec<Task>,
    /// The names of those, the first, that take part in checkpoints.
    pub(super) names: Vec<String>,
    /// Whether the rows of all of them come in the same order in each run.
    pub(super) repeats: bool,
}

/// Nodes in one task, first to last.
type Fused = Vec<NodeIndex>;

/// Groups the nodes: a forward edge between a node's only output and a node's only input is fused.
fn fuse(graph: &Graph) -> Vec<Fused> {
    let follows = |index: NodeIndex| -> Option<NodeIndex> {
        let outputs = graph.outputs(index);
        let [edge] = outputs.as_slice() else {
            return None;
        };
        let single = graph.inputs(edge.to).len() == 1;
        // A lookup waits for its peer, and takes other rows meanwhile: it heads a task of its own.
        let to = graph.node(edge.to).map(|node| &node.kind);
        let heads = matches!(to, Ok(NodeKind::Lookup(_)));
        let forward = matches!(edge.partitioning, Partitioning::Forward);
        (single && forward && !heads).then_some(edge.to)
    };
    let mut fused_into: HashMap<NodeIndex, usize> = HashMap::new();
    let mut groups: Vec<Fused> = Vec::new();
    for (index, _) in graph.nodes() {
        let group = *fused_into.entry(index).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(members) = groups.get_mut(group) {
            members.push(index);
        }
        if let Some(next) = follows(index) {
            fused_into.insert(next, group);
        }
    }
    groups
}

/// The receiving ends of the first nodes of groups, and the sending ends towards them.
#[derive(Default)]
struct Wires {
    /// Per (group, subtask): the inbox and the operator input of each channel.
    inboxes: HashMap<(NodeIndex, usize), (Inbox, Vec<usize>)>,
    /// Per (edge number, sending subtask): senders to all receivers.
    senders: HashMap<(usize, usize), Vec<Sender>>,
}

fn wire(graph: &Graph, groups: &[Fused], job: &JobContext) -> Result<Wires> {
    let mut wires = Wires::default();
    for first in groups.iter().filter_map(|group| group.first()) {
        let receiver = graph.node(*first)?;
        let edges: Vec<(usize, &Edge)> = graph
            .edges()
            .iter()
            .enumerate()
            .filter(|(_, edge)| edge.to == *first)
            .collect();
        if edges.is_empty() {
            continue;
        }
        for subtask in 0..receiver.parallelism as usize {
            let mut channels = Vec::new();
            for (number, edge) in &edges {
                for from in 0..graph.node(edge.from)?.parallelism as usize {
                    let forward = matches!(edge.partitioning, Partitioning::Forward);
                    if !forward || from == subtask {
                        channels.push((*number, from, edge.input));
                    }
                }
            }
            let (senders, inbox) = inbox(channels.len(), &receiver.name, &job.memory);
            let inputs = channels.iter().map(|(_, _, input)| *input).collect();
            for ((edge, from, _), sender) in channels.into_iter().zip(senders) {
                wires.senders.entry((edge, from)).or_default().push(sender);
            }
            wires.inboxes.insert((*first, subtask), (inbox, inputs));
        }
    }
    Ok(wires)
}

/// Makes all tasks of a graph.
pub(super) async fn tasks(graph: &Graph, job: &JobContext, plan: &Plan) -> Result<Built> {
    let groups = fuse(graph);
    let mut wires = wire(graph, &groups, job)?;
    let loads = loads(graph);
    let (mut tasks, mut loading, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for group in &groups {
        let Some(first) = group.first() else { continue };
        let head_node = graph.node(*first)?;
        let feed = feed(head_node, job, plan);
        let subtasks = (0..head_node.parallelism).map(|subtask| {
            let inbox = wires.inboxes.remove(&(*first, subtask as usize));
            let outlets = outlets(graph, group, subtask as usize, &mut wires);
            (subtask, inbox, outlets)
        });
        let subtasks: Vec<_> = subtasks.collect();
        let is_loading = loads.contains(first);
        // State is read back by all subtasks at the same time.
        let mut making: Vec<BoxFuture<'_, Result<Task>>> = Vec::new();
        for (subtask, inbox, outlets) in subtasks {
            let mut job = job.clone();
            let wire = wire_of(plan, &job);
            if let Some(wire) = &wire {
                job.dead_letters = wire.letters.clone();
            }
            if is_loading {
                job.dead_letters = job.dead_letters.without_requests();
            }
            let head = head(head_node, subtask, feed.clone(), inbox, &job, plan)?;
            let failed = plan.failed.clone();
            making.push(Box::pin(async move {
                let chain = chain(graph, group, subtask, outlets, &job, plan).await?;
                Ok(Task {
                    head,
                    chain,
                    job,
                    wire,
                    failed,
                })
            }));
        }
        let made = futures::future::try_join_all(making).await?;
        if is_loading {
            loading.extend(made);
        } else {
            tasks.extend(made);
            let of = 0..head_node.parallelism;
            names.extend(of.map(|subtask| format!("{}[{subtask}]", head_node.id)));
        }
    }
    for (number, task) in tasks.iter_mut().enumerate() {
        if let Some(wire) = &mut task.wire {
            wire.task = Some(number);
        }
    }
    tasks.extend(loading);
    let repeats = graph.nodes().all(|(index, node)| match &node.kind {
        NodeKind::Island(plan) => loads.contains(&index) || !island::reads(plan),
        _ => true,
    });
    Ok(Built {
        tasks,
        names,
        repeats,
    })
}

/// The nodes that fill a table which is read anew at each start: no checkpoint waits for them.
fn loads(graph: &Graph) -> HashSet<NodeIndex> {
    let mut found = HashSet::new();
    let preferred = graph.edges().iter().filter(|edge| {
        let to = graph.node(edge.to).map(|node| &node.kind);
        matches!(to, Ok(NodeKind::Operator(factory)) if factory.prefers() == Some(edge.input))
    });
    let mut next: Vec<NodeIndex> = preferred.map(|edge| edge.from).collect();
    while let Some(index) = next.pop() {
        if found.insert(index) {
            next.extend(graph.inputs(index).iter().map(|edge| edge.from));
        }
    }
    found
}

fn wire_of(plan: &Plan, job: &JobContext) -> Option<Wire> {
    let CommitMode::WithEpoch(recovered, reports, barriers) = &plan.commits else {
        return None;
    };
    let epoch = recovered.epoch();
    // The bad rows of a table go with the first epoch, which waits for it, and are told again at
    // each start.
    let letters = job.dead_letters.of_task(epoch);
    Some(Wire {
        task: None,
        reports: reports.clone(),
        barriers: barriers.clone(),
        letters,
        passed: epoch,
    })
}

fn feed(node: &Node, job: &JobContext, plan: &Plan) -> Option<Arc<Feed>> {
    let NodeKind::Scan(scan) = &node.kind else {
        return None;
    };
    let clock = job.env.clock_arc();
    let feed = Feed::new(Arc::clone(scan), plan.watermarks, clock)
        .with_idle_timeout(plan.idle_timeout)
        .with_subtasks(node.parallelism);
    let feed = match &plan.commits {
        CommitMode::WithEpoch(recovered, ..) => feed.with_ledger(&recovered.ledger(&node.id)),
        _ => feed,
    };
    Some(Arc::new(feed))
}

fn context(node: &Node, subtask: u32, job: &JobContext) -> TaskContext {
    TaskContext {
        job: job.clone(),
        node: Arc::clone(&node.id),
        subtask,
        parallelism: node.parallelism,
        metrics: job.metrics.register(&node.id),
    }
}

fn head(
    node: &Node,
    subtask: u32,
    feed: Option<Arc<Feed>>,
    inbox: Option<(Inbox, Vec<usize>)>,
    job: &JobContext,
    plan: &Plan,
) -> Result<Head> {
    match (&node.kind, feed) {
        (NodeKind::Scan(scan), Some(feed)) => Ok(Head::Scan {
            scan: Arc::clone(scan),
            feed,
            task: context(node, subtask, job),
            idle: plan
                .idle_timeout
                .filter(|_| scan.source.boundedness() != Boundedness::Bounded),
            drift_max: plan.drift_max,
        }),
        (NodeKind::Island(island), _) => Ok(Head::Island {
            plan: Arc::clone(island),
            partition: subtask as usize,
            metrics: job.metrics.register(&node.id),
            node: Arc::clone(&node.id),
            given: match &plan.commits {
                CommitMode::WithEpoch(recovered, ..) => recovered.given(&node.id, subtask),
                _ => 0,
            },
        }),
        (kind, _) => {
            let (inbox, inputs) =
                inbox.ok_or_else(|| Error::internal(format!("{} has no input", node.id)))?;
            let NodeKind::Lookup(factory) = kind else {
                return Ok(Head::Inbox { inbox, inputs });
            };
            let join = factory.create(&context(node, subtask, job))?;
            Ok(Head::Lookup {
                inbox,
                join: Box::new(join),
            })
        }
    }
}

async fn chain(
    graph: &Graph,
    group: &Fused,
    subtask: u32,
    outlets: Vec<Outlet>,
    job: &JobContext,
    plan: &Plan,
) -> Result<Chain> {
    let mut links = Vec::new();
    let mut tail = None;
    for index in group {
        let node = graph.node(*index)?;
        match &node.kind {
            NodeKind::Scan(_) | NodeKind::Island(_) | NodeKind::Lookup(_) => {}
            NodeKind::Operator(factory) => {
                let task = context(node, subtask, job);
                let mut operator = factory.create(&task)?;
                if let CommitMode::WithEpoch(recovered, ..) = &plan.commits {
                    operator = recovered.restore(node, subtask, operator).await?;
                }
                links.push(Link {
                    operator,
                    metrics: task.metrics,
                    of: (Arc::clone(&node.id), subtask),
                    keeps: factory.fingerprint().is_some(),
                });
            }
            NodeKind::Sink(sink) => {
                let task = context(node, subtask, job);
                let commits = commits(&plan.commits, &node.id, subtask);
                let mut writer = sink.writer(&node.schema, &task).await?;
                if let Commits::WithEpoch(keeper) = &commits {
                    writer.begin(Epoch(keeper.epoch));
                }
                tail = Some(Tail::Sink(Box::new(Writing {
                    sink: Arc::clone(sink),
                    writer,
                    metrics: task.metrics,
                    commits,
                    uncommitted: VecDeque::new(),
                    clock: job.env.clock_arc(),
                })));
            }
        }
    }
    let tail = tail.unwrap_or(Tail::Exchange(outlets));
    let first = group.first().and_then(|first| graph.node(*first).ok());
    let (prefers, timeless, gathers) = match first.map(|node| &node.kind) {
        Some(NodeKind::Operator(factory)) => {
            (factory.prefers(), factory.timeless(), factory.gathers())
        }
        _ => (None, None, false),
    };
    Ok(Chain {
        links,
        prefers,
        timeless,
        gathers,
        tail,
        clock: job.env.clock_arc(),
        own_watermark: None,
        ticked: Duration::ZERO,
        is_saved: false,
    })
}

fn commits(mode: &CommitMode, node: &Arc<str>, subtask: u32) -> Commits {
    match mode {
        CommitMode::AtOnce(epochs) => Commits::AtOnce(Arc::clone(epochs)),
        CommitMode::AtEnd(held) => Commits::AtEnd(Arc::clone(held)),
        CommitMode::WithEpoch(recovered, ..) => Commits::WithEpoch(Keeper {
            store: recovered.store.clone(),
            generation: recovered.generation,
            of: (Arc::clone(node), subtask),
            epoch: recovered.epoch() + 1,
            written: 0,
            saved: Vec::new(),
        }),
    }
}

/// The sending ends of the last node of a group.
fn outlets(graph: &Graph, group: &Fused, subtask: usize, wires: &mut Wires) -> Vec<Outlet> {
    let edges = graph.edges().iter().enumerate();
    edges
        .filter(|(_, edge)| Some(&edge.from) == group.last())
        .filter_map(|(number, edge)| {
            let senders = wires.senders.remove(&(number, subtask))?;
            Some(Outlet::new(&edge.partitioning, senders, subtask))
        })
        .collect()
}
