//! Sessions: windows that are as long as rows of equal keys come less than a gap apart.
//!
//! What is kept of a row is a *payload* row: a partial state where rows are aggregated, else the row
//! itself. Rows of a batch are first brought together by key and time, so that rows of one session
//! make one partial state. The index knows the open sessions of each key, and which payload rows
//! are theirs; when a row joins two sessions, their payload rows only change hands. At the
//! watermark the payload rows of the sessions that are over are gathered, merged, and given. With
//! early results, or rows that may come late, that happens again whenever a session has changed, and
//! what was given of it, or of sessions that it has joined, is taken back.
//!
//! Rows that come together are judged together: a row that the rows of its batch connect to an open
//! session belongs to it.

mod by_key;
mod compaction;
mod expand;
mod given;
mod index;
mod operator;
mod payload;
mod state;
mod store;
mod updates;

use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;
pub use expand::SessionExpandFactory;

use self::by_key::ByKey;
use super::aggregate::AggregateSpec;
use super::length::Length;
use super::program::{Program, check_time};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::operator::Operator;

/// The longest gap: a session's end must fit in a time.
const GAP_MAX: i64 = 1 << 60;

/// Makes the operator of one subtask of an aggregation by sessions.
pub(super) fn aggregate(
    program: &Arc<Program>,
    time_column: usize,
    gap: i64,
    keys: &[Arc<dyn PhysicalExpr>],
    context: &TaskContext,
) -> Result<Box<dyn Operator>> {
    let sessions = ByKey {
        payload: payload::Payload::aggregate(program),
        time_column,
        gap,
        sources: Arc::clone(&program.sources),
        keys: keys.to_vec(),
    };
    sessions.create(context)
}

/// Checks the parts of an aggregation by sessions.
pub(super) fn check(spec: &AggregateSpec, time_column: usize, gap: i64) -> Result<()> {
    check_gap(gap)?;
    check_time(&spec.input, time_column)
}

fn check_gap(gap: i64) -> Result<()> {
    if gap > 0 && gap <= GAP_MAX {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        codes::WINDOW,
        "the gap of SESSION must be positive and less than 36,000 years",
    )
    .detail(format!("it is {}", Length(gap)))
    .hint("write an interval such as INTERVAL '30 minutes'"))
}
