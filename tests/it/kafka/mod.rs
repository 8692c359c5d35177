//! The connector `kafka` against a real broker: by itself, what a source reads and a sink writes,
//! through restarts, outages and faults; and in the whole program.

mod changes;
mod delivery;
mod deviations;
mod evolving;
mod live;
mod rig;
mod script;
mod sink;
mod source;
mod time;
mod whole;
