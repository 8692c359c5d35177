//! Whatever the batches, watermarks, restarts, subtasks and memory: the verdicts are those of models used directly.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMillisecondType;
use rand::Rng;
use rand::rngs::StdRng;

use super::series::{
    Row, batch, column, expected, in_order, input, random_rows, random_spec, spec, texts,
};
use crate::anomaly::{AnomalyFactory, AnomalySpec, SortedJudge};
use crate::operator::{Extent, OperatorFactory};
use crate::updating::harness::{Fleet, parallelisms, seeds};
use weir_anomaly::Method;

const DISORDER: i64 = 20;

pub(super) fn fleet(spec: &AnomalySpec, parallelism: usize, batch_rows: usize) -> Fleet {
    let factory = AnomalyFactory::try_new(spec.clone(), 1, None, "rows".into()).unwrap();
    Fleet::new(
        Arc::new(factory),
        spec.partition.clone(),
        parallelism,
        batch_rows,
    )
}

pub(super) fn said(batches: &[RecordBatch]) -> BTreeMap<i64, Option<String>> {
    let all: Vec<_> = batches.iter().flat_map(texts).collect();
    let said: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(all.len(), said.len(), "a row came out twice");
    said
}

/// The latest watermark that no later row is behind.
fn watermark(rest: &[Row]) -> Option<i64> {
    let times = rest.iter().filter_map(|row| row.time);
    times.min().map(|time| time * 1_000)
}

/// Feeds rows in random batches with watermarks, disturbed by snapshots and restarts.
pub(super) fn feed(
    fleet: &mut Fleet,
    rng: &mut StdRng,
    rows: &[Row],
    (mut now, mut next): (usize, usize),
) {
    let mut at = 0;
    while at < rows.len() {
        let end = (at + rng.random_range(1..60)).min(rows.len());
        fleet.rows(&batch(&rows[at..end]));
        at = end;
        if let Some(time) = watermark(&rows[at..]).filter(|_| rng.random_bool(0.4)) {
            fleet.watermark(time - rng.random_range(0..3_000));
        }
        match rng.random_range(0..10) {
            0 => fleet.snapshot(Extent::Changes),
            1 => fleet.snapshot(Extent::All),
            2 => {
                fleet.restart(next);
                std::mem::swap(&mut now, &mut next);
            }
            _ => {}
        }
    }
    fleet.end();
}

#[test]
fn verdicts_are_those_of_models_used_directly() {
    seeds(|seed, rng| {
        let spec = random_spec(rng);
        let rows = random_rows(rng, 400, DISORDER);
        let (before, after) = parallelisms(seed);
        let batch_rows = [1, 7, 100][rng.random_range(0..3)];
        let mut fleet = fleet(&spec, before, batch_rows);
        feed(&mut fleet, rng, &rows, (before, after));
        assert_eq!(fleet.late(), 0);
        assert_eq!(said(&fleet.take()), expected(&spec, &rows), "SEED={seed}");
    });
}

#[test]
fn verdicts_are_the_same_when_models_and_rows_are_on_disk() {
    let files = Cell::new(0);
    seeds(|seed, rng| {
        if seed % 4 != 0 {
            return;
        }
        let mut spec = spec(Method::Ewma, &["a"]);
        spec.partition = vec![column("key"), column("b")];
        let mut rows = random_rows(rng, 1_500, 200);
        // Many keys: two thousand models of a kilobyte.
        for row in &mut rows {
            row.b = Some(f64::from(rng.random_range(0..400)));
        }
        let (before, after) = parallelisms(seed);
        let memory = before.max(after) * (60 << 10);
        let mut fleet = fleet(&spec, before, 50).with_memory(memory);
        feed(&mut fleet, rng, &rows, (before, after));
        files.set(files.get() + fleet.files);
        let mut answers = BTreeMap::new();
        for b in 0..400 {
            let of: Vec<Row> = rows
                .iter()
                .filter(|r| r.b == Some(f64::from(b)))
                .cloned()
                .collect();
            answers.extend(expected(&spec, &of));
        }
        assert_eq!(said(&fleet.take()), answers, "SEED={seed}");
    });
    assert!(files.get() > 0, "nothing was put on disk");
}

#[test]
fn sorted_rows_have_the_same_verdicts() {
    seeds(|seed, rng| {
        let spec = random_spec(rng);
        let rows = random_rows(rng, 300, DISORDER);
        let untimed = rows.iter().filter(|row| row.time.is_none()).cloned();
        let mut sorted: Vec<Row> = untimed.chain(in_order(&spec, &rows)).collect();
        sorted.sort_by_key(|row| row.key);
        let mut judge = SortedJudge::try_new(spec.clone()).unwrap().anew();
        let size = rng.random_range(1..50);
        let judged: Vec<_> = sorted
            .chunks(size)
            .map(|rows| judge.judge(&batch(rows)).unwrap())
            .collect();
        assert_eq!(said(&judged), expected(&spec, &rows), "SEED={seed}");
    });
}

#[test]
fn rows_come_out_in_order_and_only_when_they_are_due() {
    seeds(|_, rng| {
        let spec = random_spec(rng);
        let rows = random_rows(rng, 200, DISORDER);
        let mut fleet = fleet(&spec, 1, 16);
        let (mut at, mut low) = (0, i64::MIN);
        while at < rows.len() {
            let end = (at + rng.random_range(1..40)).min(rows.len());
            fleet.rows(&batch(&rows[at..end]));
            assert!(
                fleet
                    .take()
                    .iter()
                    .all(|b| b.column(2).null_count() == b.num_rows())
            );
            at = end;
            let Some(time) = watermark(&rows[at..]) else {
                continue;
            };
            fleet.watermark(time);
            let schema = fleet_schema(&spec);
            let given = concat_batches(&schema, &fleet.take()).unwrap();
            let times = given.column(2).as_primitive::<TimestampMillisecondType>();
            for given in times.values() {
                assert!(
                    *given >= low && given * 1_000 < time,
                    "{low} {given} {time}"
                );
                low = *given;
            }
        }
    });
}

fn fleet_schema(spec: &AnomalySpec) -> arrow::datatypes::SchemaRef {
    AnomalyFactory::try_new(spec.clone(), 1, None, "rows".into())
        .unwrap()
        .schema()
}

#[test]
fn late_rows_are_counted_and_not_learned_from() {
    seeds(|_, rng| {
        let spec = spec(Method::Ewma, &["a"]);
        let mut rows = random_rows(rng, 300, DISORDER);
        let (mut late, mut edge) = (Vec::new(), i64::MIN);
        let mut fleet = fleet(&spec, 2, 10);
        for number in 0..rows.len() {
            if let Some(time) = rows[number].time
                && time * 1_000 < edge
            {
                late.push(rows[number].number);
            }
            fleet.rows(&batch(&rows[number..=number]));
            if rng.random_bool(0.1)
                && let Some(time) = rows[number].time
            {
                fleet.watermark(time * 1_000);
                edge = edge.max(time * 1_000);
            }
            if rng.random_bool(0.02) {
                fleet.restart(2);
            }
        }
        fleet.end();
        assert_eq!(fleet.late(), late.len() as u64);
        rows.retain(|row| !late.contains(&row.number));
        assert_eq!(said(&fleet.take()), expected(&spec, &rows));
    });
}

#[test]
fn one_series_without_keys_goes_on_over_a_restart() {
    seeds(|_, rng| {
        let mut spec = random_spec(rng);
        spec.partition = Vec::new();
        let mut rows = random_rows(rng, 200, DISORDER);
        rows.iter_mut().for_each(|row| row.key = None);
        let mut fleet = fleet(&spec, 1, 10);
        feed(&mut fleet, rng, &rows, (1, 1));
        assert_eq!(said(&fleet.take()), expected(&spec, &rows));
    });
}

#[test]
fn a_series_goes_on_when_more_input_comes_in_a_later_run() {
    let spec = spec(Method::Ewma, &["a"]);
    let rows: Vec<Row> = (0..200)
        .map(|number| Row {
            number,
            key: Some("a"),
            time: Some(number),
            a: Some((number % 5) as f64),
            b: None,
        })
        .collect();
    let mut fleet = fleet(&spec, 1, 10);
    fleet.rows(&batch(&rows[..100]));
    fleet.end();
    fleet.restart(1);
    // What was judged before the end is not due again.
    fleet.rows(&batch(&rows[90..]));
    fleet.end();
    assert_eq!(fleet.late(), 10);
    assert_eq!(said(&fleet.take()), expected(&spec, &rows));
    assert_eq!(
        input().fields().len() + 1,
        fleet_schema(&spec).fields().len()
    );
}
