//! How many different values there are, and which come most often.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::{HllSketch, HllType, HllUnion};
use weir_engine::error::Result;

use super::column::unreadable;

/// 2^12 registers: the number of different values is off by 1.6 %.
const PRECISION: u8 = 12;
/// Values that are counted at once: what comes more often than 1 in 400 is found for certain.
const COUNTED_MAX: usize = 1_024;
/// Characters of a value that is counted; longer ones count as what they begin with.
const LENGTH_MAX: usize = 200;

/// Values that were seen.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    distinct: HllSketch,
    often: FrequentItemsSketch<String>,
}

impl Values {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            distinct: HllSketch::new(PRECISION, HllType::Hll8).map_err(unreadable)?,
            often: FrequentItemsSketch::new(COUNTED_MAX).map_err(unreadable)?,
        })
    }

    pub(super) fn add(&mut self, value: &str) {
        self.distinct.update(value);
        let end = value.char_indices().nth(LENGTH_MAX).map(|(at, _)| at);
        let value = end.and_then(|end| value.get(..end)).unwrap_or(value);
        self.often.update_ref(value);
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        let mut union = HllUnion::new(PRECISION).map_err(unreadable)?;
        union.update(&self.distinct);
        union.update(&other.distinct);
        self.distinct = union.to_sketch(HllType::Hll8);
        self.often.merge(&other.often);
        Ok(())
    }

    pub(super) fn bytes(&self) -> [Vec<u8>; 2] {
        [self.distinct.serialize(), self.often.serialize()]
    }

    pub(super) fn from_parts(distinct: &[u8], often: &[u8]) -> Result<Self> {
        Ok(Self {
            distinct: HllSketch::deserialize(distinct).map_err(unreadable)?,
            often: FrequentItemsSketch::deserialize(often).map_err(unreadable)?,
        })
    }

    pub(super) fn held(&self) -> usize {
        self.distinct.estimated_size() + self.often.estimated_size()
    }

    /// About how many different values there are: exactly, as long as all of them are counted.
    pub(crate) fn distinct(&self) -> u64 {
        match self.is_exact() {
            true => self.often.num_active_items() as u64,
            false => self.distinct.estimate().round() as u64,
        }
    }

    /// Whether all values are counted, each exactly.
    pub(crate) fn is_exact(&self) -> bool {
        self.often.maximum_error() == 0
    }

    /// The values that come most often, with at least how often.
    pub(crate) fn top(&self, most: usize) -> Vec<(String, u64)> {
        let rows = self.often.frequent_items(ErrorType::NoFalseNegatives);
        let counted = rows
            .iter()
            .map(|row| (row.item().clone(), row.lower_bound()));
        let mut counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        // Equal counts in the order of the values, so that a profile can be compared by eye.
        counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(most);
        counted
    }
}
