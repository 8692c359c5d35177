//! Which rows of a batch belong to which group: brings them together.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;

use crate::error::Result;

/// A row that no group takes.
pub(super) const NONE: u32 = u32::MAX;

/// Rows of one group that come, or that are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The group, by its place among those of the batch.
    pub(super) group: usize,
    /// Whether the rows come.
    pub(super) adds: bool,
    /// The first row in the new order.
    pub(super) offset: usize,
    /// How many rows.
    pub(super) rows: usize,
}

impl Share {
    /// The same in parts of so many rows at most.
    pub(super) fn cut(self, rows_max: usize) -> impl Iterator<Item = Self> {
        let starts = (0..self.rows).step_by(rows_max);
        starts.map(move |start| Self {
            offset: self.offset + start,
            rows: rows_max.min(self.rows - start),
            ..self
        })
    }
}

/// Shares in the order of groups; in each, rows come before others are taken back.
#[derive(Debug)]
pub(super) struct Shares {
    /// The new order; `None` when it is that of the batch.
    order: Option<UInt32Array>,
    shares: Vec<Share>,
}

impl Shares {
    /// Sorts the rows that pass the filter by their group.
    pub(super) fn new(
        of: &[u32],
        adds: &[bool],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Self {
        let passes =
            |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        // Each group has two buckets: what comes, what is taken back.
        let buckets: Vec<usize> = of
            .iter()
            .zip(adds)
            .enumerate()
            .map(|(row, (group, adds))| {
                if *group == NONE || !passes(row) {
                    usize::MAX
                } else {
                    *group as usize * 2 + usize::from(!*adds)
                }
            })
            .collect();
        let mut ends = vec![0_usize; groups * 2];
        for bucket in &buckets {
            if let Some(count) = ends.get_mut(*bucket) {
                *count += 1;
            }
        }
        let mut shares = Vec::new();
        let mut offset = 0;
        for (bucket, end) in ends.iter_mut().enumerate() {
            let rows = std::mem::replace(end, offset);
            if rows > 0 {
                shares.push(Share {
                    group: bucket / 2,
                    adds: bucket % 2 == 0,
                    offset,
                    rows,
                });
            }
            offset += rows;
        }
        if shares.len() == 1 && offset == of.len() {
            return Self {
                order: None,
                shares,
            };
        }
        let mut order = vec![0_u32; offset];
        for (row, bucket) in (0_u32..).zip(&buckets) {
            if let Some(next) = ends.get_mut(*bucket) {
                if let Some(place) = order.get_mut(*next) {
                    *place = row;
                }
                *next += 1;
            }
        }
        Self {
            order: Some(UInt32Array::from(order)),
            shares,
        }
    }

    /// The shares, one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = Share> {
        self.shares.iter().copied()
    }

    /// Brings a column in the order of the shares.
    pub(super) fn sort(&self, column: &ArrayRef) -> Result<ArrayRef> {
        Ok(match &self.order {
            Some(order) => take(column, order, None)?,
            None => ArrayRef::clone(column),
        })
    }

    /// The rows of the batch that are in a share.
    pub(super) fn rows(&self, share: Share) -> impl Iterator<Item = usize> {
        let places = share.offset..share.offset + share.rows;
        places.map(|place| self.row(place))
    }

    /// The row of the batch at a place of the new order.
    fn row(&self, place: usize) -> usize {
        match &self.order {
            Some(order) => order.values().get(place).map_or(place, |row| *row as usize),
            None => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_group_meet_and_come_before_they_go() {
        let of = [1, 0, NONE, 1, 0, 1];
        let adds = [false, true, true, true, true, true];
        let filter = BooleanArray::from(vec![
            Some(true),
            Some(true),
            Some(true),
            Some(true),
            None,
            Some(true),
        ]);
        let shares = Shares::new(&of, &adds, Some(&filter), 2);
        let found: Vec<_> = shares
            .iter()
            .map(|s| {
                let rows: Vec<_> = shares.rows(s).collect();
                (s.group, s.adds, rows)
            })
            .collect();
        assert_eq!(
            found,
            [
                (0, true, vec![1]),
                (1, true, vec![3, 5]),
                (1, false, vec![0])
            ]
        );
    }
}
