//! The dataflow runtime of Weir: graph, operators, time and state.
//!
//! Knows no SQL text, no connector and no HTTP. In reading order:

mod account;
pub mod anomaly;
pub mod arrival;
pub mod changelog;
pub mod checkpoint;
pub mod connector;
pub mod dead_letter;
pub mod deviation;
pub mod env;
pub mod error;
pub mod estimate;
pub mod exchange;
pub mod feed;
pub mod graph;
pub mod history;
pub mod island;
pub mod job;
pub mod join;
pub mod key_group;
pub mod late;
pub mod limits;
pub mod lookup;
pub mod message;
pub mod metrics;
pub mod operator;
pub mod options;
pub mod quarantine;
pub mod rules;
pub mod runtime;
pub mod scan;
#[cfg(test)]
mod sim;
pub mod sink;
pub mod source;
mod spill;
pub mod updating;
pub mod view;
mod watermark;
pub mod window;

pub use error::{Error, Result};
