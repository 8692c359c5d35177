//! The key of a sink: by it changes replace rows.
//!
//! A sink that is told no key gets that of the result. A key that the script chooses may gather
//! changes that have taken different ways, in any order, so that a deletion could come after the
//! row that replaces it: then they are put in order first, by an operator that keeps one row per key.

use std::sync::Arc;

use weir_engine::error::Result;
use weir_engine::options::{GivenOptions, OptionValue};
use weir_engine::updating::rank::{RankFactory, RankSpec};

use super::Lowering;
use super::flow::Flow;
use super::stateless::node_column;
use crate::catalog::create_sink::SinkTable;

/// The option with the names of the key's columns.
const KEY: &str = "key";

/// What a sink is told, and the columns of the key that its script chooses.
pub(super) fn key_of(sink: &SinkTable, flow: &Flow) -> (GivenOptions, Option<Vec<usize>>) {
    let mut options = sink.options.clone();
    let specs = sink.connector.sink_options().unwrap_or_default();
    let knows_keys = specs
        .iter()
        .any(|group| group.iter().any(|spec| spec.name == KEY));
    if !flow.is_changelog() || !knows_keys {
        return (options, None);
    }
    // Debezium's messages hold whole rows: there the key only says where they go.
    let whole = options
        .get("format")
        .is_some_and(|f| f.text.starts_with("debezium"));
    if let Some(given) = options.get(KEY) {
        if whole {
            return (options, None);
        }
        let names = given
            .text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let columns = names.map(|name| flow.schema.index_of(name).ok());
        return (options.clone(), columns.collect());
    }
    let names = flow
        .key
        .iter()
        .flatten()
        .map(|at| flow.schema.field(*at).name());
    let names: Vec<&str> = names.map(String::as_str).collect();
    if !names.is_empty() && names.iter().all(|name| !name.contains(',')) {
        let value = OptionValue {
            text: names.join(", "),
            place: Some(sink.place),
        };
        options.insert(KEY.to_owned(), value);
    }
    (options, None)
}

impl Lowering<'_> {
    /// Keeps one row per key, so that its changes come in order.
    pub(super) fn ordered_by(&mut self, flow: Flow, key: &[usize]) -> Result<Flow> {
        let known = flow.key.as_ref();
        if key.is_empty() || known.is_some_and(|known| known.iter().all(|c| key.contains(c))) {
            return Ok(flow);
        }
        let partition: Vec<_> = key.iter().map(|at| node_column(&flow, *at)).collect();
        let factory = RankFactory::try_new(RankSpec {
            input: Arc::clone(&flow.schema),
            partition: partition.clone(),
            order: Vec::new(),
            rows: 1,
            rank: None,
            ttl: self.target.planner.state_ttl(),
        })?;
        let flow = self.keyed(flow, partition, "upsert", Arc::new(factory))?;
        Ok(Flow {
            key: Some(key.to_vec()),
            ..flow
        })
    }
}
