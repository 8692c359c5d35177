//! Rules that look at a row and at what came before it under the same key: uniqueness, dependency,
//! transitions, order, gaps, overlap, the previous row, values far from those before.
//!
//! The rules of a table that have one key are a [`Stage`]: an exchange brings rows with equal keys
//! together, and one operator asks them in the order in which they arrive, or in that of their event
//! time. Stages come one after the other, behind the rules over single rows: a row that one of them
//! keeps back is not asked by the next.
//!
//! What is remembered is by a number of 128 bits that stands for the key ([`fingerprint`]); it is in
//! checkpoints, and on disk where memory is short. Rules of a stage don't hear of one another: what one
//! remembers doesn't depend on what another one keeps back.

mod ask;
mod dense;
mod exec;
pub(super) mod fingerprint;
mod key_set;
mod last;
mod latest;
mod memory;
mod operator;
mod ordered;
mod outliers;
mod refers;
mod rows;
mod seen;
mod shared;
mod spans;
mod stage;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod waiting;
mod within;

pub use ask::{Ask, Far, Keyed, Refers, UniqueLast};
pub use exec::StageExec;
pub use operator::KeyedFactory;
pub use refers::ReferringFactory;
pub use stage::{Spread, Stage};
