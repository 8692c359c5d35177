//! The value of one aggregate in one group.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;

use super::call::{Call, Feed, Method, misfit};
use super::entries::Entries;
use crate::error::Result;

/// What [`Method`] says is kept.
#[derive(Debug)]
pub(super) struct Value {
    accumulator: Option<Box<dyn Accumulator>>,
    /// Boxed: most values have none, and there is a value per group and aggregate.
    pub(super) entries: Option<Box<Entries>>,
}

impl Value {
    pub(super) fn new(call: &Call) -> Result<Self> {
        Ok(Self {
            accumulator: match call.method {
                Method::Running | Method::Edges => Some(call.accumulator()?),
                Method::Entries(_) => None,
            },
            entries: call.new_entries().map(Box::new),
        })
    }

    /// Adds rows to the accumulator, or takes them from it.
    pub(super) fn feed(&mut self, columns: &[ArrayRef], adds: bool) -> Result<()> {
        let accumulator = self.accumulator.as_mut().ok_or_else(misfit)?;
        if adds {
            accumulator.update_batch(columns)?;
        } else {
            accumulator.retract_batch(columns)?;
        }
        Ok(())
    }

    /// The result as of now.
    pub(super) fn evaluate(&mut self, call: &Call) -> Result<ScalarValue> {
        if let Some(accumulator) = &mut self.accumulator {
            return Ok(accumulator.evaluate()?);
        }
        let mut fresh = call.accumulator()?;
        let (Some(entries), Method::Entries(feed)) = (&self.entries, call.method) else {
            return Err(misfit());
        };
        let first = if feed == Feed::First { 1 } else { usize::MAX };
        let rows = entries.iter().take(first);
        let mut columns = decode(call, rows.map(|(row, _)| &**row))?;
        if feed == Feed::Each && entries.iter().any(|(_, count)| count > 1) {
            let repeated = repeat(entries);
            for column in &mut columns {
                *column = take(column, &repeated, None)?;
            }
        }
        if columns.first().is_some_and(|column| !column.is_empty()) {
            fresh.update_batch(&columns)?;
        }
        Ok(fresh.evaluate()?)
    }

    /// The accumulator's state. To give it may use it up, so that it is put back.
    pub(super) fn save(&mut self, call: &Call) -> Result<Vec<ScalarValue>> {
        let accumulator = self.accumulator.as_mut().ok_or_else(misfit)?;
        let state = accumulator.state()?;
        let columns = state
            .iter()
            .map(|scalar| Ok(scalar.to_array()?))
            .collect::<Result<Vec<_>>>()?;
        self.load(call, &columns)?;
        Ok(state)
    }

    /// Sets the accumulator to a saved state.
    pub(super) fn load(&mut self, call: &Call, state: &[ArrayRef]) -> Result<()> {
        let mut fresh = call.accumulator()?;
        fresh.merge_batch(state)?;
        self.accumulator = Some(fresh);
        Ok(())
    }

    /// Computes the accumulator of DISTINCT from the rows that are there.
    pub(super) fn rebuild(&mut self, call: &Call) -> Result<()> {
        let (Method::Edges, Some(entries)) = (call.method, &self.entries) else {
            return Ok(());
        };
        let mut fresh = call.accumulator()?;
        // In their order, so that what depends on it is the same after each restart.
        let mut rows: Vec<&[u8]> = entries.iter().map(|(row, _)| &**row).collect();
        rows.sort_unstable();
        let columns = decode(call, rows.into_iter())?;
        fresh.update_batch(&columns)?;
        self.accumulator = Some(fresh);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.accumulator.as_ref().map_or(0, |a| a.size())
            + self.entries.as_ref().map_or(0, |e| e.bytes())
            + size_of::<Self>()
    }
}

fn decode<'a>(call: &Call, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let codec = call.entries.as_ref().ok_or_else(misfit)?;
    Ok(call.to_arguments(codec.decode(rows)?))
}

/// The place of each entry as often as it is there.
fn repeat(entries: &Entries) -> UInt32Array {
    let places = (0_u32..).zip(entries.iter());
    let places = places.flat_map(|(place, (_, count))| {
        std::iter::repeat_n(place, usize::try_from(count).unwrap_or(0))
    });
    UInt32Array::from_iter_values(places)
}
