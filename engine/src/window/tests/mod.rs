//! Window arithmetic, expansion and aggregation against oracles that share no code with them.
//! Every random test prints its seed; `SEED=n` replays one.

mod bounds;
mod functions;
mod harness;
mod key_types;
mod late;
mod rescale;
mod results;
mod rows;
mod session_updates;
mod sessions;
mod spec;
mod spill;
mod state;
mod times;
mod updates;
