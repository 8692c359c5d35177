//! Weir SQL: text in, a dataflow graph out.
//!
//! `parse` turns a script into statements ([`ast`]), with the variables of [`variables`] put in.
//! A [`session`] executes them: it keeps the catalog and the settings, plans queries with
//! DataFusion and lowers what they insert to one graph of the engine.

mod anomaly;
pub mod ast;
mod catalog;
mod explain;
mod functions;
mod lower;
pub mod parse;
mod plan;
mod profile;
mod rules;
pub mod session;
pub mod settings;
mod statistics;
mod stored;
mod system;
pub mod variables;
mod verdicts;
