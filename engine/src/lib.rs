//! The dataflow runtime of Weir: graph, operators, time and state.
//!
//! Knows no SQL text, no connector and no HTTP. In reading order:

pub mod message;
pub mod error;
pub mod limits;
pub mod env;
pub mod options;
pub mod dead_letter;
pub mod metrics;
pub mod job;
pub mod source;
pub mod sink;
pub mod connector;
pub mod scan;
mod watermark;
pub mod feed;
pub mod reading;
pub mod operator;
pub mod window;
pub mod graph;
pub mod exchange;
pub mod island;
pub mod runtime;

pub use error::{Error, Result};
