//! Weir SQL: text in, a dataflow graph out.
//!
//! `parse` turns a script into statements ([`ast`]), with the variables of [`variables`] put in.
//! A [`session`] executes them: it keeps the catalog and the settings, plans queries with
//! DataFusion and lowers what they insert to one graph of the engine.

pub mod ast;
pub mod parse;
pub mod variables;
pub mod settings;
mod plan;
mod catalog;
mod lower;
mod explain;
pub mod session;
