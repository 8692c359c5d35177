//! A set of keys' numbers: open addressing with linear probing, so that looking for one that is not
//! there touches one line of memory, also when it is then put there.

use super::fingerprint::scaled;

/// Places of a table that is made.
const PLACES_MIN: usize = 8;
/// A place that is free; a key with this number counts as the one before. It isn't zero: the system gives
/// zeros as a page to read only, and each first write then has to wait for all processors.
const FREE: u128 = u128::MAX;

/// Numbers that were there. They are hashes: the lower half of one says where it is.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    places: Vec<u128>,
    held: usize,
}

impl KeySet {
    /// Notes a number; gives whether it is new.
    pub(super) fn insert(&mut self, number: u128) -> bool {
        // Two thirds: with more of them the ways are long.
        if self.held * 3 >= self.places.len() * 2 {
            self.grow();
        }
        let number = number.min(FREE - 1);
        let Some(place) = find(&mut self.places, number) else {
            return false;
        };
        let is_new = *place == FREE;
        *place = number;
        self.held += usize::from(is_new);
        is_new
    }

    /// What is where a number would be. To look for many numbers before the first of them is noted
    /// brings their places near the processor at the same time; later each would be waited for.
    pub(super) fn peek(&self, number: u128) -> u128 {
        let place = self.places.get(scaled(number, self.places.len()));
        place.copied().unwrap_or(FREE)
    }

    fn grow(&mut self) {
        let room = (self.places.len() * 2).max(PLACES_MIN);
        let before = std::mem::replace(&mut self.places, vec![FREE; room]);
        for number in before {
            if number != FREE
                && let Some(place) = find(&mut self.places, number)
            {
                *place = number;
            }
        }
    }

    /// The numbers, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u128> + '_ {
        self.places.iter().copied().filter(|place| *place != FREE)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u128>()
    }
}

/// The place of a number, or the free one where it would be. There is always a free one.
fn find(places: &mut [u128], number: u128) -> Option<&mut u128> {
    let first = scaled(number, places.len());
    let is_it = |place: &u128| *place == number || *place == FREE;
    let at = match places.get(first..)?.iter().position(is_it) {
        Some(further) => first + further,
        None => places.iter().position(is_it)?,
    };
    places.get_mut(at)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::KeySet;

    #[test]
    fn it_holds_what_a_set_holds() {
        let mut set = KeySet::default();
        let mut expected = HashSet::new();
        let mut random = 7_u128;
        for _ in 0..20_000 {
            random =
                random.wrapping_mul(0x2545_F491_4F6C_DD1D_4F6C_DD1D_2545_F491) ^ (random >> 67);
            // Few different ones, among them many that begin at the last places.
            let number = match random % 3 {
                0 => random % 5_000,
                1 => u128::from(u64::MAX) - random % 300,
                _ => random.min(u128::MAX - 1),
            };
            assert_eq!(set.insert(number), expected.insert(number), "{number}");
        }
        assert_eq!(set.held, expected.len());
        assert_eq!(set.iter().collect::<HashSet<_>>(), expected);
        assert!(set.bytes() <= 3 * 16 * expected.len());
    }
}
