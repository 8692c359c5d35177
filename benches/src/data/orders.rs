//! Orders of ten columns, about one in a thousand of which breaks each rule.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Input, cached, side_by_side, write};
use crate::failure::{During, Result};

/// Files, each with a part of the rows.
const FILES: u64 = 2;
/// One row of so many breaks a rule.
const BROKEN: u32 = 1_000;
/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;
/// The codes that the rules know.
const COUNTRIES: [&str; 10] = ["DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "CH", "SE"];
const STATES: [&str; 4] = ["new", "paid", "sent", "done"];

/// Gives so many orders.
pub(crate) fn input(rows: u64) -> Result<Input> {
    cached(&format!("orders-v1-{rows}"), |folder| {
        let file = |index: u64| -> Box<dyn FnOnce() -> Result<()> + Send> {
            let path = folder.join(format!("o{index}.parquet"));
            Box::new(move || {
                let count = (rows - index.min(rows)).div_ceil(FILES);
                write(&path, &schema(), count, |first, count| {
                    batch(index, first, count)
                })
            })
        };
        side_by_side((0..FILES).map(file).collect())
    })
}

fn schema() -> Arc<Schema> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("email", DataType::Utf8),
        field("amount", DataType::Float64),
        field("quantity", DataType::Int32),
        field("country", DataType::Utf8),
        field("status", DataType::Utf8),
        field("created", time.clone()),
        field("updated", time),
        field("sku", DataType::Utf8),
        field("total", DataType::Float64),
    ]))
}

/// Makes the rows `first..first + count` of a file.
fn batch(file: u64, first: u64, count: u64) -> Result<RecordBatch> {
    let mut rng = SmallRng::seed_from_u64(file << 48 | first);
    let rows = count as usize;
    let mut ids = Vec::with_capacity(rows);
    let (mut emails, mut skus) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut amounts, mut totals) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut quantities = Vec::with_capacity(rows);
    let (mut countries, mut states) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut created, mut updated) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in first..first + count {
        let number = row * FILES + file;
        let mut broken = || rng.random_ratio(1, BROKEN);
        // A key that comes twice, and one that is missing.
        let repeats = broken() && number >= FILES;
        ids.push((!broken()).then_some(if repeats { number - FILES } else { number } as i64));
        let at = if broken() { "#" } else { "@" };
        emails.push(format!(
            "user{}{at}example{}.org",
            number % 1_000_003,
            number % 97
        ));
        skus.push(if broken() {
            "AB-12".to_owned()
        } else {
            format!("AB-{:04}", number % 10_000)
        });
        let quantity = if broken() { 0 } else { (number % 9 + 1) as i32 };
        let amount = if broken() {
            -1.0
        } else {
            (number % 800_000) as f64 / 80.0
        };
        let off = if broken() { 1.0 } else { 0.0 };
        quantities.push(quantity);
        amounts.push(amount);
        totals.push(amount * f64::from(quantity) + off);
        countries.push(if broken() {
            "XX"
        } else {
            COUNTRIES[(number % 10) as usize]
        });
        states.push(if broken() {
            "lost"
        } else {
            STATES[(number % 4) as usize]
        });
        let time = START_US + number as i64 * 1_000;
        created.push(time);
        updated.push(if broken() {
            time - 1
        } else {
            time + 60_000_000
        });
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringArray::from(emails)),
        Arc::new(Float64Array::from(amounts)),
        Arc::new(Int32Array::from(quantities)),
        Arc::new(StringArray::from(countries)),
        Arc::new(StringArray::from(states)),
        Arc::new(TimestampMicrosecondArray::from(created)),
        Arc::new(TimestampMicrosecondArray::from(updated)),
        Arc::new(StringArray::from(skus)),
        Arc::new(Float64Array::from(totals)),
    ];
    RecordBatch::try_new(schema(), columns).during("making a batch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_repeatable() {
        let make = || batch(1, 0, 5_000).unwrap();
        assert_eq!(make(), make());
    }
}
