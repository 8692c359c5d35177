//! The last row of each key against plain code: random rows, watermarks, checkpoints, crashes, other
//! parallelism and little memory.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, lit};
use rand::Rng;

use super::*;
use crate::rules::keyed::{Ask, Keyed, KeyedFactory};
use crate::rules::tests::harness::rule;
use crate::rules::{Action, Judge, Rule};
use crate::updating::harness::{Fleet, parallelisms, seeds};

type Row = (i64, Option<i64>, i64);

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, true),
        Field::new("time", time, false),
    ]))
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

fn fleet(by_time: bool, micros: Option<i64>, parallelism: usize) -> Fleet {
    let time = by_time.then(|| column("time"));
    let keyed = Keyed {
        key: vec![column("key")],
        nulls_equal: false,
        order: None,
        ask: Ask::UniqueLast(UniqueLast { time, micros }),
    };
    let rule = Rule {
        keyed: Some(keyed),
        ..rule("rule", lit(true), Action::Drop)
    };
    let judge = Arc::new(Judge::try_new("table", &[rule], &schema(), None).unwrap());
    let stages = Stage::all(&judge, &schema());
    let [stage] = stages.as_slice() else {
        panic!("one rule is one stage");
    };
    let factory = KeyedFactory::new("table", Arc::clone(stage), false);
    Fleet::new(Arc::new(factory), vec![column("key")], parallelism, 7)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>());
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.2)).collect();
    RecordBatch::try_new(schema(), vec![ids, keys, Arc::new(times)]).unwrap()
}

/// The rows that no other one of their key follows.
fn expected(rows: &[Row], by_time: bool, micros: Option<i64>) -> BTreeSet<i64> {
    let place = |row: &Row| (if by_time { row.2 } else { 0 }, row.0);
    let follows = |row: &Row, other: &Row| {
        row.1 == other.1
            && place(other) > place(row)
            && micros.is_none_or(|micros| place(other).0 - place(row).0 <= micros)
    };
    let stays = |row: &&Row| row.1.is_none() || !rows.iter().any(|other| follows(row, other));
    rows.iter().filter(stays).map(|row| row.0).collect()
}

#[test]
fn the_last_row_of_a_key_stays() {
    let files = Cell::new(0);
    seeds(|seed, rng| {
        let (by_time, micros) = match seed % 3 {
            0 => (false, None),
            1 => (true, None),
            _ => (true, Some(10)),
        };
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(by_time, micros, before);
        if rng.random_bool(0.4) {
            fleet = fleet.with_memory(12 << 10);
        }
        let (mut all, mut out, mut watermark) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rng.random_range(1..40) {
            let from = i64::try_from(all.len()).unwrap();
            let rows: Vec<Row> = (from..from + rng.random_range(0..30))
                .map(|id| {
                    let key = rng.random_range(0..80);
                    let key = rng.random_bool(0.95).then_some(key);
                    (id, key, watermark + rng.random_range(0..20))
                })
                .collect();
            fleet.rows(&batch(&rows));
            all.extend(rows);
            match rng.random_range(0..10) {
                0 => fleet.snapshot(Extent::Changes),
                1 => fleet.snapshot(Extent::All),
                2 => fleet.restart(if rng.random() { after } else { before }),
                3..6 => {
                    watermark += rng.random_range(0..12);
                    fleet.watermark(watermark);
                }
                _ => {}
            }
            out.extend(fleet.take());
        }
        fleet.end();
        out.extend(fleet.take());
        let found: Vec<i64> = out
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        let once: BTreeSet<i64> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "a row came twice");
        assert_eq!(once, expected(&all, by_time, micros), "{before} -> {after}");
        files.set(files.get() + fleet.files);
    });
    assert!(files.get() > 0, "no state was on disk");
}

#[test]
fn a_row_waits_no_longer_than_another_may_follow() {
    let mut fleet = fleet(true, Some(10), 1);
    let ids = |fleet: &mut Fleet| -> Vec<i64> {
        let out = fleet.take();
        let ids = out.iter().flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        });
        ids.collect()
    };
    fleet.rows(&batch(&[
        (1, Some(1), 100),
        (2, Some(1), 110),
        (3, Some(2), 100),
        (4, None, 100),
    ]));
    assert_eq!(ids(&mut fleet), [4]);
    fleet.watermark(110);
    assert_eq!(ids(&mut fleet), [] as [i64; 0]);
    assert_eq!(fleet.operators[0].output_watermark(EventTime(110)).0, 100);
    fleet.watermark(111);
    assert_eq!(ids(&mut fleet), [3]);
    // Too late to wait, and followed by a row that still waits.
    fleet.rows(&batch(&[(5, Some(1), 100), (6, Some(3), 99)]));
    assert_eq!(ids(&mut fleet), [6]);
    fleet.watermark(121);
    assert_eq!(ids(&mut fleet), [2]);
}
