//! Whole jobs in a simulated world: one thread, one seed, virtual time, and stores whose every
//! operation can be the last one of a process.
//!
//! The graph, the runtime, the operators, the coordinator and the checkpoint store are the real
//! ones. Simulated are the scheduler and the clock ([`executor`]), the object stores ([`fault`]),
//! the source and the sink. `docs/reliability/simulation.md` has the commands and the counts.

mod data;
mod executor;
mod experiment;
mod fault;
mod pipeline;
mod sink;
mod source;
mod tests;
mod verify;
mod world;
