//! The first three rows of each key by value, as a changelog.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion_physical_expr::expressions::col;
use weir_engine::message::EventTime;
use weir_engine::operator::OperatorFactory as _;
use weir_engine::updating::rank::{RankFactory, RankSpec};

use crate::input;
use crate::subtask::{context, feed};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 16;
const KEYS: i64 = 1_000;
const FIRST: usize = 3;

pub(super) const FIRST_THREE: Micro = Micro {
    name: "rank",
    prepare,
};

fn prepare() -> Result<Prepared> {
    let batches = input::measurements(ROWS, KEYS)?;
    let changes = changes(&batches);
    Ok(Prepared::new(ROWS, changes, move || {
        let mut chain = [RankFactory::try_new(spec()?)?.create(&context())?];
        let batches = batches.clone();
        Ok(Box::new(move || feed(&mut chain, &batches)))
    }))
}

fn spec() -> Result<RankSpec> {
    let schema = input::measurement();
    Ok(RankSpec {
        partition: vec![col("key", &schema)?],
        order: vec![(col("value", &schema)?, SortOptions::new(true, false))],
        rows: FIRST as u64,
        rank: None,
        ttl: None,
        input: schema,
    })
}

/// How many rows come to be among the first and how many cease to be, batch by batch.
fn changes(batches: &[(RecordBatch, EventTime)]) -> usize {
    let mut best: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let mut changes = 0;
    for (batch, _) in batches {
        let keys = batch.column(1).as_primitive::<Int64Type>().values();
        let values = batch.column(2).as_primitive::<Float64Type>().values();
        let mut touched: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (key, value) in keys.iter().zip(values) {
            let before = best.get(key).cloned().unwrap_or_default();
            touched.entry(*key).or_insert(before).push(*value);
        }
        for (key, mut values) in touched {
            values.sort_by(|a, b| b.total_cmp(a));
            values.truncate(FIRST);
            let old = best.insert(key, values.clone()).unwrap_or_default();
            changes += values.iter().filter(|value| !old.contains(value)).count();
            changes += old.iter().filter(|value| !values.contains(value)).count();
        }
    }
    changes
}
