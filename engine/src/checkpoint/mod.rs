//! Checkpoints: what a job keeps so that it goes on after a crash as if nothing had happened.
//!
//! The store is a folder on any object store. Its heart is a log: one manifest per epoch, made by
//! conditional create, so that of two instances of a pipeline exactly one extends the log and the
//! other one learns that it is fenced. A manifest names the state files of every node and the
//! tokens that the sinks commit once it is durable.
//!
//! - [`protocol`] decides, without I/O: facts in, decisions out; its invariants have ids (`CK-1`).
//! - [`manifest`] and [`state_file`] are the formats: versioned, and damage is always detected.
//! - [`store`] reads and writes them. [`chain`] decides when chains of changes are merged.

pub mod chain;
pub mod manifest;
pub mod protocol;
pub mod saved_schema;
pub mod state_file;
pub mod store;

pub use manifest::{
    Chain, Manifest, ManifestKind, NodeState, SavedToken, SinkCommit, StateFile, TakenRequests,
    ViewInfo,
};
pub use store::{Claim, Collected, Listed, Published, Rejected, Store};
