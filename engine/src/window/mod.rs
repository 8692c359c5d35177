//! Windows over event time: which there are, and aggregation by them.
//!
//! A row is counted once, in its slice (see [`WindowSpec`]). Each open slice is a pane: its own hash
//! table over the keys alone and its own accumulators. A batch is split by slice first, so tables
//! stay as small as time makes them, and a pane that the watermark has passed is given away whole.
//! TUMBLE's panes are its windows; HOP and CUMULATE merge the panes of a window when it closes.
//!
//! The same operator runs in three phases: rows to results, rows to partial states before a
//! shuffle, and partial states to results after it. State is in memory, accounted in the job's
//! pool; panes go to temporary files when it is used up.

mod aggregate;
mod blocks;
mod by_key;
mod closing;
mod columns;
mod dense;
mod emit;
mod expand;
mod fingerprint;
mod given;
mod late;
pub(crate) mod length;
mod lent;
mod local;
mod memory;
mod operator;
mod pane;
mod panes;
mod part;
mod proctime;
mod program;
mod results;
mod session;
mod spec;
mod spill;
mod split;
mod state;
mod table;
pub(crate) mod times;
mod updates;

#[cfg(test)]
mod tests;

pub use aggregate::{
    AggregateSpec, Assign, OutputColumn, Phase, WindowAggregateFactory, needs_single_phase,
};
pub use emit::{Emit, Firing};
pub use expand::{ExpandFactory, expand};
pub use proctime::ProcTimeFactory;
pub use session::SessionExpandFactory;
pub use spec::{Span, WindowKind, WindowSpec};
