//! The rows of one partition in their order, each with how often it is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::updating::RowBytes;

/// Rows of a partition that are kept side by side; more are a tree.
const FEW_MAX: usize = 32;

/// A multiset of encoded rows.
#[derive(Debug)]
pub(super) enum Rows {
    /// One row, once: what most partitions have where the first row is wanted.
    One(RowBytes),
    Few(Vec<(RowBytes, i64)>),
    Many(BTreeMap<RowBytes, i64>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Rows {
    /// Adds a row some times; gives whether it is new.
    pub(super) fn add(&mut self, row: &[u8], times: i64) -> bool {
        match self {
            Self::Few(rows) if rows.is_empty() && times == 1 => {
                *self = Self::One(row.into());
                true
            }
            Self::One(_) => {
                self.spread();
                self.add(row, times)
            }
            Self::Few(rows) => match place(rows, row) {
                Ok(at) => {
                    if let Some((_, count)) = rows.get_mut(at) {
                        *count += times;
                    }
                    false
                }
                Err(at) => {
                    rows.insert(at, (row.into(), times));
                    if rows.len() > FEW_MAX {
                        *self = Self::Many(std::mem::take(rows).into_iter().collect());
                    }
                    true
                }
            },
            Self::Many(rows) => match rows.get_mut(row) {
                Some(count) => {
                    *count += times;
                    false
                }
                None => rows.insert(row.into(), times).is_none(),
            },
        }
    }

    /// Takes a row away once; gives whether it was the last of its kind, `None` when it is not there.
    pub(super) fn remove(&mut self, row: &[u8]) -> Option<bool> {
        let count = match self {
            Self::One(one) if **one == *row => {
                *self = Self::default();
                return Some(true);
            }
            Self::One(_) => return None,
            Self::Few(rows) => {
                let at = place(rows, row).ok()?;
                &mut rows.get_mut(at)?.1
            }
            Self::Many(rows) => rows.get_mut(row)?,
        };
        *count -= 1;
        let last = *count <= 0;
        if last {
            self.drop_row(row);
        }
        Some(last)
    }

    /// Takes a row away; gives how often it was there.
    pub(super) fn drop_row(&mut self, row: &[u8]) -> i64 {
        match self {
            Self::One(_) => i64::from(self.remove(row).is_some()),
            Self::Few(rows) => place(rows, row).map_or(0, |at| rows.remove(at).1),
            Self::Many(rows) => rows.remove(row).unwrap_or(0),
        }
    }

    /// The first rows, each as often as it is there.
    pub(super) fn first(&self, wanted: usize) -> Vec<RowBytes> {
        if let (Self::One(row), 1..) = (self, wanted) {
            return vec![Arc::clone(row)];
        }
        let mut first = Vec::new();
        for (row, count) in self.iter() {
            let missing = wanted - first.len();
            let times = usize::try_from(count).unwrap_or(0).min(missing);
            first.extend(std::iter::repeat_n(row, times).map(Arc::clone));
            if first.len() == wanted {
                break;
            }
        }
        first
    }

    pub(super) fn last(&self) -> Option<&RowBytes> {
        match self {
            Self::One(row) => Some(row),
            Self::Few(rows) => rows.last().map(|(row, _)| row),
            Self::Many(rows) => rows.last_key_value().map(|(row, _)| row),
        }
    }

    pub(super) fn find(&self, row: &[u8]) -> Option<&RowBytes> {
        match self {
            Self::One(one) => Some(one).filter(|one| ***one == *row),
            Self::Few(rows) => {
                let at = place(rows, row).ok()?;
                rows.get(at).map(|(row, _)| row)
            }
            Self::Many(rows) => rows.get_key_value(row).map(|(row, _)| row),
        }
    }

    pub(super) fn count(&self, row: &[u8]) -> i64 {
        match self {
            Self::One(_) => i64::from(self.find(row).is_some()),
            Self::Few(rows) => {
                let at = place(rows, row).ok();
                at.and_then(|at| rows.get(at))
                    .map_or(0, |(_, count)| *count)
            }
            Self::Many(rows) => rows.get(row).copied().unwrap_or(0),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RowBytes, i64)> {
        let (one, few, many) = match self {
            Self::One(row) => (Some((row, 1)), None, None),
            Self::Few(rows) => (None, Some(rows.iter()), None),
            Self::Many(rows) => (None, None, Some(rows.iter())),
        };
        let few = few.into_iter().flatten().map(|(row, count)| (row, *count));
        let many = many.into_iter().flatten().map(|(row, count)| (row, *count));
        one.into_iter().chain(few).chain(many)
    }

    pub(super) fn into_all(self) -> Vec<(RowBytes, i64)> {
        match self {
            Self::One(row) => vec![(row, 1)],
            Self::Few(rows) => rows,
            Self::Many(rows) => rows.into_iter().collect(),
        }
    }

    /// Makes room for more than one row.
    fn spread(&mut self) {
        *self = Self::Few(std::mem::take(self).into_all());
    }
}

/// Where a row is among rows in order, or where it belongs.
fn place(rows: &[(RowBytes, i64)], row: &[u8]) -> Result<usize, usize> {
    rows.binary_search_by(|(other, _)| (**other).cmp(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds of rows, in and out again, beside a plain map.
    #[test]
    fn rows_are_a_multiset_in_order() {
        let mut rows = Rows::default();
        let mut expected: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut seed = 7_u32;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Few keys at first, then many, then few: each kind is entered and left.
            let keys = if (step / 4_000).is_multiple_of(2) {
                3
            } else {
                90
            };
            let row = [(seed >> 16) as u8 % keys];
            let count = expected.get(&row[..]).copied().unwrap_or(0);
            match seed >> 30 {
                0 => assert_eq!(rows.add(&row, 1), count == 0),
                1 if keys > 3 => assert_eq!(rows.add(&row, 2), count == 0),
                2 => assert_eq!(rows.drop_row(&row), count),
                _ => assert_eq!(rows.remove(&row), (count > 0).then_some(count == 1)),
            }
            let count = match seed >> 30 {
                0 => count + 1,
                1 if keys > 3 => count + 2,
                2 => 0,
                _ => (count - 1).max(0),
            };
            expected.insert(row.to_vec(), count);
            expected.retain(|_, count| *count > 0);
            let found: Vec<_> = rows
                .iter()
                .map(|(row, count)| (row.to_vec(), count))
                .collect();
            assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>());
            assert_eq!(rows.count(&row), count);
            assert_eq!(rows.find(&row).is_some(), count > 0);
            let last = rows.last().map(|row| row.to_vec());
            assert_eq!(last.as_ref(), expected.keys().next_back());
            let all = expected.iter();
            let all =
                all.flat_map(|(row, count)| std::iter::repeat_n(row.clone(), *count as usize));
            let first: Vec<_> = rows.first(4).iter().map(|row| row.to_vec()).collect();
            assert_eq!(first, all.take(4).collect::<Vec<_>>());
        }
    }
}
