//! The plan of a job as data: nodes, edges, parallelism. Printable; what EXPLAIN draws.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::ExecutionPlan;

use crate::error::{Error, Result};
use crate::join::LookupJoinFactory;
use crate::operator::OperatorFactory;
use crate::rules::{Baseline, Reference};
use crate::scan::Scan;
use crate::sink::Sink;

/// The place of a node in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// How rows go from the subtasks of one node to those of the next.
#[derive(Debug, Clone)]
pub enum Partitioning {
    /// Subtask i to subtask i; the same parallelism on both sides. Fused into one task.
    Forward,
    /// By the hash of these expressions: equal keys meet in one subtask.
    Hash(Vec<Arc<dyn PhysicalExpr>>),
    /// Every row to every subtask.
    Broadcast,
    /// Batches in turn.
    Rebalance,
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward => f.write_str("forward"),
            Self::Hash(keys) => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                write!(f, "hash({})", keys.join(", "))
            }
            Self::Broadcast => f.write_str("broadcast"),
            Self::Rebalance => f.write_str("rebalance"),
        }
    }
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Reads a source.
    Scan(Arc<Scan>),
    /// Runs a bounded stretch of the plan in DataFusion; one subtask per partition.
    Island(Arc<dyn ExecutionPlan>),
    /// Transforms rows.
    Operator(Arc<dyn OperatorFactory>),
    /// Joins rows with what a table says when it is asked for their keys: it waits for a peer,
    /// which no operator does. What it keeps is a cache, so that it has no state.
    Lookup(Arc<LookupJoinFactory>),
    /// Writes to a sink.
    Sink(Arc<dyn Sink>),
}

/// A node: what it does, under which name, with how many subtasks.
#[derive(Debug, Clone)]
pub struct Node {
    /// Stable across edits of other parts of the script: made from the statement's name and the
    /// path of the operator within it. State is found by it after a restart.
    pub id: Arc<str>,
    /// For people: the source's or sink's name, or the operator.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// Subtasks.
    pub parallelism: u32,
    /// The rows that come out (for a sink: go in).
    pub schema: SchemaRef,
}

/// An edge.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The sender.
    pub from: NodeIndex,
    /// The receiver.
    pub to: NodeIndex,
    /// Which input of the receiver.
    pub input: usize,
    /// Which rows go to which subtask.
    pub partitioning: Partitioning,
}

/// A directed acyclic graph of nodes.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Tables whose keys the rules of the nodes ask for: they are read before anything else.
    references: Vec<Arc<Reference>>,
    /// What rules compare with, read then too.
    baselines: Vec<Arc<Baseline>>,
    /// The same of tables without an end: their keys come while the job runs.
    keys: Vec<KeysOf>,
}

/// Where the keys come from that rules refer to.
#[derive(Debug, Clone)]
pub struct KeysOf {
    /// What the rules ask for.
    pub reference: Arc<Reference>,
    /// The node whose rows they are.
    pub at: NodeIndex,
    /// They come with a watermark.
    pub have_time: bool,
    /// Of a table whose rows change: no two rows have one key at a time.
    pub one_per_key: bool,
}

impl Graph {
    /// Adds a table that rules refer to.
    pub fn refer(&mut self, reference: Arc<Reference>) {
        self.references.push(reference);
    }

    /// The tables that rules refer to.
    pub fn references(&self) -> &[Arc<Reference>] {
        &self.references
    }

    /// Adds what rules compare with.
    pub fn compare(&mut self, baseline: Arc<Baseline>) {
        self.baselines.push(baseline);
    }

    /// What rules compare with.
    pub fn baselines(&self) -> &[Arc<Baseline>] {
        &self.baselines
    }

    /// Says which node gives the keys of a table without an end.
    pub fn give_keys(&mut self, keys: KeysOf) {
        self.keys.push(keys);
    }

    /// Where the keys of tables without an end come from.
    pub fn keys(&self) -> &[KeysOf] {
        &self.keys
    }

    /// Where the keys come from that a rule refers to, if their table has no end.
    pub fn keys_of(&self, reference: &Arc<Reference>) -> Option<&KeysOf> {
        let mut keys = self.keys.iter();
        keys.find(|keys| Arc::ptr_eq(&keys.reference, reference))
    }

    /// Adds a node; its id must be new.
    pub fn add(&mut self, node: Node) -> Result<NodeIndex> {
        if self.nodes.iter().any(|other| other.id == node.id) {
            return Err(Error::internal(format!(
                "two nodes have the id {}",
                node.id
            )));
        }
        self.nodes.push(node);
        Ok(NodeIndex(self.nodes.len() - 1))
    }

    /// Adds an edge. Edges go from earlier to later nodes, so the graph has no cycle.
    pub fn connect(&mut self, edge: Edge) -> Result<()> {
        let (from, to) = (self.node(edge.from)?, self.node(edge.to)?);
        if edge.from >= edge.to {
            return Err(Error::internal("an edge goes back"));
        }
        if matches!(edge.partitioning, Partitioning::Forward) && from.parallelism != to.parallelism
        {
            return Err(Error::internal(
                "a forward edge between unequal parallelisms",
            ));
        }
        self.edges.push(edge);
        Ok(())
    }

    /// All nodes, senders before receivers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (NodeIndex(i), node))
    }

    /// All edges.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// One node.
    pub fn node(&self, index: NodeIndex) -> Result<&Node> {
        self.nodes
            .get(index.0)
            .ok_or_else(|| Error::internal("a node is not in the graph"))
    }

    /// The edges into a node, by input.
    pub fn inputs(&self, node: NodeIndex) -> Vec<&Edge> {
        let mut edges: Vec<_> = self.edges.iter().filter(|edge| edge.to == node).collect();
        edges.sort_by_key(|edge| edge.input);
        edges
    }

    /// The names of the sources whose rows reach a node, for people: where its late rows are kept.
    pub fn sources_of(&self, node: NodeIndex) -> Arc<str> {
        let (mut todo, mut seen) = (vec![node], BTreeSet::new());
        let mut names = BTreeSet::new();
        while let Some(at) = todo.pop() {
            if !seen.insert(at) {
                continue;
            }
            if let Some(node) = self.nodes.get(at.0)
                && matches!(node.kind, NodeKind::Scan(_))
            {
                names.insert(node.name.as_str());
            }
            todo.extend(self.inputs(at).iter().map(|edge| edge.from));
        }
        names.into_iter().collect::<Vec<_>>().join(", ").into()
    }

    /// The edges out of a node.
    pub fn outputs(&self, node: NodeIndex) -> Vec<&Edge> {
        self.edges.iter().filter(|edge| edge.from == node).collect()
    }
}

impl fmt::Display for Graph {
    /// Prints each sink with what flows into it, indented, sinks in order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = BTreeMap::new();
        for (index, _) in self.nodes().filter(|(i, _)| self.outputs(*i).is_empty()) {
            self.print(f, index, 0, &mut printed, "")?;
        }
        Ok(())
    }
}

impl Graph {
    fn print(
        &self,
        f: &mut fmt::Formatter<'_>,
        index: NodeIndex,
        depth: usize,
        printed: &mut BTreeMap<NodeIndex, ()>,
        edge: &str,
    ) -> fmt::Result {
        let Some(node) = self.nodes.get(index.0) else {
            return Ok(());
        };
        let indent = "  ".repeat(depth);
        write!(f, "{indent}{}", describe(node))?;
        write!(f, " [x{}]", node.parallelism)?;
        if !edge.is_empty() {
            write!(f, " -> {edge}")?;
        }
        if printed.insert(index, ()).is_some() {
            return writeln!(f, " (shown above)");
        }
        writeln!(f)?;
        if let NodeKind::Island(plan) = &node.kind {
            let mut text = String::new();
            write!(
                text,
                "{}",
                datafusion_physical_plan::displayable(&**plan).indent(false)
            )?;
            for line in text.lines() {
                writeln!(f, "{indent}  | {line}")?;
            }
        }
        for input in self.inputs(index) {
            self.print(
                f,
                input.from,
                depth + 1,
                printed,
                &input.partitioning.to_string(),
            )?;
        }
        Ok(())
    }
}

fn describe(node: &Node) -> String {
    match &node.kind {
        NodeKind::Scan(scan) => format!("Source {}: {}", node.name, scan.describe()),
        NodeKind::Island(_) => "Island (DataFusion)".to_owned(),
        NodeKind::Operator(factory) => factory.describe(),
        NodeKind::Lookup(factory) => factory.describe(),
        NodeKind::Sink(sink) => format!("Sink {}: {}", node.name, sink.describe()),
    }
}
