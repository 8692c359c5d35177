//! Rows with a number each, found by their bytes.

use std::collections::{BTreeMap, HashMap};

use datafusion_common::hash_utils::RandomState;

use crate::updating::short_row::ShortRow;

/// What a row of one value of eight bytes begins with: it is not null.
const VALID: u8 = 1;
/// Bytes of such a row.
const WORD_BYTES: usize = 1 + size_of::<u64>();

/// Rows with their numbers, in their order where it is asked for.
#[derive(Debug)]
pub(super) enum Rows {
    Ordered(BTreeMap<ShortRow, i64>),
    Hashed {
        /// Rows of one value of eight bytes, as that value.
        words: HashMap<u64, i64, RandomState>,
        others: HashMap<ShortRow, i64, RandomState>,
    },
}

impl Rows {
    pub(super) fn new(ordered: bool) -> Self {
        match ordered {
            true => Self::Ordered(BTreeMap::new()),
            false => Self::Hashed {
                words: HashMap::default(),
                others: HashMap::default(),
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ordered(rows) => rows.len(),
            Self::Hashed { words, others } => words.len() + others.len(),
        }
    }

    pub(super) fn get(&self, row: &[u8]) -> Option<&i64> {
        match self {
            Self::Ordered(rows) => rows.get(row),
            Self::Hashed { words, others } => match word(row) {
                Some(word) => words.get(&word),
                None => others.get(row),
            },
        }
    }

    pub(super) fn get_mut(&mut self, row: &[u8]) -> Option<&mut i64> {
        match self {
            Self::Ordered(rows) => rows.get_mut(row),
            Self::Hashed { words, others } => match word(row) {
                Some(word) => words.get_mut(&word),
                None => others.get_mut(row),
            },
        }
    }

    pub(super) fn insert(&mut self, row: &[u8], number: i64) {
        match self {
            Self::Ordered(rows) => rows.insert(row.into(), number),
            Self::Hashed { words, others } => match word(row) {
                Some(word) => words.insert(word, number),
                None => others.insert(row.into(), number),
            },
        };
    }

    /// Takes a row away; gives whether it was there.
    pub(super) fn remove(&mut self, row: &[u8]) -> bool {
        match self {
            Self::Ordered(rows) => rows.remove(row),
            Self::Hashed { words, others } => match word(row) {
                Some(word) => words.remove(&word),
                None => others.remove(row),
            },
        }
        .is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ShortRow, i64)> {
        let (ordered, hashed) = match self {
            Self::Ordered(rows) => (Some(rows.iter()), None),
            Self::Hashed { words, others } => (None, Some((words.iter(), others.iter()))),
        };
        let ordered = ordered.into_iter().flatten();
        let (words, others) = hashed.unzip();
        let words = words.into_iter().flatten();
        let words = words.map(|(word, number)| (row_of(*word), *number));
        let rows = ordered.chain(others.into_iter().flatten());
        words.chain(rows.map(|(row, number)| (row.clone(), *number)))
    }

    /// The row as it is kept here, or made anew.
    pub(super) fn share(&self, row: &[u8]) -> ShortRow {
        let kept = match self {
            Self::Ordered(rows) => rows.get_key_value(row),
            Self::Hashed { others, .. } => others.get_key_value(row),
        };
        kept.map_or_else(|| row.into(), |(kept, _)| kept.clone())
    }
}

/// The value of a row that is only one of eight bytes.
fn word(row: &[u8]) -> Option<u64> {
    match row.split_first() {
        Some((&VALID, word)) => Some(u64::from_be_bytes(word.try_into().ok()?)),
        _ => None,
    }
}

fn row_of(word: u64) -> ShortRow {
    let mut row = [VALID; WORD_BYTES];
    if let Some(place) = row.last_chunk_mut() {
        *place = word.to_be_bytes();
    }
    ShortRow::from(&row[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_found_again() {
        let rows = [
            vec![],
            vec![VALID],
            vec![0; WORD_BYTES],
            vec![VALID; WORD_BYTES],
            vec![VALID, 0, 0, 0, 0, 0, 0, 0, 9],
            vec![VALID; WORD_BYTES + 1],
            vec![7; 60],
        ];
        for ordered in [true, false] {
            let mut held = Rows::new(ordered);
            for (row, number) in rows.iter().zip(1..) {
                assert_eq!(held.get(row), None);
                held.insert(row, number);
                *held.get_mut(row).unwrap() += 10;
                assert_eq!(held.share(row).to_vec(), *row);
            }
            let mut found: Vec<_> = held.iter().map(|(row, n)| (n, row.to_vec())).collect();
            found.sort_unstable();
            let expected = rows.iter().zip(11..).map(|(row, n)| (n, row.clone()));
            assert_eq!(found, expected.collect::<Vec<_>>());
            for row in &rows {
                assert!(held.remove(row) && !held.remove(row));
            }
            assert_eq!(held.len(), 0);
        }
    }
}
