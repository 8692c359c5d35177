//! The proof that crashes lose nothing and double nothing: the real program is killed, frozen,
//! robbed of its disk and given damaged files, and readers that are not Weir hold what they see
//! against an answer in closed form.
//!
//! `bash tests/run` does a few of each. `CHAOS_KILLS`, `CHAOS_ZOMBIES` and `CHAOS_SEED` ask for
//! more: see `docs/reliability/README.md`.

mod anomaly;
mod checker;
mod damage;
mod disk;
mod feedback;
mod gates;
mod history;
mod join;
mod kills;
mod log;
mod relay;
mod rules;
mod stateless;
mod storms;
mod topic;

mod window;
mod zombies;

// The kill loop and its judge, for the tests of connectors that are not always there.
pub(crate) use checker::{Checker, Output};
pub(crate) use kills::{Kills, Round};
pub(crate) use log::{Durable, Log};
pub(crate) use stateless::{prefix, rows_for, source};

/// Pipelines that `CHAOS_KILLS` is spread over.
const PIPELINES: u32 = 4;
/// Partitions of every source.
const PARTS: usize = 4;
