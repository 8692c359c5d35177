//! Window arithmetic, expansion and aggregation against oracles that share no code with them.
//! Every random test prints its seed; `SEED=n` replays one.

mod bounds;
mod functions;
mod harness;
mod late;
mod results;
mod spec;
mod state;
mod types;
