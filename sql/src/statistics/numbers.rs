//! The distribution of numbers in bounded memory: each different number with how often it came, as long as there are
//! few, and beyond that the numbers to as many leading digits as fit. How many fit depends on the set of numbers
//! alone, so that neither their order nor how they were divided changes an answer.

use std::collections::BTreeMap;

use super::moments::Moments;

/// Different numbers that are kept.
pub(crate) const KEPT_MAX: usize = 2_048;
/// Bits of a mantissa.
const MANTISSA: u32 = 52;

/// Numbers with how often they came; NaN and the infinities are left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) moments: Moments,
    /// Leading bits of the mantissa that are kept.
    bits: u32,
    counts: BTreeMap<i64, u64>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            moments: Moments::default(),
            bits: MANTISSA,
            counts: BTreeMap::new(),
        }
    }
}

/// The bits of a number such that they are in the order of the numbers.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn truncate(key: i64, bits: u32) -> i64 {
    let mask = -1_i64 << (MANTISSA - bits);
    // On the number's own bits, so that both signs go towards zero.
    ordered(ordered(key) & mask)
}

/// The number that stands for a key: the middle of those that it was made of.
fn middle(key: i64, bits: u32) -> f64 {
    let own = ordered(key);
    let half = match bits < MANTISSA && own != 0 {
        true => 1_i64 << (MANTISSA - bits - 1),
        false => 0,
    };
    f64::from_bits((own | half) as u64)
}

impl Numbers {
    /// Numbers of which the moments are known better than by them.
    pub(crate) fn of(values: impl IntoIterator<Item = (f64, u64)>, moments: Moments) -> Self {
        let mut numbers = Self::default();
        for (value, count) in values {
            numbers.add(value, count);
        }
        Self { moments, ..numbers }
    }

    pub(crate) fn add(&mut self, value: f64, count: u64) {
        if !value.is_finite() || count == 0 {
            return;
        }
        match count {
            1 => self.moments.add(value),
            _ => self.moments.merge(&Moments::of(count, value, 0.0)),
        }
        let key = truncate(ordered((value + 0.0).to_bits() as i64), self.bits);
        *self.counts.entry(key).or_default() += count;
        self.fit();
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.coarsen(other.bits);
        for (key, count) in &other.counts {
            *self.counts.entry(truncate(*key, self.bits)).or_default() += count;
        }
        self.fit();
    }

    fn fit(&mut self) {
        while self.counts.len() > KEPT_MAX && self.bits > 0 {
            self.coarsen(self.bits - 1);
        }
    }

    fn coarsen(&mut self, bits: u32) {
        if bits < self.bits {
            self.bits = bits;
            let mut counts = BTreeMap::new();
            for (key, count) in std::mem::take(&mut self.counts) {
                *counts.entry(truncate(key, bits)).or_default() += count;
            }
            self.counts = counts;
        }
    }

    /// Both to the same number of digits.
    pub(crate) fn alike(one: &Self, two: &Self) -> (Self, Self) {
        let (mut one, mut two) = (one.clone(), two.clone());
        one.coarsen(two.bits);
        two.coarsen(one.bits);
        (one, two)
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The numbers in their order, with how often each came.
    pub(crate) fn values(&self) -> impl Iterator<Item = (f64, u64)> {
        let value = |(key, count): (&i64, &u64)| (middle(*key, self.bits), *count);
        self.counts.iter().map(value)
    }

    /// The value below which a share of the numbers is, between two of them in proportion.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.count().checked_sub(1)?;
        let place = share * last as f64;
        let (below, part) = (place.floor(), place.fract());
        let (mut seen, mut low) = (0_u64, None);
        for (value, count) in self.values() {
            seen += count;
            if let Some(low) = low {
                return Some(low + (value - low) * part);
            }
            if seen as f64 > below {
                if part == 0.0 || seen as f64 > below + 1.0 {
                    return Some(value);
                }
                low = Some(value);
            }
        }
        low
    }

    /// Bytes that it takes.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + self.counts.len() * 3 * size_of::<u64>()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.moments.to_bytes().to_vec();
        bytes.extend(self.bits.to_le_bytes());
        for (key, count) in &self.counts {
            bytes.extend(key.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (moments, rest) = bytes.split_at_checked(Moments::BYTES)?;
        let (bits, rest) = rest.split_first_chunk::<4>()?;
        let (pairs, rest) = rest.as_chunks::<16>();
        let bits = u32::from_le_bytes(*bits);
        let mut counts = BTreeMap::new();
        for pair in pairs {
            let (key, count) = pair.split_first_chunk::<8>()?;
            let count = u64::from_le_bytes(count.try_into().ok()?);
            counts.insert(i64::from_le_bytes(*key), count);
        }
        (rest.is_empty() && bits <= MANTISSA).then_some(Self {
            moments: Moments::from_bytes(moments)?,
            bits,
            counts,
        })
    }
}
