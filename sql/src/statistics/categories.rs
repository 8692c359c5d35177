//! How often each value comes that is no number, in bounded memory: each value, as long as there are few different
//! ones, and beyond that parts of them by their hash. Which of both it is depends on the set of values alone.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::KEPT_MAX;

/// Parts into which values are divided where there are too many.
const PARTS: u64 = 1_024;
/// Characters of a value that are compared.
const LENGTH_MAX: usize = 200;

/// Values with how often they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Categories {
    /// Values are parts, called by their numbers.
    parts: bool,
    counts: BTreeMap<String, u64>,
    /// Values of which nothing else is known: of a profile, what does not come often.
    others: Option<u64>,
}

/// The part of a value (FNV-1a, the same everywhere).
fn part(value: &str) -> String {
    let hash = value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The lower bits of FNV depend on the lower bits of the bytes alone.
    ((hash ^ (hash >> 32)) % PARTS).to_string()
}

impl Categories {
    /// What is known of the values that come often.
    pub(crate) fn of(known: impl IntoIterator<Item = (String, u64)>, others: Option<u64>) -> Self {
        let counts = known.into_iter().collect();
        Self {
            parts: false,
            counts,
            others,
        }
    }

    pub(crate) fn add(&mut self, value: &str) {
        let end = value.char_indices().nth(LENGTH_MAX).map(|(at, _)| at);
        let value = end.and_then(|end| value.get(..end)).unwrap_or(value);
        if self.parts {
            *self.counts.entry(part(value)).or_default() += 1;
            return;
        }
        match self.counts.get_mut(value) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(value.to_owned(), 1);
                self.fit();
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        if self.parts || other.parts {
            self.divide();
            other.divide();
        }
        for (value, count) in other.counts {
            *self.counts.entry(value).or_default() += count;
        }
        self.fit();
    }

    fn fit(&mut self) {
        if self.counts.len() > KEPT_MAX {
            self.divide();
        }
    }

    fn divide(&mut self) {
        if !self.parts {
            self.parts = true;
            for (value, count) in std::mem::take(&mut self.counts) {
                *self.counts.entry(part(&value)).or_default() += count;
            }
        }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.others.unwrap_or(0)
    }

    /// How often each value of either comes in the first and in the second. Where one knows some values only, all
    /// others are one.
    pub(crate) fn pairs(first: &Self, second: &Self) -> Vec<(u64, u64)> {
        let (mut first, mut second) = (first.clone(), second.clone());
        let partly = match (&first.others, &second.others) {
            (Some(_), _) => Some(&first),
            (None, Some(_)) => Some(&second),
            (None, None) => None,
        };
        let known: Option<BTreeSet<String>> = partly.map(|c| c.counts.keys().cloned().collect());
        if let Some(known) = known {
            first.know_only(&known);
            second.know_only(&known);
        } else if first.parts || second.parts {
            first.divide();
            second.divide();
        }
        let mut pairs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (value, count) in &first.counts {
            pairs.entry(value).or_default().0 = *count;
        }
        for (value, count) in &second.counts {
            pairs.entry(value).or_default().1 = *count;
        }
        let others = [&first, &second].map(|c| c.others.unwrap_or(0));
        let mut pairs: Vec<(u64, u64)> = pairs.into_values().collect();
        if others != [0, 0] {
            pairs.push((others[0], others[1]));
        }
        pairs
    }

    /// Counts all but these values as one. What is in parts names no value any more.
    fn know_only(&mut self, known: &BTreeSet<String>) {
        let mut others = self.others.unwrap_or(0);
        let parts = self.parts;
        self.counts.retain(|value, count| {
            let stays = !parts && known.contains(value);
            others += if stays { 0 } else { *count };
            stays
        });
        self.others = Some(others);
    }

    /// Bytes that it takes.
    pub(crate) fn held(&self) -> usize {
        let texts: usize = self.counts.keys().map(String::len).sum();
        size_of::<Self>() + texts + self.counts.len() * 6 * size_of::<u64>()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.parts), u8::from(self.others.is_some())];
        bytes.extend(self.others.unwrap_or(0).to_le_bytes());
        for (value, count) in &self.counts {
            bytes.extend(count.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value.as_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([parts, others], rest) = bytes.split_first_chunk::<2>()?;
        let (rare, mut rest) = rest.split_first_chunk::<8>()?;
        let mut counts = BTreeMap::new();
        while !rest.is_empty() {
            let (count, more) = rest.split_first_chunk::<8>()?;
            let (length, more) = more.split_first_chunk::<4>()?;
            let (value, more) = more.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let value = std::str::from_utf8(value).ok()?.to_owned();
            counts.insert(value, u64::from_le_bytes(*count));
            rest = more;
        }
        Some(Self {
            parts: *parts == 1,
            counts,
            others: (*others == 1).then(|| u64::from_le_bytes(*rare)),
        })
    }
}
