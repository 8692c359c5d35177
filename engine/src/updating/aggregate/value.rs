//! The value of one aggregate in one group.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;

use super::call::{Call, Feed, Method, misfit};
use super::entries::Entries;
use crate::error::Result;

/// What [`Method`] says is kept.
#[derive(Debug)]
pub(super) struct Value {
    running: Running,
    /// Boxed: most values have none, and there is a value per group and aggregate.
    pub(super) entries: Option<Box<Entries>>,
}

/// What a result is told from without looking at rows.
#[derive(Debug)]
pub(super) enum Running {
    /// Nothing: it is computed from the entries.
    None,
    /// COUNT.
    Count(i64),
    /// Any other aggregate.
    Accumulator(Box<dyn Accumulator>),
}

impl Running {
    fn new(call: &Call) -> Result<Self> {
        Ok(match call.method {
            Method::Running | Method::Edges if call.counts => Self::Count(0),
            Method::Running | Method::Edges => Self::Accumulator(call.accumulator()?),
            Method::Entries(_) => Self::None,
        })
    }

    fn feed(&mut self, columns: &[ArrayRef], adds: bool) -> Result<()> {
        match self {
            Self::None => return Err(misfit()),
            Self::Count(count) => {
                let column = columns.first().ok_or_else(misfit)?;
                let rows = column.len() - column.logical_null_count();
                *count += signed(rows, adds);
            }
            Self::Accumulator(accumulator) if adds => accumulator.update_batch(columns)?,
            Self::Accumulator(accumulator) => accumulator.retract_batch(columns)?,
        }
        Ok(())
    }
}

impl Value {
    /// Makes an empty one, with entries if it holds them itself.
    pub(super) fn new(call: &Call, holds: bool) -> Result<Self> {
        let entries = call.new_entries().filter(|_| holds);
        Ok(Self {
            running: Running::new(call)?,
            entries: entries.map(Box::new),
        })
    }

    /// Adds rows to the accumulator, or takes them from it.
    pub(super) fn feed(&mut self, columns: &[ArrayRef], adds: bool) -> Result<()> {
        self.running.feed(columns, adds)
    }

    /// Counts rows whose argument is not null.
    pub(super) fn count(&mut self, rows: usize, adds: bool) {
        if let Running::Count(count) = &mut self.running {
            *count += signed(rows, adds);
        }
    }

    /// Adds some rows of a batch to the accumulator, or takes them from it.
    pub(super) fn feed_rows(
        &mut self,
        call: &Call,
        args: &[ArrayRef],
        rows: impl Iterator<Item = u32>,
        adds: bool,
    ) -> Result<()> {
        if call.counts {
            let nulls = args.first().ok_or_else(misfit)?.nulls();
            let is_valid = |row: &u32| nulls.is_none_or(|nulls| nulls.is_valid(*row as usize));
            self.count(rows.filter(is_valid).count(), adds);
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(rows);
        if rows.is_empty() {
            return Ok(());
        }
        let args = args
            .iter()
            .map(|column| Ok(take(column, &rows, None)?))
            .collect::<Result<Vec<_>>>()?;
        self.feed(&args, adds)
    }

    /// The result as of now, if it is a count.
    pub(super) fn counted(&self) -> Option<i64> {
        match self.running {
            Running::Count(count) => Some(count),
            _ => None,
        }
    }

    /// The result as of now.
    pub(super) fn evaluate(&mut self, call: &Call) -> Result<ScalarValue> {
        match &mut self.running {
            Running::Count(count) => return Ok(ScalarValue::from(*count)),
            Running::Accumulator(accumulator) => return Ok(accumulator.evaluate()?),
            Running::None => {}
        }
        let mut fresh = call.accumulator()?;
        let (Some(entries), Method::Entries(feed)) = (&self.entries, call.method) else {
            return Err(misfit());
        };
        let first = if feed == Feed::First { 1 } else { usize::MAX };
        let rows: Vec<_> = entries.iter().take(first).map(|(row, _)| row).collect();
        let mut columns = decode(call, rows.iter().map(|row| &**row))?;
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
        let accumulator = match &mut self.running {
            Running::None => return Err(misfit()),
            Running::Count(count) => return Ok(vec![ScalarValue::from(*count)]),
            Running::Accumulator(accumulator) => accumulator,
        };
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
        self.running = if call.counts {
            let count = state
                .first()
                .and_then(|c| c.as_primitive_opt::<Int64Type>());
            Running::Count(
                count
                    .and_then(|c| c.iter().next())
                    .flatten()
                    .ok_or_else(misfit)?,
            )
        } else {
            let mut fresh = call.accumulator()?;
            fresh.merge_batch(state)?;
            Running::Accumulator(fresh)
        };
        Ok(())
    }

    /// Computes an accumulator of DISTINCT from the rows that are here and whose numbers fit.
    pub(super) fn seen(&self, call: &Call, fits: impl Fn(i64) -> bool) -> Result<Running> {
        let entries = self.entries.as_ref().ok_or_else(misfit)?;
        let rows = entries.iter().filter(|(_, number)| fits(*number));
        // In their order, so that what depends on it is the same after each restart.
        let mut rows: Vec<_> = rows.map(|(row, _)| row).collect();
        rows.sort_unstable();
        let mut fresh = Running::new(call)?;
        fresh.feed(&decode(call, rows.iter().map(|row| &**row))?, true)?;
        Ok(fresh)
    }

    /// Takes over what was computed.
    pub(super) fn take(&mut self, running: Running) {
        self.running = running;
    }

    pub(super) fn bytes(&self) -> usize {
        let running = match &self.running {
            Running::None | Running::Count(_) => 0,
            Running::Accumulator(accumulator) => accumulator.size(),
        };
        running + self.entries.as_ref().map_or(0, |e| e.bytes()) + size_of::<Self>()
    }
}

/// Rows that come, or fewer than none where they are taken back.
fn signed(rows: usize, adds: bool) -> i64 {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    if adds { rows } else { -rows }
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
