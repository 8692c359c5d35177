//! Weir runs SQL-defined data pipelines, batch or streaming, on one columnar engine.
//!
//! This crate is the program: it puts the planner (`weir_sql`), the connectors
//! (`weir_connectors`) and the runtime (`weir_engine`) together and gives them a command line.
//! [`embed`] runs scripts in-process, as the command line does. In reading order:

pub mod cli;
pub mod embed;
pub mod failure;
pub mod host;
pub mod memory;
pub mod progress;
pub mod quality;
pub mod rows;
pub mod signals;
pub mod state;
pub mod summary;
pub mod telemetry;
pub mod units;
pub mod views;
