//! Rules over many rows: windows in which no row came, and what a restart goes on from.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::harness;
use crate::dead_letter::{DeadLetters, MemoryStore};
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Operator, OperatorFactory, Output};
use crate::rules::{Ask, Check, ChecksFactory, ChecksSpec, Consequence, Grade, Switch};

const LENGTH: i64 = 60_000_000;

fn schema() -> SchemaRef {
    let time =
        |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        time("window_start"),
        time("window_end"),
        Field::new("holds", DataType::Boolean, true),
        Field::new("rows", DataType::Int64, true),
    ]))
}

/// Windows by their number, each with rows.
fn windows(all: &[(&str, i64)]) -> RecordBatch {
    let time = |after: i64| -> ArrayRef {
        let times = all.iter().map(|(_, number)| (number + after) * LENGTH);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times))
    };
    let keys: StringArray = all.iter().map(|(key, _)| Some(*key)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        time(0),
        time(1),
        Arc::new(BooleanArray::from(vec![true; all.len()])),
        Arc::new(Int64Array::from(vec![3; all.len()])),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn none() -> RecordBatch {
    let zero: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![""])),
        Arc::clone(&zero),
        zero,
        Arc::new(BooleanArray::from(vec![false])),
        Arc::new(Int64Array::from(vec![0])),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn factory() -> ChecksFactory {
    let check = Check {
        name: "enough".to_owned(),
        text: "EXPECT (count(*) > 0)".to_owned(),
        ask: Ask::Truth(3),
        consequence: Consequence::Warn,
        unknown_violates: false,
        grade: Grade {
            dimension: "volume".to_owned(),
            severity: "warning".to_owned(),
            weight: 1.0,
        },
        switch: Switch::On,
        columns: Vec::new(),
        observed: vec![("rows".to_owned(), 4)],
    };
    ChecksFactory::try_new(ChecksSpec {
        table: "orders".to_owned(),
        scope: "every",
        input: schema(),
        segments: vec![0],
        window: Some((1, 2)),
        bounded: false,
        every: Some((LENGTH, none())),
        baselines: Vec::new(),
        checks: vec![check],
    })
    .unwrap()
}

/// Verdicts and violations so far.
fn counts(letters: &DeadLetters) -> (u64, u64) {
    let tallies = letters.tallies();
    let rules = tallies.iter().flat_map(|table| &table.rules);
    rules.fold((0, 0), |(all, bad), rule| {
        (all + rule.evaluated, bad + rule.violated)
    })
}

fn saved(operator: &mut dyn Operator) -> Vec<RecordBatch> {
    let state = operator.snapshot(Extent::All, &mut Output::default());
    state.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn windows_without_rows_are_judged_once() {
    let (task, letters) = harness::task(&Arc::new(MemoryStore::default()));
    let factory = factory();
    let mut operator = factory.create(&task).unwrap();
    let out = &mut Output::default();
    operator
        .process(0, windows(&[("a", 0), ("b", 0)]), out)
        .unwrap();
    assert_eq!(counts(&letters), (2, 0));
    // "a" goes on after two windows; "b" is silent until the watermark.
    operator.process(0, windows(&[("a", 3)]), out).unwrap();
    assert_eq!(counts(&letters), (5, 2));
    operator.watermark(EventTime(4 * LENGTH), out).unwrap();
    assert_eq!(counts(&letters), (8, 5));
    operator
        .watermark(EventTime(4 * LENGTH + LENGTH / 2), out)
        .unwrap();
    assert_eq!(counts(&letters), (8, 5));
    let state = saved(&mut *operator);

    let mut restored = factory.create(&task).unwrap();
    let groups = KeyGroups::of(0, 1);
    restored
        .restore(&mut state.into_iter().map(Ok), &groups)
        .unwrap();
    restored.watermark(EventTime(5 * LENGTH), out).unwrap();
    assert_eq!(counts(&letters), (10, 7));
    restored.process(0, windows(&[("a", 5)]), out).unwrap();
    assert_eq!(counts(&letters), (11, 7));
}

#[test]
fn silence_is_told_by_the_clock() {
    let (task, letters) = harness::task(&Arc::new(MemoryStore::default()));
    let factory = factory();
    let mut operator = factory.create(&task).unwrap();
    let out = &mut Output::default();
    operator.process(0, windows(&[("a", 0)]), out).unwrap();
    let now = task.job.env.clock().now_micros();
    operator.tick(now + LENGTH / 2, out).unwrap();
    assert_eq!(counts(&letters), (1, 0));
    operator.tick(now + 2 * LENGTH, out).unwrap();
    assert_eq!(counts(&letters), (2, 1));
    operator.tick(now + 2 * LENGTH + 1, out).unwrap();
    assert_eq!(counts(&letters), (2, 1));
    operator.tick(now + 3 * LENGTH, out).unwrap();
    assert_eq!(counts(&letters), (3, 2));
}
