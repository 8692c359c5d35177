//! Updating operators: results that change as rows come, given as a [`changelog`](crate::changelog).
//!
//! [`aggregate`] groups without a window, [`distinct`] lets the first row of each key pass,
//! [`rank`] keeps the first n rows per partition, and [`fold`] turns a changelog into the rows that
//! it stands for. All of them take append-only streams and, but for [`distinct`], changelogs.
//!
//! State is accounted in the job's pool; what does not fit in memory is put on disk by key, by
//! `crate::spill`. A snapshot gives what changed since the one before, in columns: never the engine's
//! own encoding of rows, which may change with a library.

pub mod aggregate;
pub(crate) mod codec;
pub mod distinct;
pub mod fold;
#[cfg(test)]
pub(crate) mod harness;
pub(crate) mod memory;
pub(crate) mod places;
pub mod rank;
pub(crate) mod short_row;
pub(crate) mod state;

pub(crate) use codec::{RowBytes, RowCodec};
pub(crate) use memory::Account;
pub(crate) use state::Format;

/// Parts of a time to live after which expired state is looked for: an entry may outlive it by this
/// share, and the search over all entries costs little.
pub(crate) const SWEEPS_PER_TTL: i64 = 16;
