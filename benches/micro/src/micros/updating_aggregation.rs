//! Aggregation without a window: count and sum per key as a changelog.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_physical_expr::expressions::col;
use weir_engine::operator::OperatorFactory as _;
use weir_engine::updating::aggregate::{AggregateFactory, AggregateSpec, Emit, OutputColumn};

use crate::input;
use crate::subtask::{context, feed};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 16;
const KEYS: i64 = 10_000;

pub(super) const BY_KEY: Micro = Micro {
    name: "updating_aggregation",
    prepare,
};

fn prepare() -> Result<Prepared> {
    let batches = input::measurements(ROWS, KEYS)?;
    // A batch changes each of its keys once: a row for a new key, two for one that is known.
    let (mut known, mut changes) = (BTreeSet::new(), 0);
    for batch in &batches {
        let keys: BTreeSet<i64> = input::each(std::slice::from_ref(batch))
            .map(|row| row.1)
            .collect();
        changes += 2 * keys.len() - keys.difference(&known).count();
        known.extend(keys);
    }
    Ok(Prepared::new(ROWS, changes, move || {
        let factory = AggregateFactory::try_new(spec()?)?;
        let mut chain = [factory.create(&context())?];
        let batches = batches.clone();
        Ok(Box::new(move || feed(&mut chain, &batches)))
    }))
}

fn spec() -> Result<AggregateSpec> {
    let schema = input::measurement();
    Ok(AggregateSpec {
        keys: vec![(col("key", &schema)?, "key".to_owned())],
        aggregates: input::count_and_sum()?,
        filters: vec![None, None],
        input: schema,
        output: vec![
            OutputColumn::Key(0),
            OutputColumn::Aggregate(0),
            OutputColumn::Aggregate(1),
        ],
        schema: Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("count", DataType::Int64, true),
            Field::new("sum", DataType::Float64, true),
        ])),
        emit: Emit::OnUpdate,
        ttl: None,
    })
}
