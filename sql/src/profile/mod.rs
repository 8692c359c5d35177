//! Profiles: what a column holds, in one pass over its values and in bounded memory.
//!
//! A [`Profile`] is made of sketches that merge, so that it is the same aggregate in batch and in streams, over
//! tables and windows: `profile(column)`. `PROFILE TABLE` keeps the profiles of a table and says how they
//! have drifted since the last ones; `SUGGEST CONSTRAINTS` makes rules of them.

mod aggregate;
mod column;
mod distribution;
mod drift;
mod numbers;
mod pattern;
mod suggest;
mod table;
mod values;

pub(crate) use aggregate::ProfileOf;
pub(crate) use column::Profile;
pub(crate) use drift::{Drift, LEAST, js, psi};
pub(crate) use suggest::{Candidate, suggestions};
pub(crate) use table::{KEPT, Profiled, kept_schema, row_of};
