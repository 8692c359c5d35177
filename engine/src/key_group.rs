//! Key groups: the unit in which keyed state moves when the parallelism changes.
//!
//! The hash of a row's keys decides its group, and the group its subtask. Exchanges and restored
//! operators use the same function, so that state is found where its rows arrive.

use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion_common::hash_utils::{RandomState, create_hashes};

use crate::error::Result;

/// How many key groups there are.
pub const KEY_GROUPS: u64 = 256;

/// Decides the groups of all keys: part of the format of checkpoints, never to be changed.
const SEED: u64 = 0x5745_4952;

/// Hashes the keys of each row; `hashes` is cleared first. No keys give the same hash to all.
pub fn hash_keys(keys: &[ArrayRef], rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(rows, 0);
    create_hashes(keys, &RandomState::with_seed(SEED), hashes)?;
    Ok(())
}

/// Gives the subtask that holds the key group of a hash.
pub fn subtask_of(hash: u64, subtasks: usize) -> usize {
    let group = hash >> 56;
    usize::try_from(group * subtasks as u64 / KEY_GROUPS).unwrap_or(0)
}

/// A part of the keys: the key groups of one subtask, or some of them.
///
/// A subtask may cut its own part further than into groups, down to one [`FINEST`]th of all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGroups(Range<u64>);

/// How many parts of all keys there can be: each group has so many by [`KEY_GROUPS`] of them.
const FINEST: u64 = 1 << 16;

impl KeyGroups {
    /// All groups: a node with one subtask.
    pub fn all() -> Self {
        Self(0..FINEST)
    }

    /// The groups of subtask `subtask` of `subtasks`.
    pub fn of(subtask: u32, subtasks: u32) -> Self {
        let subtasks = u64::from(subtasks.max(1));
        let from = |subtask: u64| (subtask * KEY_GROUPS).div_ceil(subtasks) * (FINEST / KEY_GROUPS);
        Self(from(u64::from(subtask))..from(u64::from(subtask) + 1))
    }

    /// The part from `from` up to and without `to`, as [`KeyGroups::bounds`] gives them.
    pub(crate) fn between(from: u64, to: u64) -> Self {
        Self(from..to.min(FINEST))
    }

    /// Where the part begins, and where the next one does.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.0.start, self.0.end)
    }

    /// What two parts have in common; `None` when that is nothing.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        let both = self.0.start.max(other.0.start)..self.0.end.min(other.0.end);
        (!both.is_empty()).then_some(Self(both))
    }

    /// Cuts the part into so many of about the same size, or fewer when it is too small for that.
    pub(crate) fn cut(&self, parts: u64) -> Vec<Self> {
        let width = self.0.end - self.0.start;
        let parts = parts.min(width).max(1);
        let at = |part: u64| self.0.start + width * part / parts;
        (0..parts)
            .map(|part| Self(at(part)..at(part + 1)))
            .collect()
    }

    /// The place of a hash among all bounds.
    pub(crate) fn place(hash: u64) -> u64 {
        hash >> 48
    }

    /// Whether a hash belongs to one of the groups.
    pub fn holds(&self, hash: u64) -> bool {
        self.0.contains(&Self::place(hash))
    }

    /// Whether no key can be in another subtask.
    pub fn is_all(&self) -> bool {
        self.0 == (0..FINEST)
    }

    /// Says of each row whether its keys belong to the groups. The keys must be those of the
    /// exchange in front of the operator, in the same order and of the same types.
    pub fn mask(&self, keys: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        if self.is_all() {
            return Ok(BooleanArray::from(vec![true; rows]));
        }
        let mut hashes = Vec::new();
        hash_keys(keys, rows, &mut hashes)?;
        Ok(hashes.iter().map(|hash| Some(self.holds(*hash))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_without_a_gap() {
        for (subtask, subtasks, cuts) in [(0, 1, 64), (2, 3, 7), (4, 5, 100_000), (255, 256, 3)] {
            let part = KeyGroups::of(subtask, subtasks);
            let cut = part.cut(cuts);
            let (mut at, end) = part.bounds();
            for piece in &cut {
                assert_eq!(piece.bounds().0, at);
                at = piece.bounds().1;
                assert_eq!(part.intersection(piece).as_ref(), Some(piece));
            }
            assert_eq!(at, end);
        }
        let finest = KeyGroups::between(7, 8);
        assert_eq!(finest.cut(8), std::slice::from_ref(&finest));
        assert!(finest.intersection(&KeyGroups::between(8, 9)).is_none());
    }

    #[test]
    fn each_group_has_one_subtask() {
        for subtasks in [1, 2, 3, 5, 7, 8, 255, 256] {
            for group in 0..KEY_GROUPS {
                let hash = group << 56 | 12_345;
                let holders: Vec<u32> = (0..subtasks)
                    .filter(|subtask| KeyGroups::of(*subtask, subtasks).holds(hash))
                    .collect();
                let expected = subtask_of(hash, subtasks as usize);
                assert_eq!(holders, [u32::try_from(expected).unwrap()]);
            }
        }
    }
}
