//! The last rows beside the same in plain code, with watermarks, barriers and restarts at random places.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use rand::Rng;
use rand::rngs::StdRng;

use super::*;
use crate::operator::Extent;
use crate::rules::gate::Measure;
use crate::updating::harness::{Fleet, seeds};

#[derive(Debug, Clone, Copy)]
struct Row {
    key: i64,
    value: i64,
    time: Option<i64>,
    /// Whether the rule is about it.
    when: Option<bool>,
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", time, true),
        Field::new("when", DataType::Boolean, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.time);
    let keys = rows.iter().map(|row| row.key);
    let values = rows.iter().map(|row| row.value);
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from_iter_values(keys)),
            Arc::new(Int64Array::from_iter_values(values)),
            Arc::new(times.collect::<TimestampMicrosecondArray>()),
            Arc::new(rows.iter().map(|row| row.when).collect::<BooleanArray>()),
        ],
    )
    .unwrap()
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

/// `sum(value) PER (key)`.
fn factory(reach: Reach, timed: bool, bounded: bool) -> Arc<LastFactory> {
    let sum = AggregateExprBuilder::new(sum_udaf(), vec![column("value")]);
    let sum = sum.schema(schema()).alias("sum").build().unwrap();
    let sum = Arc::new(sum);
    let groups = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("sum", DataType::Int64, true),
    ]));
    let output: Vec<Arc<dyn PhysicalExpr>> = vec![
        Arc::new(Column::new("key", 0)),
        Arc::new(Column::new("sum", 1)),
    ];
    let measure = Measure {
        arguments: sum.expressions(),
        function: sum,
        filter: None,
    };
    let measures = Measures::try_new(
        vec![column("key")],
        vec![measure],
        Arc::clone(&groups),
        (output, groups),
    );
    let spec = LastSpec {
        input: schema(),
        time: timed.then_some(2),
        when: Some(3),
        reach,
        measures: Arc::new(measures.unwrap()),
        bounded,
    };
    Arc::new(LastFactory::try_new(spec).unwrap())
}

/// The sum of each key over its last rows; `until` is the watermark, or none at the end.
fn expected(rows: &[Row], reach: Reach, timed: bool, until: Option<i64>) -> BTreeMap<i64, i64> {
    let mut order: Vec<(i64, Row)> = match timed {
        true => rows
            .iter()
            .filter_map(|row| Some((row.time?, *row)))
            .collect(),
        false => (0..).zip(rows.iter().copied()).collect(),
    };
    order.sort_by_key(|(place, row)| (*place, row.key, row.value));
    let newest = order.last().map_or(i64::MIN, |(place, _)| *place);
    let mut sums = BTreeMap::new();
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for (place, row) in order.iter().rev() {
        if row.when != Some(true) {
            continue;
        }
        let is_in = match reach {
            Reach::Rows(most) => *counts.entry(row.key).or_default() < most,
            Reach::Time(length) => {
                let until = until.unwrap_or(newest);
                (until - length + 1..=until).contains(place)
            }
            Reach::Epoch => true,
        };
        if is_in {
            *counts.entry(row.key).or_default() += 1;
            *sums.entry(row.key).or_default() += row.value;
        }
    }
    sums
}

fn random(rng: &mut StdRng, at: i64) -> Row {
    Row {
        key: rng.random_range(0..3),
        value: rng.random_range(0..50),
        time: rng.random_bool(0.95).then(|| at - rng.random_range(0..30)),
        when: [Some(true), Some(true), Some(false), None][rng.random_range(0..4)],
    }
}

/// What was told last of each key, and how many lines that were.
fn heard(fleet: &mut Fleet, known: &mut BTreeMap<i64, i64>) -> usize {
    let mut lines = 0;
    for rows in fleet.take() {
        let number = |at: usize| rows.column(at).as_primitive::<Int64Type>().clone();
        for (key, sum) in number(0).values().iter().zip(number(1).values()) {
            known.insert(*key, *sum);
            lines += 1;
        }
    }
    lines
}

#[test]
fn the_last_rows_are_those_of_plain_code() {
    seeds(|seed, rng| {
        let timed = rng.random_bool(0.7);
        let reach = match timed && rng.random_bool(0.5) {
            true => Reach::Time(rng.random_range(1..60)),
            false => Reach::Rows(rng.random_range(1..12)),
        };
        let mut fleet = Fleet::new(factory(reach, timed, false), vec![column("key")], 1, 8);
        let (mut rows, mut known) = (Vec::new(), BTreeMap::new());
        let (mut at, mut watermark) = (1000, None);
        for _ in 0..rng.random_range(1..40) {
            match rng.random_range(0..6) {
                0 => {
                    // Rows of before may still come late.
                    let times = rows.iter().filter_map(|row: &Row| row.time);
                    let newest = times.max().map(|newest| newest - rng.random_range(0..20));
                    watermark = watermark.max(newest);
                    if let Some(watermark) = watermark {
                        fleet.watermark(watermark);
                    }
                }
                1 => {
                    fleet.snapshot(Extent::Changes);
                    heard(&mut fleet, &mut known);
                    if watermark.is_some() || matches!(reach, Reach::Rows(_)) {
                        let due = expected(&rows, reach, timed, watermark);
                        for (key, sum) in due {
                            assert_eq!(known.get(&key), Some(&sum), "seed {seed}, {reach:?}");
                        }
                    }
                    fleet.snapshot(Extent::Changes);
                    assert_eq!(heard(&mut fleet, &mut known), 0, "nothing has changed");
                }
                2 => {
                    fleet.restart(1);
                    // The watermark comes again with the source.
                    if let Some(watermark) = watermark {
                        fleet.watermark(watermark);
                    }
                    heard(&mut fleet, &mut known);
                }
                _ => {
                    let count = rng.random_range(1..15);
                    let more: Vec<Row> = (0..count).map(|_| random(rng, at)).collect();
                    at += rng.random_range(0..20);
                    fleet.rows(&batch(&more));
                    rows.extend(more);
                }
            }
        }
        fleet.end();
        heard(&mut fleet, &mut known);
        for (key, sum) in expected(&rows, reach, timed, None) {
            assert_eq!(
                known.get(&key),
                Some(&sum),
                "seed {seed}, {reach:?} at the end"
            );
        }
        fleet.snapshot(Extent::Changes);
        assert_eq!(
            heard(&mut fleet, &mut known),
            0,
            "the end was the last word"
        );
    });
}

/// A job that ends says nothing before, and the same at the end.
#[test]
fn a_batch_job_is_measured_once() {
    seeds(|seed, rng| {
        let reach = [Reach::Rows(5), Reach::Time(25), Reach::Epoch][(seed % 3) as usize];
        let rows: Vec<Row> = (0..60).map(|at| random(rng, 1000 + at)).collect();
        let mut fleet = Fleet::new(factory(reach, true, true), vec![column("key")], 1, 8);
        let mut known = BTreeMap::new();
        for part in rows.chunks(7) {
            fleet.rows(&batch(part));
            fleet.snapshot(Extent::Changes);
            assert_eq!(heard(&mut fleet, &mut known), 0);
        }
        fleet.end();
        heard(&mut fleet, &mut known);
        let rows: Vec<Row> = match reach {
            // Without an order rows need no time.
            Reach::Epoch => rows
                .iter()
                .map(|row| Row {
                    time: Some(0),
                    ..*row
                })
                .collect(),
            _ => rows,
        };
        assert_eq!(
            known,
            expected(&rows, reach, true, None),
            "seed {seed}, {reach:?}"
        );
    });
}

#[test]
fn an_epoch_is_what_comes_between_two_barriers() {
    let mut fleet = Fleet::new(
        factory(Reach::Epoch, false, false),
        vec![column("key")],
        1,
        8,
    );
    let row = |key, value| Row {
        key,
        value,
        time: None,
        when: Some(true),
    };
    let mut known = BTreeMap::new();
    fleet.rows(&batch(&[row(1, 5), row(2, 7), row(1, 1)]));
    fleet.snapshot(Extent::Changes);
    heard(&mut fleet, &mut known);
    assert_eq!(known, BTreeMap::from([(1, 6), (2, 7)]));
    fleet.snapshot(Extent::Changes);
    assert_eq!(
        heard(&mut fleet, &mut known),
        0,
        "an epoch without rows is none"
    );
    fleet.rows(&batch(&[row(1, 5)]));
    fleet.end();
    assert_eq!(heard(&mut fleet, &mut known), 1);
    assert_eq!(known, BTreeMap::from([(1, 5), (2, 7)]));
}
