//! Values with keys, each at a place that it keeps: found by key, then by its place at no cost.
//!
//! Values lie in chunks that are never copied, and keys are not held twice: millions of them take
//! what they need and not twice that while they grow.

use std::fmt;
use std::hash::BuildHasher;

use datafusion_common::hash_utils::RandomState;
use hashbrown::HashTable;

/// Values in a chunk, as a power of two.
const CHUNK_BITS: u32 = 10;
/// What finding a value by its key costs, with free room in the table.
const PLACE_BYTES: usize = 2 * (size_of::<u32>() + 1);

/// A value that knows its key.
pub(crate) trait Keyed {
    /// The key; it never changes.
    fn key(&self) -> &[u8];
}

/// Values by key and by place.
pub(crate) struct Places<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    /// The same in each run, so that a run can be repeated.
    hashes: RandomState,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hashes: RandomState::default(),
        }
    }
}

impl<T> fmt::Debug for Places<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("len", &self.by_key.len())
            .finish_non_exhaustive()
    }
}

impl<T: Keyed> Places<T> {
    /// The place of a key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hashes.hash_one(key);
        let is_it = |place: &u32| self.get(*place).is_some_and(|value| value.key() == key);
        self.by_key.find(hash, is_it).copied()
    }

    /// The value at a place.
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        at(&self.chunks, place)
    }

    /// The value at a place.
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let (chunk, within) = address(place);
        self.chunks.get_mut(chunk)?.get_mut(within)?.as_mut()
    }

    /// Adds a value, whose key must be new; gives its place. `None` when there are 2^32 values.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let hash = self.hashes.hash_one(value.key());
        let place = match self.free.pop() {
            Some(place) => place,
            None => self.push()?,
        };
        let (chunk, within) = address(place);
        *self.chunks.get_mut(chunk)?.get_mut(within)? = Some(value);
        let (chunks, hashes) = (&self.chunks, &self.hashes);
        let again = |place: &u32| at(chunks, *place).map_or(0, |v| hashes.hash_one(v.key()));
        self.by_key.insert_unique(hash, place, again);
        Some(place)
    }

    /// Takes a value out; its place is given to another.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let (chunk, within) = address(place);
        let value = self.chunks.get_mut(chunk)?.get_mut(within)?.take()?;
        let hash = self.hashes.hash_one(value.key());
        if let Ok(entry) = self.by_key.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.free.push(place);
        Some(value)
    }

    /// The places with a value.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        let all = (0_u32..).zip(self.chunks.iter().flatten());
        all.filter_map(|(place, value)| value.as_ref().map(|_| place))
    }

    /// The values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flatten()
    }

    /// Takes all values out.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.chunks.into_iter().flatten().flatten()
    }

    /// Bytes beside those that the values hold.
    pub(crate) fn bytes(&self) -> usize {
        self.by_key.len() * (size_of::<Option<T>>() + PLACE_BYTES)
            + self.free.capacity() * size_of::<u32>()
    }

    /// Makes a place.
    fn push(&mut self) -> Option<u32> {
        let full = |chunk: &Vec<Option<T>>| chunk.len() == 1 << CHUNK_BITS;
        if self.chunks.last().is_none_or(full) {
            // The first grows as it is filled: most operators have few values.
            let first = self.chunks.is_empty();
            let capacity = if first { 0 } else { 1 << CHUNK_BITS };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let chunk = self.chunks.len().checked_sub(1)?;
        let within = self.chunks.get(chunk)?.len();
        let place = u32::try_from((chunk << CHUNK_BITS) + within).ok()?;
        self.chunks.get_mut(chunk)?.push(None);
        Some(place)
    }
}

fn address(place: u32) -> (usize, usize) {
    let within = place & ((1 << CHUNK_BITS) - 1);
    ((place >> CHUNK_BITS) as usize, within as usize)
}

fn at<T>(chunks: &[Vec<Option<T>>], place: u32) -> Option<&T> {
    let (chunk, within) = address(place);
    chunks.get(chunk)?.get(within)?.as_ref()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    impl Keyed for (Vec<u8>, u64) {
        fn key(&self) -> &[u8] {
            &self.0
        }
    }

    #[test]
    fn values_are_found_as_in_a_map() {
        for seed in 0..20 {
            println!("SEED={seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut places, mut map) = (Places::default(), HashMap::new());
            for number in 0..5_000_u64 {
                let key = rng.random_range(0..3_000_u32).to_le_bytes();
                let place = places.find(&key);
                assert_eq!(place, map.get(&key).map(|(place, _)| *place));
                match place {
                    None => {
                        let place = places.insert((key.to_vec(), number)).unwrap();
                        map.insert(key, (place, number));
                    }
                    Some(place) if rng.random() => {
                        places.get_mut(place).unwrap().1 = number;
                        map.insert(key, (place, number));
                    }
                    Some(place) => {
                        let (_, held) = places.remove(place).unwrap();
                        assert_eq!(held, map.remove(&key).unwrap().1);
                    }
                }
            }
            let mut numbers: Vec<u64> = places.iter().map(|value| value.1).collect();
            let mut expected: Vec<u64> = map.values().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            expected.sort_unstable();
            assert_eq!(numbers, expected);
            assert_eq!(places.places().count(), expected.len());
            assert_eq!(places.into_values().count(), expected.len());
        }
    }
}
