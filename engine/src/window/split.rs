//! Splits a batch by pane, in time that grows with its rows and not with its panes.
//!
//! Most batches lie in one pane, and are passed on as they are. Rows in time order make contiguous
//! ranges, which cost nothing either. Only rows that go back and forth between panes are reordered,
//! once for the whole batch.

use std::collections::HashMap;
use std::hash::Hash;

use arrow::array::{Array, PrimitiveArray, UInt32Array};
use arrow::compute::{max, min};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::aggregate::Assign;
use super::spec::WindowSpec;
use super::times;
use crate::error::{Error, Result};

/// Names a pane: a slice or a window. In order of its end, which is the order of closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PaneId {
    /// The first microsecond after it; `i64::MAX` when it is open to the end of the input.
    pub(super) end: i64,
    /// Its first microsecond; `i64::MIN` when it is not known.
    pub(super) start: i64,
}

/// The rows of one pane in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) pane: PaneId,
    /// The first row, after reordering.
    pub(super) offset: usize,
    pub(super) rows: usize,
}

/// A batch's rows by pane.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) shares: Vec<Share>,
    /// The order that brings the rows of a pane together, if they are not.
    pub(super) order: Option<UInt32Array>,
    /// Rows without a time: they are in no pane.
    pub(super) dropped: usize,
}

/// Slices of a batch that are found by their number and not by hashing.
const DENSE_SLICES_MAX: i64 = 1 << 16;
/// A row that is in no pane.
const NONE: u32 = u32::MAX;

/// Splits a batch.
pub(super) fn split(batch: &RecordBatch, assign: Assign) -> Result<Split> {
    match assign {
        Assign::Time { column, spec } => {
            Ok(by_time(&times::micros(column_of(batch, column)?)?, &spec))
        }
        Assign::Session { .. } => Err(Error::internal("sessions are not split into panes")),
        Assign::Columns { start, end } => {
            let get = |column: Option<usize>| {
                column
                    .map(|c| times::micros(column_of(batch, c)?))
                    .transpose()
            };
            Ok(by_window(
                batch.num_rows(),
                get(start)?.as_ref(),
                get(end)?.as_ref(),
            ))
        }
    }
}

fn column_of(batch: &RecordBatch, column: usize) -> Result<&dyn Array> {
    let column = batch.columns().get(column);
    column
        .map(|c| &**c)
        .ok_or_else(|| Error::internal("a batch does not have its window column"))
}

fn by_time(times: &PrimitiveArray<Int64Type>, spec: &WindowSpec) -> Split {
    let (Some(first), Some(last)) = (min(times), max(times)) else {
        return Split {
            shares: Vec::new(),
            order: None,
            dropped: times.len(),
        };
    };
    let in_range = WindowSpec::accepts(first) && WindowSpec::accepts(last);
    let id = |time: i64| {
        let slice = spec.slice(time);
        PaneId {
            end: slice.end,
            start: slice.start,
        }
    };
    if in_range && times.null_count() == 0 {
        let (low, high) = (id(first), id(last));
        if low == high {
            return whole(low, times.len());
        }
        if low.end == high.start {
            return in_two(times.values(), low, high);
        }
    }
    let mut shares = Shares::new(times.len());
    let base = spec.slice_number(first);
    let numbers = spec.slice_number(last).saturating_sub(base);
    let mut dense = if in_range && numbers < DENSE_SLICES_MAX {
        vec![NONE; usize::try_from(numbers + 1).unwrap_or(0)]
    } else {
        Vec::new()
    };
    let mut sparse = HashMap::new();
    // Rows near each other are near in time: the last slice is tried before any division.
    let (mut current, mut share) = (
        PaneId {
            end: i64::MIN,
            start: i64::MAX,
        },
        NONE,
    );
    for (row, time) in times.values().iter().enumerate() {
        if times.is_null(row) || !WindowSpec::accepts(*time) {
            shares.push(NONE);
            continue;
        }
        if *time < current.start || *time >= current.end {
            let number = spec.slice_number(*time);
            let slot = usize::try_from(number.wrapping_sub(base)).unwrap_or(usize::MAX);
            let found = match dense.get_mut(slot) {
                Some(found) => found,
                None => sparse.entry(number).or_insert(NONE),
            };
            if *found == NONE {
                *found = shares.add(id(*time));
            }
            share = *found;
            current = shares.pane(share);
        }
        shares.push(share);
    }
    shares.finish()
}

/// Splits rows that lie in two neighbouring panes. Rows at a boundary go back and forth between
/// them as chance has it, so the loop writes to both sides and branches on neither.
fn in_two(times: &[i64], low: PaneId, high: PaneId) -> Split {
    let rows = times.len();
    let (mut before, mut after) = (vec![0_u32; rows], vec![0_u32; rows]);
    let (mut early, mut late) = (0, 0);
    for (row, time) in (0_u32..).zip(times) {
        if let (Some(before), Some(after)) = (before.get_mut(early), after.get_mut(late)) {
            (*before, *after) = (row, row);
        }
        let is_early = usize::from(*time < high.start);
        early += is_early;
        late += 1 - is_early;
    }
    let sorted = times.iter().take(early).all(|time| *time < high.start);
    before.truncate(early);
    before.extend_from_slice(after.get(..late).unwrap_or_default());
    let share = |pane, offset, rows| Share { pane, offset, rows };
    Split {
        shares: vec![share(low, 0, early), share(high, early, late)],
        order: (!sorted).then(|| UInt32Array::from(before)),
        dropped: 0,
    }
}

fn by_window(
    rows: usize,
    starts: Option<&PrimitiveArray<Int64Type>>,
    ends: Option<&PrimitiveArray<Int64Type>>,
) -> Split {
    let same = |column: Option<&PrimitiveArray<Int64Type>>| {
        column.is_none_or(|c| {
            let first = c.values().first();
            c.null_count() == 0 && c.values().iter().all(|v| Some(v) == first)
        })
    };
    let value = |column: Option<&PrimitiveArray<Int64Type>>, row: usize, unknown: i64| match column
    {
        Some(column) => column.is_valid(row).then(|| column.value(row)),
        None => Some(unknown),
    };
    let id = |row: usize| {
        Some(PaneId {
            end: value(ends, row, i64::MAX)?,
            start: value(starts, row, i64::MIN)?,
        })
    };
    if rows == 0 {
        return Split {
            shares: Vec::new(),
            order: None,
            dropped: 0,
        };
    }
    if same(starts)
        && same(ends)
        && let Some(id) = id(0)
    {
        return whole(id, rows);
    }
    by_id((0..rows).map(id), |id| *id)
}

/// Splits rows by any name of panes.
pub(super) fn by_id<K: Hash + Eq + Copy>(
    rows: impl ExactSizeIterator<Item = Option<K>>,
    pane: impl Fn(&K) -> PaneId,
) -> Split {
    let mut shares = Shares::new(rows.len());
    let mut known: HashMap<K, u32> = HashMap::new();
    let (mut current, mut share) = (None, NONE);
    for id in rows {
        if let Some(key) = id {
            if current != id {
                share = *known.entry(key).or_insert_with(|| shares.add(pane(&key)));
                current = id;
            }
            shares.push(share);
        } else {
            shares.push(NONE);
        }
    }
    shares.finish()
}

fn whole(pane: PaneId, rows: usize) -> Split {
    Split {
        shares: vec![Share {
            pane,
            offset: 0,
            rows,
        }],
        order: None,
        dropped: 0,
    }
}

/// Collects which row is in which share.
struct Shares {
    of_row: Vec<u32>,
    shares: Vec<Share>,
    last: u32,
    contiguous: bool,
    dropped: usize,
}

impl Shares {
    fn new(rows: usize) -> Self {
        Self {
            of_row: Vec::with_capacity(rows),
            shares: Vec::new(),
            last: NONE,
            contiguous: true,
            dropped: 0,
        }
    }

    /// A pane that is seen for the first time.
    fn add(&mut self, pane: PaneId) -> u32 {
        self.shares.push(Share {
            pane,
            offset: self.of_row.len(),
            rows: 0,
        });
        u32::try_from(self.shares.len() - 1).unwrap_or(NONE)
    }

    fn pane(&self, share: u32) -> PaneId {
        self.shares.get(share as usize).map_or(
            PaneId {
                end: i64::MIN,
                start: i64::MAX,
            },
            |s| s.pane,
        )
    }

    fn push(&mut self, share: u32) {
        match self.shares.get_mut(share as usize) {
            Some(found) => {
                // A share that is left and found again is no range.
                self.contiguous &= share == self.last || found.rows == 0;
                found.rows += 1;
            }
            None => self.dropped += 1,
        }
        self.last = share;
        self.of_row.push(share);
    }

    fn finish(mut self) -> Split {
        if self.contiguous {
            return Split {
                shares: self.shares,
                order: None,
                dropped: self.dropped,
            };
        }
        let mut next = 0;
        for share in &mut self.shares {
            share.offset = next;
            next += share.rows;
        }
        let mut place: Vec<usize> = self.shares.iter().map(|s| s.offset).collect();
        let mut order = vec![0_u32; next];
        for (row, share) in (0_u32..).zip(&self.of_row) {
            if let Some(place) = place.get_mut(*share as usize) {
                if let Some(slot) = order.get_mut(*place) {
                    *slot = row;
                }
                *place += 1;
            }
        }
        Split {
            shares: self.shares,
            order: Some(order.into()),
            dropped: self.dropped,
        }
    }
}
