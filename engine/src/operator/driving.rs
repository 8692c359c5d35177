//! Calls operators in tests as the runtime does: until they have nothing more to give.

use arrow::record_batch::RecordBatch;

use super::{Extent, Operator, Output};
use crate::error::Result;
use crate::message::EventTime;

/// Takes what could not be given at once.
pub(crate) fn drain(operator: &mut dyn Operator, out: &mut Output) -> Result<()> {
    while operator.resume(out)? {}
    Ok(())
}

/// Gives rows.
pub(crate) fn process(
    operator: &mut dyn Operator,
    input: usize,
    batch: RecordBatch,
    out: &mut Output,
) -> Result<()> {
    operator.process(input, batch, out)?;
    drain(operator, out)
}

/// Brings a barrier: the state goes to the chain of snapshots before it.
pub(crate) fn snapshot(
    operator: &mut dyn Operator,
    extent: Extent,
    chain: &mut Vec<RecordBatch>,
    out: &mut Output,
) -> Result<()> {
    operator.before_barrier()?;
    drain(operator, out)?;
    let extent = if operator.renews() {
        Extent::All
    } else {
        extent
    };
    let state = operator.snapshot(extent, out)?;
    if extent == Extent::All {
        chain.clear();
    }
    for batch in state {
        chain.push(batch?);
    }
    Ok(())
}

/// Ends all inputs.
pub(crate) fn end(operator: &mut dyn Operator, out: &mut Output) -> Result<()> {
    operator.watermark(EventTime::MAX, out)?;
    operator.end(out)?;
    drain(operator, out)
}
