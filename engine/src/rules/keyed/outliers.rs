//! Values that are far from those before them: by deviations from the mean or from the median, or beyond
//! fences around the quartiles.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Float64Type;

use super::ask::Far;
use super::memory::{Asked, Memory, Saved, Values};
use super::store::{Held, Store};
use crate::error::{Error, Result};

/// Values before there is an answer, or as many as are remembered if these are fewer.
pub(super) const VALUES_MIN: usize = 10;
/// The standard deviation of normal values, in their median absolute deviations.
const DEVIATIONS_PER_MEDIAN: f64 = 1.4826;
/// The same in their mean absolute deviations.
const DEVIATIONS_PER_MEAN: f64 = 1.253_314;

/// The last values of one key: as they came, and in order. What is computed depends on which they are
/// alone, so that it is the same after a restart.
#[derive(Debug, Clone, Default)]
struct Recent {
    came: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Held for Recent {
    fn heap(&self) -> usize {
        (self.came.capacity() + self.sorted.capacity()) * size_of::<f64>()
    }
}

impl Recent {
    fn push(&mut self, value: f64, most: usize) {
        while self.came.len() >= most.max(1) {
            let Some(first) = self.came.pop_front() else {
                break;
            };
            if let Ok(at) = self
                .sorted
                .binary_search_by(|other| other.total_cmp(&first))
            {
                self.sorted.remove(at);
            }
        }
        self.came.push_back(value);
        let at = self
            .sorted
            .partition_point(|other| other.total_cmp(&value).is_lt());
        self.sorted.insert(at, value);
    }
}

/// A quantile of values in order, between two of them if it falls there.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => f64::NAN,
    }
}

/// The median distance of values in order from their median.
fn median_deviation(sorted: &[f64], median: f64) -> f64 {
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - median).abs()).collect();
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return f64::NAN;
    }
    let (before, at, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *at;
    match sorted.len() % 2 {
        1 => upper,
        _ => (before.iter().copied().fold(f64::MIN, f64::max) + upper) / 2.0,
    }
}

/// The least and the greatest value that is none.
fn bounds(sorted: &[f64], far: &Far) -> (f64, f64) {
    let count = sorted.len() as f64;
    let around = |center: f64, deviation: f64| {
        let most = far.times() * deviation;
        (center - most, center + most)
    };
    match far {
        Far::FromMean(_) => {
            let mean = sorted.iter().sum::<f64>() / count;
            let squares = sorted
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f64>();
            around(mean, (squares / (count - 1.0).max(1.0)).sqrt())
        }
        Far::FromMedian(_) => {
            let median = quantile(sorted, 0.5);
            let deviation = median_deviation(sorted, median) * DEVIATIONS_PER_MEDIAN;
            if deviation > 0.0 {
                return around(median, deviation);
            }
            // More than half of them are the same.
            let mean = sorted
                .iter()
                .map(|value| (value - median).abs())
                .sum::<f64>()
                / count;
            around(median, mean * DEVIATIONS_PER_MEAN)
        }
        Far::FromQuartiles(_) => {
            let (first, third) = (quantile(sorted, 0.25), quantile(sorted, 0.75));
            let most = far.times() * (third - first);
            (first - most, third + most)
        }
    }
}

/// The last values of each key, whatever became of their rows.
#[derive(Debug)]
pub(super) struct Outliers {
    held: Store<Recent>,
    last: usize,
    far: Far,
    /// The rows of the last call that had too few before them.
    open: Option<BooleanBuffer>,
}

impl Outliers {
    pub(super) fn new(last: usize, far: Far) -> Self {
        Self {
            held: Store::default(),
            last,
            far,
            open: None,
        }
    }
}

impl Memory for Outliers {
    fn ask(&mut self, asked: &Asked<'_>, broken: &mut BooleanBufferBuilder) -> Result<()> {
        let mut open = BooleanBufferBuilder::new(asked.keys.len());
        open.append_n(asked.keys.len(), false);
        let values = asked.value(0)?;
        let values = values.as_primitive_opt::<Float64Type>();
        let values = values.ok_or_else(|| Error::internal("an outlier is no number"))?;
        for (row, key) in asked.rows() {
            let value = values.value(row);
            let before = self.held.get(key).map_or(&[][..], |recent| &recent.sorted);
            if value.is_nan() || before.len() < self.last.min(VALUES_MIN) {
                open.set_bit(row, true);
            } else {
                let (least, most) = bounds(before, &self.far);
                broken.set_bit(row, value < least || value > most);
            }
            if value.is_finite() {
                let last = self.last;
                self.held.change(key, |recent| recent.push(value, last));
            }
        }
        self.open = Some(open.finish());
        Ok(())
    }

    fn unanswered(&mut self) -> Option<BooleanBuffer> {
        self.open.take()
    }

    fn bytes(&self) -> usize {
        self.held.bytes()
    }

    fn save(&mut self, all: bool) -> Saved {
        let (gone, kept) = self.held.take(all);
        let each =
            |(key, recent): (u128, Recent)| recent.came.into_iter().map(move |value| (key, value));
        let (keys, values) = kept.into_iter().flat_map(each).unzip();
        Saved {
            gone,
            keys,
            values: Values::Doubles(values),
        }
    }

    fn lose(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| self.held.remove(*key));
        self.held.restored();
    }

    fn restore(&mut self, keys: &[u128], columns: &[ArrayRef]) -> Result<()> {
        let values = columns.first();
        let values = values.and_then(|values| values.as_primitive_opt::<Float64Type>());
        let values = values.ok_or_else(|| Error::internal("a rule's state lacks its values"))?;
        for (key, value) in keys.iter().zip(values.values()) {
            let last = self.last;
            self.held.change(*key, |recent| recent.push(*value, last));
        }
        self.held.restored();
        Ok(())
    }
}
