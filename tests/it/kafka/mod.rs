//! The connector `kafka` against a real broker, without the rest of the program: what a source
//! reads and a sink writes, through restarts, outages and faults.

mod rig;
mod sink;
mod source;
mod whole;
