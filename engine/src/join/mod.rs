//! Streaming joins: two inputs, partitioned by the hash of their keys, become pairs.
//!
//! A window or an interval of time bounds what must be kept: rows are kept in buckets of time, pairs
//! come out as soon as both rows are there, rows without a match and their buckets go when the
//! watermark has passed. A table that ends is read first and then only looked up in; one that finds
//! rows by key is asked for them. Joins without
//! a bound keep all rows and update their results.

mod account;
mod chunks;
mod lookup;
mod meet;
mod meeting;
mod on_disk;
mod pairs;
mod program;
mod replay;
mod results;
mod shape;
mod slot;
mod spec;
mod spill;
mod state;
mod table;
mod table_join;
mod timed;
mod timed_factory;
mod timing;
mod updating;

#[cfg(test)]
mod tests;

pub use lookup::{Answered, LookupJoin, LookupJoinFactory};
pub use spec::{JoinKind, JoinSpec};
pub use table_join::StreamTableJoinFactory;
pub use timed_factory::{IntervalJoinFactory, WindowJoinFactory};
pub use updating::UpdatingJoinFactory;
