//! Rows on hold against an independent answer in plain code: for random rows in batches of random sizes,
//! with checkpoints, crashes, other parallelism and little memory in between.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal, lit};
use rand::Rng;
use rand::rngs::StdRng;

use super::*;
use crate::message::EventTime;
use crate::operator::Extent;
use crate::rules::check::Ask;
use crate::rules::keyed::Spread;
use crate::rules::tests::harness::{grade, rule};
use crate::rules::{Action, Judge, Rule, Step, Switch};
use crate::updating::harness::{Fleet, parallelisms, seeds};

/// The length of windows.
const SIZE: i64 = 10;
/// The sum of a pane that holds is greater.
const LEAST: i64 = 12;

#[derive(Debug, Clone)]
struct Row {
    id: i64,
    key: Option<i64>,
    value: Option<i64>,
    time: Option<i64>,
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", time, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let column =
        |of: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    let times = rows.iter().map(|row| row.time);
    RecordBatch::try_new(
        schema(),
        vec![
            column(|row| Some(row.id)),
            column(|row| row.key),
            column(|row| row.value),
            Arc::new(times.collect::<TimestampMicrosecondArray>()),
        ],
    )
    .unwrap()
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

fn number(value: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
}

fn binary(
    left: Arc<dyn PhysicalExpr>,
    op: Op,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

/// `EXPECT (sum(value) > 12) PER (key)`.
fn gate(over: Over, unknown_violates: bool, bounded: bool) -> Gate {
    let schema = schema();
    let sum = AggregateExprBuilder::new(sum_udaf(), vec![column("value")]);
    let sum = Arc::new(
        sum.schema(Arc::clone(&schema))
            .alias("sum")
            .build()
            .unwrap(),
    );
    let groups = vec![
        Field::new("key", DataType::Int64, true),
        Field::new("sum", DataType::Int64, true),
    ];
    let output = vec![
        Field::new("key", DataType::Int64, true),
        Field::new("m0", DataType::Boolean, true),
        Field::new("m1", DataType::Int64, true),
    ];
    let total: Arc<dyn PhysicalExpr> = Arc::new(Column::new("sum", 1));
    let exprs: Vec<Arc<dyn PhysicalExpr>> = vec![
        Arc::new(Column::new("key", 0)),
        binary(Arc::clone(&total), Op::Gt, number(LEAST)),
        total,
    ];
    let measure = Measure {
        arguments: sum.expressions(),
        function: sum,
        filter: None,
    };
    let measures = Measures::try_new(
        vec![column("key")],
        vec![measure],
        Arc::new(Schema::new(groups)),
        (exprs, Arc::new(Schema::new(output))),
    );
    let first = if over.is_window() { 3 } else { 1 };
    Gate {
        over,
        measures: Arc::new(measures.unwrap()),
        check: Check {
            name: "rule".to_owned(),
            text: "EXPECT (sum(value) > 12)".to_owned(),
            ask: Ask::Truth(first),
            consequence: Consequence::Quarantine("table".into()),
            unknown_violates,
            grade: grade(),
            switch: Switch::On,
            columns: vec!["value".to_owned()],
            observed: vec![("sum(value)".to_owned(), first + 1)],
        },
        bounded,
    }
}

fn windows() -> Over {
    Over::Window {
        time: column("time"),
        spec: WindowSpec::tumble(SIZE).unwrap(),
        every: false,
    }
}

/// The subtasks of a gate over rows whose value is not 7.
fn fleet(gate: Gate, parallelism: usize) -> Fleet {
    let rule = Rule {
        when: Some(binary(column("value"), Op::IsDistinctFrom, number(7))),
        unknown_violates: gate.check.unknown_violates,
        ..rule(
            &gate.check.name,
            lit(true),
            Action::Quarantine("table".into()),
        )
    };
    let rule = Rule {
        gate: Some(Arc::new(gate)),
        ..rule
    };
    let judge = Arc::new(Judge::try_new("table", &[rule], &schema(), Some("time")).unwrap());
    let steps = Step::all(&judge, &schema(), None);
    let [step] = steps.as_slice() else {
        panic!("one rule is one step");
    };
    let Spread::By(keys) = step.spread() else {
        panic!("its rows are spread by their segments");
    };
    Fleet::new(step.factory("table", false), keys, parallelism, 5)
}

fn random_row(rng: &mut StdRng, id: i64, time: i64) -> Row {
    let mut maybe = |value, share| rng.random_bool(share).then_some(value);
    let (key, value) = (maybe(id % 4, 0.9), maybe((id * 7) % 11, 0.85));
    Row {
        id,
        key,
        value,
        time: maybe(time, 0.95),
    }
}

fn is_about(row: &Row) -> bool {
    row.value != Some(7)
}

/// Whether the rows of a pane hold the rule.
fn holds<'a>(rows: impl Iterator<Item = &'a Row>, unknown_violates: bool) -> bool {
    let values: Vec<i64> = rows.filter_map(|row| row.value).collect();
    match values.is_empty() {
        true => !unknown_violates,
        false => values.iter().sum::<i64>() > LEAST,
    }
}

/// The ids of rows that hold the rule with those of their pane, of the rows with a pane.
fn published(rows: &[(i64, Row)], unknown_violates: bool) -> BTreeSet<i64> {
    let mut panes: BTreeMap<(i64, Option<i64>), Vec<&Row>> = BTreeMap::new();
    for (pane, row) in rows {
        panes.entry((*pane, row.key)).or_default().push(row);
    }
    let held = panes.values();
    let held = held.filter(|rows| holds(rows.iter().copied(), unknown_violates));
    held.flatten().map(|row| row.id).collect()
}

fn ids(batches: &[RecordBatch]) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for batch in batches {
        for id in batch.column(0).as_primitive::<Int64Type>().values() {
            assert!(found.insert(*id), "row {id} came twice");
        }
    }
    found
}

/// Fails when a row on hold was let go behind a watermark that had gone on.
fn assert_not_behind(out: &[RecordBatch], watermark: i64) {
    for batch in out {
        let values = batch.column(2).as_primitive::<Int64Type>();
        let times = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let about = values.is_null(row) || values.value(row) != 7;
            if about && times.is_valid(row) {
                assert!(times.value(row) >= watermark, "a row behind {watermark}");
            }
        }
    }
}

#[test]
fn windows_go_where_plain_code_sends_them() {
    let (files, late) = (Cell::new(0), Cell::new(0));
    seeds(|seed, rng| {
        let (before, after) = parallelisms(seed);
        let unknown = rng.random_bool(0.5);
        let mut fleet = fleet(gate(windows(), unknown, false), before);
        if rng.random_bool(0.4) {
            fleet = fleet.with_memory(24 << 10);
        }
        fleet.watermark(0);
        let (mut watermark, mut said, mut next) = (0, 0, 0);
        let (mut held, mut expected) = (Vec::new(), BTreeSet::new());
        let (mut late_rows, mut out) = (0, Vec::new());
        for _ in 0..rng.random_range(1..40) {
            let count = rng.random_range(0..40);
            let rows: Vec<Row> = (next..next + count)
                .map(|id| {
                    let time = watermark + rng.random_range(-4..30);
                    random_row(rng, id, time)
                })
                .collect();
            next += count;
            fleet.rows(&batch(&rows));
            for row in rows {
                match row.time {
                    Some(time) if is_about(&row) => {
                        let start = time.div_euclid(SIZE) * SIZE;
                        match start + SIZE <= watermark {
                            true => late_rows += 1,
                            false => held.push((start, row)),
                        }
                    }
                    _ => drop(expected.insert(row.id)),
                }
            }
            match rng.random_range(0..8) {
                0 => fleet.snapshot(Extent::Changes),
                1 => fleet.snapshot(Extent::All),
                2 => fleet.restart(if rng.random() { after } else { before }),
                _ => {}
            }
            if rng.random_bool(0.6) {
                watermark += rng.random_range(0..25);
                fleet.watermark(watermark);
            }
            let given = fleet.take();
            assert_not_behind(&given, said);
            for operator in &fleet.operators {
                said = operator.output_watermark(EventTime(watermark)).0;
            }
            out.extend(given);
        }
        fleet.end();
        out.extend(fleet.take());
        expected.extend(published(&held, unknown));
        assert_eq!(ids(&out), expected, "{before} -> {after}");
        late.set(late.get() + late_rows);
        files.set(files.get() + fleet.files);
    });
    assert!(files.get() > 0, "no rows were on disk");
    assert!(late.get() > 0, "no row was late");
}

#[test]
fn a_batch_of_a_stream_is_what_comes_between_barriers() {
    seeds(|seed, rng| {
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(gate(Over::Batch, true, false), before);
        if rng.random_bool(0.3) {
            fleet = fleet.with_memory(24 << 10);
        }
        let (mut epoch, mut next, mut out) = (0, 0, Vec::new());
        let (mut held, mut expected) = (Vec::new(), BTreeSet::new());
        for _ in 0..rng.random_range(1..30) {
            let count = rng.random_range(0..30);
            let rows: Vec<Row> = (next..next + count)
                .map(|id| random_row(rng, id, id))
                .collect();
            next += count;
            fleet.rows(&batch(&rows));
            for row in rows {
                match is_about(&row) {
                    true => held.push((epoch, row)),
                    false => drop(expected.insert(row.id)),
                }
            }
            if rng.random_bool(0.4) {
                match rng.random_bool(0.3) {
                    true => fleet.restart(after),
                    false => fleet.snapshot(Extent::Changes),
                }
                epoch += 1;
                out.extend(fleet.take());
                let mut due = expected.clone();
                due.extend(published(&held, true));
                assert_eq!(
                    ids(&out),
                    due,
                    "all that is decided is let go before the barrier"
                );
            }
        }
        fleet.end();
        out.extend(fleet.take());
        expected.extend(published(&held, true));
        assert_eq!(ids(&out), expected, "{before} -> {after}");
    });
}

#[test]
fn a_batch_of_a_job_that_ends_is_all_of_it() {
    let files = Cell::new(0);
    seeds(|seed, rng| {
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(gate(Over::Table, false, true), before);
        if rng.random_bool(0.5) {
            fleet = fleet.with_memory(24 << 10);
        }
        let (mut next, mut out) = (0, Vec::new());
        let (mut held, mut expected) = (Vec::new(), BTreeSet::new());
        for _ in 0..rng.random_range(1..30) {
            let count = rng.random_range(0..30);
            let rows: Vec<Row> = (next..next + count)
                .map(|id| random_row(rng, id, id))
                .collect();
            next += count;
            fleet.rows(&batch(&rows));
            for row in rows {
                match is_about(&row) {
                    true => held.push((0, row)),
                    false => drop(expected.insert(row.id)),
                }
            }
            match rng.random_range(0..6) {
                0 => fleet.snapshot(Extent::Changes),
                1 => fleet.restart(after),
                _ => {}
            }
            out.extend(fleet.take());
            assert_eq!(ids(&out), expected, "rows wait for the end");
        }
        fleet.end();
        out.extend(fleet.take());
        expected.extend(published(&held, false));
        assert_eq!(ids(&out), expected, "{before} -> {after}");
        files.set(files.get() + fleet.files);
    });
    assert!(files.get() > 0, "no rows were on disk");
}
