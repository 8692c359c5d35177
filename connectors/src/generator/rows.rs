//! Rows as a pure function of the seed and their number.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, StringBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{cast, take_record_batch};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_engine::error::Result;

use super::columns::{Column, Value, schema};

/// Tells the draws of one row apart; the random columns have the numbers 1 to 8.
mod draw {
    pub(super) const DISORDER: u64 = 101;
    pub(super) const LATE: u64 = 102;
    pub(super) const LATE_BY: u64 = 103;
    pub(super) const DUPLICATE: u64 = 104;
    pub(super) const TEXT: u64 = 105;
    /// Added to the column's own draw for its nulls.
    pub(super) const NULL: u64 = 200;
}

/// What decides the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    pub(super) seed: u64,
    pub(super) interval_ns: u64,
    pub(super) disorder_us: u64,
    pub(super) null_ratio: f64,
    pub(super) duplicate_ratio: f64,
    pub(super) late_ratio: f64,
    pub(super) late_by_us: u64,
}

/// A bijection on 64 bits whose output looks random: the finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An even spread over [0, 1) from the 53 bits that a double holds.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

impl Rows {
    /// The start of a stream of draws: one per purpose, so that columns don't depend on each other.
    fn stream(&self, purpose: u64) -> u64 {
        mix(self.seed ^ mix(purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn bits(stream: u64, seq: u64) -> u64 {
        mix(stream.wrapping_add(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn nulls(
        &self,
        purpose: u64,
        numbers: impl ExactSizeIterator<Item = u64>,
    ) -> Option<NullBuffer> {
        if self.null_ratio <= 0.0 {
            return None;
        }
        let stream = self.stream(draw::NULL + purpose);
        let valid: BooleanBuffer = numbers
            .map(|seq| unit(Self::bits(stream, seq)) >= self.null_ratio)
            .collect();
        Some(NullBuffer::new(valid))
    }

    fn event_times(
        &self,
        start_us: i64,
        numbers: impl ExactSizeIterator<Item = u64>,
    ) -> TimestampMicrosecondArray {
        let disorder = self.stream(draw::DISORDER);
        let (late, late_by) = (self.stream(draw::LATE), self.stream(draw::LATE_BY));
        let times = numbers.map(|seq| {
            let ahead_us = seq.saturating_mul(self.interval_ns) / 1_000;
            let mut back_us = 0;
            if self.disorder_us > 0 {
                back_us = (unit(Self::bits(disorder, seq)) * self.disorder_us as f64) as u64;
            }
            if self.late_ratio > 0.0 && unit(Self::bits(late, seq)) < self.late_ratio {
                let by = unit(Self::bits(late_by, seq)) * self.late_by_us as f64;
                back_us = self.disorder_us + 1 + by as u64;
            }
            start_us
                .saturating_add_unsigned(ahead_us)
                .saturating_sub_unsigned(back_us)
        });
        TimestampMicrosecondArray::from_iter_values(times)
    }

    fn texts(
        &self,
        numbers: impl ExactSizeIterator<Item = u64>,
        nulls: Option<&NullBuffer>,
    ) -> ArrayRef {
        let stream = self.stream(draw::TEXT);
        let mut words = StringBuilder::with_capacity(numbers.len(), numbers.len() * 8);
        let mut word = String::new();
        for (row, seq) in numbers.enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                words.append_null();
            } else {
                spell(Self::bits(stream, seq), &mut word);
                words.append_value(&word);
            }
        }
        Arc::new(words.finish())
    }

    fn array<N>(&self, value: Value, start_us: i64, numbers: N) -> ArrayRef
    where
        N: ExactSizeIterator<Item = u64> + Clone,
    {
        match value {
            Value::Seq => Arc::new(Int64Array::from_iter_values(numbers.map(|seq| seq as i64))),
            Value::Ts => Arc::new(self.event_times(start_us, numbers)),
            Value::Random(purpose) => {
                let stream = self.stream(purpose);
                let nulls = self.nulls(purpose, numbers.clone());
                let values: Vec<f64> = numbers.map(|seq| unit(Self::bits(stream, seq))).collect();
                Arc::new(Float64Array::new(values.into(), nulls))
            }
            Value::Text => {
                let nulls = self.nulls(draw::TEXT, numbers.clone());
                self.texts(numbers, nulls.as_ref())
            }
        }
    }

    /// Builds rows; those that come twice follow each other, so there may be more than numbers.
    pub(super) fn batch<N>(
        &self,
        columns: &[Column],
        start_us: i64,
        numbers: N,
    ) -> Result<RecordBatch>
    where
        N: ExactSizeIterator<Item = u64> + Clone,
    {
        let rows = numbers.len();
        let arrays = columns
            .iter()
            .map(|column| {
                let array = self.array(column.value, start_us, numbers.clone());
                let declared = column.field.data_type();
                let same = array.data_type() == declared;
                if same {
                    Ok(array)
                } else {
                    Ok(cast(&array, declared)?)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema(columns), arrays, &options)?;
        if self.duplicate_ratio <= 0.0 {
            return Ok(batch);
        }
        let stream = self.stream(draw::DUPLICATE);
        let twice = |seq| unit(Self::bits(stream, seq)) < self.duplicate_ratio;
        let picked: UInt32Array = numbers
            .zip(0_u32..)
            .flat_map(|(seq, row)| std::iter::repeat_n(row, 1 + usize::from(twice(seq))))
            .collect();
        if columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(picked.len()));
            return Ok(RecordBatch::try_new_with_options(
                batch.schema(),
                Vec::new(),
                &options,
            )?);
        }
        Ok(take_record_batch(&batch, &picked)?)
    }
}

/// Spells two to four syllables of a consonant and a vowel.
fn spell(mut bits: u64, word: &mut String) {
    const CONSONANTS: [char; 16] = [
        'b', 'c', 'd', 'f', 'g', 'h', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z',
    ];
    const VOWELS: [char; 4] = ['a', 'e', 'i', 'o'];
    word.clear();
    let syllables = 2 + bits % 3;
    bits /= 3;
    for _ in 0..syllables {
        word.push(CONSONANTS[(bits % 16) as usize]);
        word.push(VOWELS[(bits / 16 % 4) as usize]);
        bits /= 64;
    }
}
