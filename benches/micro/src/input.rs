//! Rows from a seed: measurements by key, and bids.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{col, lit};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_engine::message::EventTime;

use crate::subtask::BATCH_ROWS;
use crate::work::Result;

/// Microseconds by which rows come too early or too late.
const DISORDER: i64 = 2_000_000;
/// Microseconds from the first row to the last.
const SPAN: i64 = 200_000_000;
/// Microseconds of a window: 20 of them in the span.
pub(crate) const WINDOW: i64 = 10_000_000;

/// The columns of [`measurements`].
pub(crate) fn measurement() -> SchemaRef {
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

/// `count(*)` and `sum(value)` of measurements.
pub(crate) fn count_and_sum() -> Result<Vec<Arc<AggregateFunctionExpr>>> {
    let schema = measurement();
    let count = AggregateExprBuilder::new(count_udaf(), vec![lit(1_i64)]);
    let sum = AggregateExprBuilder::new(sum_udaf(), vec![col("value", &schema)?]);
    Ok(vec![
        Arc::new(count.schema(Arc::clone(&schema)).alias("count").build()?),
        Arc::new(sum.schema(schema).alias("sum").build()?),
    ])
}

/// Rows in about the order of their times, each batch with the watermark behind it.
pub(crate) fn measurements(rows: usize, keys: i64) -> Result<Vec<(RecordBatch, EventTime)>> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut batches = Vec::new();
    let mut high = 0;
    for first in (0..rows).step_by(BATCH_ROWS) {
        let numbers = first..rows.min(first + BATCH_ROWS);
        let due = |row: usize| SPAN * row as i64 / rows as i64;
        let times = numbers
            .clone()
            .map(|row| due(row) + rng.random_range(0..DISORDER));
        let times: Vec<i64> = times.collect();
        let key: Vec<i64> = numbers.clone().map(|_| rng.random_range(0..keys)).collect();
        let value: Vec<f64> = numbers.map(|_| rng.random()).collect();
        high = times.iter().copied().fold(high, i64::max);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(times)),
            Arc::new(Int64Array::from(key)),
            Arc::new(Float64Array::from(value)),
        ];
        let batch = RecordBatch::try_new(measurement(), columns)?;
        batches.push((batch, EventTime(high - DISORDER)));
    }
    Ok(batches)
}

/// Time, key and value of each measurement, for answers that are found in another way.
pub(crate) fn each(batches: &[(RecordBatch, EventTime)]) -> impl Iterator<Item = (i64, i64)> {
    batches.iter().flat_map(|(batch, _)| {
        let times = batch
            .column(0)
            .as_primitive::<TimestampMicrosecondType>()
            .values();
        let keys = batch.column(1).as_primitive::<Int64Type>().values();
        times.iter().copied().zip(keys.iter().copied())
    })
}

/// Bids as Nexmark has them: numbers, a time, short texts and a longer one.
pub(crate) fn bids(rows: usize) -> Result<Vec<RecordBatch>> {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut batches = Vec::new();
    for first in (0..rows).step_by(BATCH_ROWS) {
        let numbers = first..rows.min(first + BATCH_ROWS);
        let mut column = |from: i64, to: i64| -> ArrayRef {
            let values = numbers.clone().map(|_| rng.random_range(from..to));
            Arc::new(Int64Array::from_iter_values(values))
        };
        let (auction, bidder) = (column(1_000, 20_000), column(1_000, 5_000));
        let (price, channel) = (column(100, 10_000_000), column(0, 10_000));
        let channel = channel.as_primitive::<Int64Type>();
        let names = channel.values().iter().map(|number| match number % 4 {
            0 => "Google".to_owned(),
            1 => "Apple".to_owned(),
            _ => format!("channel-{number}"),
        });
        let urls = channel.values().iter();
        let urls = urls.map(|number| format!("https://www.nexmark.com/item/{number}/item.htm"));
        let times = numbers
            .clone()
            .map(|row| 1_700_000_000_000_000 + 100_000 * row as i64);
        let extra = numbers.clone().map(|_| {
            let length = rng.random_range(10..60);
            (0..length)
                .map(|_| char::from(rng.random_range(b'a'..=b'z')))
                .collect::<String>()
        });
        let columns: Vec<ArrayRef> = vec![
            auction,
            bidder,
            price,
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(StringArray::from_iter_values(urls)),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
            Arc::new(StringArray::from_iter_values(extra)),
        ];
        batches.push(RecordBatch::try_new(bid(), columns)?);
    }
    Ok(batches)
}

/// The columns of [`bids`].
pub(crate) fn bid() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let columns = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("date_time", time),
        ("extra", DataType::Utf8),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, false));
    Arc::new(Schema::new(fields.to_vec()))
}
