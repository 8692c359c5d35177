//! The nodes of rules over keys: behind a view's or a sink's query, and behind the scan of a source.

use std::sync::Arc;

use weir_engine::error::Result;
use weir_engine::graph::{Edge, Graph, Node, NodeIndex, NodeKind, Partitioning};
use weir_engine::operator::OperatorFactory;
use weir_engine::rules::Step;
use weir_engine::rules::keyed::{ReferringFactory, Spread};

use super::referred::by_key;

/// What is to be known of a step beside the rules.
pub(super) struct Behind<'a> {
    /// What the ids of the nodes start with.
    pub(super) prefix: &'a str,
    /// The table whose rows are judged.
    pub(super) table: &'a str,
    /// It is a source.
    pub(super) of_source: bool,
    /// Subtasks, where rows are spread.
    pub(super) parallelism: u32,
    /// How all rows come to one subtask.
    pub(super) alone: Partitioning,
}

impl Behind<'_> {
    /// Adds the node of a stage behind another node.
    pub(super) fn add(self, graph: &mut Graph, from: NodeIndex, step: &Step) -> Result<NodeIndex> {
        let id: Arc<str> = format!("{}/{}", self.prefix, step.name()).into();
        let keys = step.refers().and_then(|(stage, refers)| {
            let keys = graph.keys_of(&refers.reference)?;
            Some((Arc::clone(stage), keys.clone()))
        });
        let before = graph.node(from)?.parallelism;
        let (parallelism, partitioning) = match (step.spread(), &keys) {
            (_, Some((stage, _))) => (self.parallelism, Partitioning::Hash(stage.key().to_vec())),
            (Spread::Any, None) => (before, Partitioning::Forward),
            (Spread::One, None) if before == 1 => (1, Partitioning::Forward),
            (Spread::One, None) => (1, self.alone),
            (Spread::By(key), None) => (self.parallelism, Partitioning::Hash(key)),
        };
        let factory: Arc<dyn OperatorFactory> = match &keys {
            Some((stage, keys)) => {
                let stage = Arc::clone(stage);
                Arc::new(ReferringFactory::new(
                    self.table,
                    stage,
                    self.of_source,
                    keys,
                ))
            }
            None => step.factory(self.table, self.of_source),
        };
        let to = graph.add(Node {
            id,
            name: self.table.to_owned(),
            schema: factory.schema(),
            kind: NodeKind::Operator(factory),
            parallelism,
        })?;
        graph.connect(Edge {
            from,
            to,
            input: 0,
            partitioning,
        })?;
        if let Some((_, keys)) = keys {
            let partitioning = by_key(&graph.node(keys.at)?.schema);
            graph.connect(Edge {
                from: keys.at,
                to,
                input: 1,
                partitioning,
            })?;
        }
        Ok(to)
    }
}
