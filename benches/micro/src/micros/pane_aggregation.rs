//! Windowed aggregation: count and sum per key and ten seconds, in one phase, and in the two around a
//! shuffle.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_physical_expr::expressions::col;
use weir_engine::operator::OperatorFactory as _;
use weir_engine::window::{
    AggregateSpec, Assign, Firing, OutputColumn, Phase, WindowAggregateFactory, WindowSpec,
};

use crate::input;
use crate::subtask::{context, feed};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 18;
const KEYS: i64 = 1_000;

pub(super) const ONE_PHASE: Micro = Micro {
    name: "pane_aggregation",
    prepare: || prepare(&[Phase::Single]),
};

pub(super) const TWO_PHASES: Micro = Micro {
    name: "pane_aggregation_2",
    prepare: || prepare(&[Phase::Local, Phase::Final]),
};

fn prepare(phases: &'static [Phase]) -> Result<Prepared> {
    let batches = input::measurements(ROWS, KEYS)?;
    let groups: BTreeSet<(i64, i64)> = input::each(&batches)
        .map(|(time, key)| (time / input::WINDOW, key))
        .collect();
    Ok(Prepared::new(ROWS, groups.len(), move || {
        let made = phases.iter().map(|phase| {
            let factory = WindowAggregateFactory::try_new(spec()?, *phase)?;
            Ok(factory.create(&context())?)
        });
        let mut chain = made.collect::<Result<Vec<_>>>()?;
        let batches = batches.clone();
        Ok(Box::new(move || feed(&mut chain, &batches)))
    }))
}

fn spec() -> Result<AggregateSpec> {
    let schema = input::measurement();
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Ok(AggregateSpec {
        assign: Assign::Time {
            column: 0,
            spec: WindowSpec::tumble(input::WINDOW)?,
        },
        keys: vec![(col("key", &schema)?, "key".to_owned())],
        aggregates: input::count_and_sum()?,
        filters: vec![None, None],
        input: schema,
        output: vec![
            OutputColumn::WindowStart,
            OutputColumn::Key(0),
            OutputColumn::Aggregate(0),
            OutputColumn::Aggregate(1),
        ],
        schema: Arc::new(Schema::new(vec![
            Field::new("window_start", time, false),
            Field::new("key", DataType::Int64, true),
            Field::new("count", DataType::Int64, true),
            Field::new("sum", DataType::Float64, true),
        ])),
        firing: Firing::default(),
        sources: "micro".into(),
    })
}
