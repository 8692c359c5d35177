//! Turns a graph into tasks: fuses forward edges, makes the channels, creates the operators.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::chain::{Chain, Link};
use super::tail::{Held, Tail, Writing};
use super::task::{Head, Task};
use crate::error::{Error, Result};
use crate::exchange::{Inbox, Outlet, Sender, inbox};
use crate::feed::{Feed, WatermarkMode};
use crate::graph::{Edge, Graph, Node, NodeIndex, NodeKind, Partitioning};
use crate::job::{JobContext, TaskContext};
use crate::source::Boundedness;

/// How a graph is run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) watermarks: WatermarkMode,
    pub(super) idle_timeout: Option<Duration>,
    /// Where the tokens of a bounded job wait for its end.
    pub(super) held: Option<Held>,
    pub(super) failed: watch::Receiver<bool>,
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
        (single && matches!(edge.partitioning, Partitioning::Forward)).then_some(edge.to)
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
pub(super) async fn tasks(graph: &Graph, job: &JobContext, plan: &Plan) -> Result<Vec<Task>> {
    let groups = fuse(graph);
    let mut wires = wire(graph, &groups, job)?;
    let mut tasks = Vec::new();
    for group in &groups {
        let Some(first) = group.first() else { continue };
        let head_node = graph.node(*first)?;
        let feed = match &head_node.kind {
            NodeKind::Scan(scan) => {
                let clock = job.env.clock_arc();
                Some(Arc::new(Feed::new(
                    Arc::clone(scan),
                    plan.watermarks,
                    clock,
                )))
            }
            _ => None,
        };
        for subtask in 0..head_node.parallelism {
            let head = head(
                head_node,
                *first,
                subtask,
                feed.as_ref(),
                &mut wires,
                job,
                plan,
            )?;
            let chain = chain(graph, group, subtask, &mut wires, job, plan).await?;
            tasks.push(Task {
                head,
                chain,
                job: job.clone(),
                failed: plan.failed.clone(),
            });
        }
    }
    Ok(tasks)
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
    index: NodeIndex,
    subtask: u32,
    feed: Option<&Arc<Feed>>,
    wires: &mut Wires,
    job: &JobContext,
    plan: &Plan,
) -> Result<Head> {
    match (&node.kind, feed) {
        (NodeKind::Scan(scan), Some(feed)) => Ok(Head::Scan {
            scan: Arc::clone(scan),
            feed: Arc::clone(feed),
            task: context(node, subtask, job),
            idle: plan
                .idle_timeout
                .filter(|_| scan.source.boundedness() != Boundedness::Bounded),
        }),
        (NodeKind::Island(plan), _) => Ok(Head::Island {
            plan: Arc::clone(plan),
            partition: subtask as usize,
            metrics: job.metrics.register(&node.id),
        }),
        _ => {
            let wired = wires.inboxes.remove(&(index, subtask as usize));
            let (inbox, inputs) =
                wired.ok_or_else(|| Error::internal(format!("{} has no input", node.id)))?;
            Ok(Head::Inbox { inbox, inputs })
        }
    }
}

async fn chain(
    graph: &Graph,
    group: &Fused,
    subtask: u32,
    wires: &mut Wires,
    job: &JobContext,
    plan: &Plan,
) -> Result<Chain> {
    let mut links = Vec::new();
    let mut tail = None;
    for index in group {
        let node = graph.node(*index)?;
        match &node.kind {
            NodeKind::Scan(_) | NodeKind::Island(_) => {}
            NodeKind::Operator(factory) => {
                let task = context(node, subtask, job);
                let operator = factory.create(&task)?;
                links.push(Link {
                    operator,
                    metrics: task.metrics,
                });
            }
            NodeKind::Sink(sink) => {
                let task = context(node, subtask, job);
                tail = Some(Tail::Sink(Writing {
                    sink: Arc::clone(sink),
                    writer: sink.writer(&node.schema, &task).await?,
                    metrics: task.metrics,
                    held: plan.held.clone(),
                    uncommitted: std::collections::VecDeque::new(),
                    clock: job.env.clock_arc(),
                    ticked: Duration::ZERO,
                }));
            }
        }
    }
    let tail = match (tail, group.last()) {
        (Some(tail), _) => tail,
        (None, Some(last)) => Tail::Exchange(outlets(graph, *last, subtask as usize, wires)),
        (None, None) => return Err(Error::internal("a task without nodes")),
    };
    Ok(Chain {
        links,
        tail,
        clock: job.env.clock_arc(),
        own_watermark: None,
    })
}

fn outlets(graph: &Graph, from: NodeIndex, subtask: usize, wires: &mut Wires) -> Vec<Outlet> {
    let edges = graph
        .edges()
        .iter()
        .enumerate()
        .filter(|(_, edge)| edge.from == from);
    edges
        .filter_map(|(number, edge)| {
            let senders = wires.senders.remove(&(number, subtask))?;
            Some(Outlet::new(&edge.partitioning, senders, subtask))
        })
        .collect()
}
