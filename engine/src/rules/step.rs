//! The steps behind the rules over single rows of a table, in their order: first what rows wait for, then the
//! rules over keys. A row that one step keeps back is not asked by the next.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::gate::{GateFactory, GateStage};
use super::judge::Judge;
use super::keyed::{KeyedFactory, Refers, Spread, Stage};
use crate::operator::OperatorFactory;

/// One of them.
#[derive(Debug, Clone)]
pub enum Step {
    /// Rules over many rows that rows wait for.
    Gate(Arc<GateStage>),
    /// Rules over keys.
    Keyed(Arc<Stage>),
}

impl Step {
    /// The steps of a table's rules. `lateness` is how far the watermark is behind the rows, in
    /// microseconds, where that is known.
    pub fn all(judge: &Arc<Judge>, schema: &SchemaRef, lateness: Option<i64>) -> Vec<Self> {
        let keyed = Stage::all(judge, schema);
        let gates = GateStage::all(judge, schema, !keyed.is_empty(), lateness);
        let gates = gates.into_iter().map(|stage| Self::Gate(Arc::new(stage)));
        gates.chain(keyed.into_iter().map(Self::Keyed)).collect()
    }

    /// How rows come to its subtasks.
    pub fn spread(&self) -> Spread {
        match self {
            Self::Gate(stage) => stage.exchange().map_or(Spread::One, Spread::By),
            Self::Keyed(stage) => stage.spread(),
        }
    }

    /// Rules that rows wait for because of another table, with what they are told apart by.
    pub fn refers(&self) -> Option<(&Arc<Stage>, &Refers)> {
        match self {
            Self::Gate(_) => None,
            Self::Keyed(stage) => Some((stage, stage.refers()?)),
        }
    }

    /// The rules that partitions may ask without an exchange, if they share what these remember.
    pub(super) fn shared(&self) -> Option<&Arc<Stage>> {
        match self {
            Self::Keyed(stage) if stage.can_be_shared() => Some(stage),
            _ => None,
        }
    }

    /// The rows that come and go.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Gate(stage) => stage.schema(),
            Self::Keyed(stage) => stage.schema(),
        }
    }

    /// Its part of the name of a node.
    pub fn name(&self) -> String {
        match self {
            Self::Gate(stage) => format!("gate({})", stage.name()),
            Self::Keyed(stage) => format!("rules({})", stage.name()),
        }
    }

    /// Makes its operators, for the rows of a table; `of_source` if it is a source.
    pub fn factory(&self, table: &str, of_source: bool) -> Arc<dyn OperatorFactory> {
        match self {
            Self::Gate(stage) => Arc::new(GateFactory::new(table, Arc::clone(stage), of_source)),
            Self::Keyed(stage) => Arc::new(KeyedFactory::new(table, Arc::clone(stage), of_source)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(stage) => stage.fmt(f),
            Self::Keyed(stage) => stage.fmt(f),
        }
    }
}
