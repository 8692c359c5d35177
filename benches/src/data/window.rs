//! Readings of many keys over 1,000 seconds, in two files that each span the whole time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Input, cached, side_by_side, write};
use crate::failure::{During, Result};

/// Files; each takes every second row.
const FILES: u64 = 2;
/// Time that the rows span: 100 windows of 10 seconds.
const SPAN_US: u64 = 1_000_000_000;
/// Rows come at most so much later than their place in time.
const DISORDER_US: u64 = 2_000_000;
/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;

/// Gives `rows` readings of `keys` keys.
pub(crate) fn input(rows: u64, keys: u64) -> Result<Input> {
    made(&format!("window-v1-{rows}-{keys}"), rows, keys, rows)
}

/// Gives the first so many of those readings, which are as close in time as all are.
pub(crate) fn first(count: u64, rows: u64, keys: u64) -> Result<Input> {
    let name = format!("window-v1-{rows}-{keys}-first-{count}");
    made(&name, rows, keys, count)
}

fn made(name: &str, rows: u64, keys: u64, count: u64) -> Result<Input> {
    cached(name, |folder| {
        let file = |index: u64| -> Box<dyn FnOnce() -> Result<()> + Send> {
            let path = folder.join(format!("p{index}.parquet"));
            Box::new(move || {
                let rows_of_file = (count - index.min(count)).div_ceil(FILES);
                write(&path, &schema(), rows_of_file, |first, count| {
                    batch(rows, keys, index, first, count)
                })
            })
        };
        side_by_side((0..FILES).map(file).collect())
    })
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new(
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ),
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]))
}

/// Makes the rows `first..first + count` of a file.
fn batch(rows: u64, keys: u64, file: u64, first: u64, count: u64) -> Result<RecordBatch> {
    let mut rng = SmallRng::seed_from_u64(file << 48 | first);
    let mut times = Vec::with_capacity(count as usize);
    let mut all_keys = Vec::with_capacity(count as usize);
    let mut values = Vec::with_capacity(count as usize);
    for row in first..first + count {
        let place_us =
            (u128::from(row * FILES + file) * u128::from(SPAN_US) / u128::from(rows)) as u64;
        let back_us = rng.random_range(0..DISORDER_US);
        times.push(START_US + place_us.saturating_sub(back_us) as i64);
        all_keys.push(rng.random_range(0..keys) as i64);
        // 16 bits before and after the point: sums are exact in any order, so that the results of
        // two programs can be compared bit by bit.
        values.push(f64::from(rng.random::<u32>()) / 65_536.0);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(times)),
        Arc::new(Int64Array::from(all_keys)),
        Arc::new(Float64Array::from(values)),
    ];
    RecordBatch::try_new(schema(), columns).during("making a batch")
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;

    use super::*;

    #[test]
    fn rows_are_repeatable_and_within_the_disorder() {
        let make = || batch(10_000, 7, 1, 0, 5_000).unwrap();
        assert_eq!(make(), make());
        let mut highest = i64::MIN;
        for ts in make()
            .column(0)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
        {
            highest = highest.max(*ts);
            assert!(*ts >= START_US && highest - ts <= DISORDER_US as i64);
        }
        assert!(highest < START_US + SPAN_US as i64);
    }
    #[test]
    fn the_first_rows_are_those_of_the_whole() {
        let whole = batch(1_000_000, 7, 0, 0, 500).unwrap();
        let first = batch(1_000_000, 7, 0, 0, 20).unwrap();
        assert_eq!(whole.slice(0, 20), first);
    }
}
