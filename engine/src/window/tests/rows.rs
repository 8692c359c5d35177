//! Random rows, and a naive answer to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::window::WindowKind;

/// One row of the tests' input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) ts: Option<i64>,
    pub(super) key: Option<i64>,
    pub(super) name: &'static str,
    pub(super) value: Option<f64>,
    pub(super) flag: bool,
}

/// What happens to an operator.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
}

pub(super) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(super) fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", micros(), true),
        Field::new("key", DataType::Int64, true),
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, false),
    ]))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter(
            rows.iter().map(|r| r.ts),
        )),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.key))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.name))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.value))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.flag)))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// The seeds to try: `SEED`, or some.
pub(super) fn seeds(count: u64) -> Range<u64> {
    match std::env::var("SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

pub(super) fn rng(test: &str, seed: u64) -> StdRng {
    println!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}

pub(super) fn random_row(rng: &mut StdRng, ts: i64, keys: i64) -> Row {
    Row {
        ts: Some(ts),
        key: rng.random_bool(0.95).then(|| rng.random_range(0..keys)),
        name: ["a", "b", "c"][rng.random_range(0..3)],
        // Whole numbers: sums are then the same in any order.
        value: rng
            .random_bool(0.9)
            .then(|| f64::from(rng.random_range(-50..50_i32))),
        flag: rng.random_bool(0.4),
    }
}

/// Rows that are behind by less than the bound that the watermarks keep; batches of random sizes.
pub(super) fn random_steps(
    rng: &mut StdRng,
    rows: usize,
    batch_max: usize,
    keys: i64,
) -> Vec<Step> {
    let bound = rng.random_range(1..400_i64);
    let pace = rng.random_range(1..30_i64);
    let mut now = rng.random_range(-3_000..1_000_i64);
    let (mut steps, mut pending, mut high) = (Vec::new(), Vec::new(), i64::MIN);
    let mut size = rng.random_range(1..=batch_max);
    for _ in 0..rows {
        now += rng.random_range(0..=pace);
        if rng.random_bool(0.002) {
            now += rng.random_range(0..5_000);
        }
        high = high.max(now);
        let ts = now - rng.random_range(0..bound);
        pending.push(random_row(rng, ts, keys));
        if pending.len() >= size {
            steps.push(Step::Rows(std::mem::take(&mut pending)));
            size = rng.random_range(1..=batch_max);
            if rng.random_bool(0.5) {
                steps.push(Step::Watermark(high - bound));
            }
        }
    }
    steps.push(Step::Rows(pending));
    steps
}

pub(super) fn random_kind(rng: &mut StdRng) -> (WindowKind, i64) {
    let part = rng.random_range(1..120_i64);
    let times = rng.random_range(1..12_i64);
    let kind = match rng.random_range(0..4) {
        0 => WindowKind::Tumble { size: part * times },
        1 => WindowKind::Cumulate {
            step: part,
            size: part * times,
        },
        2 => WindowKind::Hop {
            slide: part,
            size: part * times,
        },
        _ => WindowKind::Hop {
            slide: part,
            size: part * times + rng.random_range(0..part),
        },
    };
    (kind, rng.random_range(-500..500))
}

/// The windows that hold a time, found by trying all that are near.
pub(super) fn windows_of(kind: WindowKind, offset: i64, ts: i64) -> BTreeSet<(i64, i64)> {
    let (pitch, size, parts) = match kind {
        WindowKind::Tumble { size } => (size, size, vec![size]),
        WindowKind::Hop { slide, size } => (slide, size, vec![size]),
        WindowKind::Cumulate { step, size } => {
            (size, size, (1..=size / step).map(|n| n * step).collect())
        }
    };
    let near = (ts - offset) / pitch;
    let back = size / pitch + 2;
    (near - back..=near + 2)
        .map(|n| offset + n * pitch)
        .flat_map(|start| parts.iter().map(move |length| (start, start + length)))
        .filter(|(start, end)| *start <= ts && ts < *end)
        .collect()
}

/// What [`usual`] must give for rows in windows, as text; keys are `key`, `name` or none.
pub(super) fn answer(rows: &[(Row, (i64, i64))], keys: &[&str]) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for (row, window) in rows {
        let key: Vec<String> = keys
            .iter()
            .map(|key| match *key {
                "key" => row.key.map_or_else(String::new, |k| k.to_string()),
                _ => row.name.to_owned(),
            })
            .collect();
        groups.entry((*window, key)).or_default().push(row);
    }
    let text = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:?}"));
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(((start, end), key), rows)| {
            let values: Vec<f64> = rows.iter().filter_map(|r| r.value).collect();
            let flagged: Vec<f64> = rows
                .iter()
                .filter(|r| r.flag)
                .filter_map(|r| r.value)
                .collect();
            let some = |values: &[f64], value: f64| (!values.is_empty()).then_some(value);
            let sum: f64 = values.iter().sum();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let names: BTreeSet<_> = rows.iter().map(|r| r.name).collect();
            let mut line = vec![time(start), time(end)];
            line.extend(key);
            line.push(rows.len().to_string());
            line.push(values.len().to_string());
            line.push(text(some(&values, sum)));
            line.push(text(some(&values, least)));
            line.push(text(some(&values, most)));
            line.push(text(some(&values, sum / values.len() as f64)));
            line.push(names.len().to_string());
            line.push(text(some(&flagged, flagged.iter().sum())));
            line.join(" | ")
        })
        .collect();
    lines.sort();
    lines
}

fn time(micros: i64) -> String {
    let array = TimestampMicrosecondArray::from(vec![micros]);
    array_value_to_string(&array, 0).unwrap()
}

/// All rows in all of their windows.
pub(super) fn in_windows(steps: &[Step], kind: WindowKind, offset: i64) -> Vec<(Row, (i64, i64))> {
    let rows = steps.iter().flat_map(|step| match step {
        Step::Rows(rows) => rows.as_slice(),
        Step::Watermark(_) => &[],
    });
    rows.flat_map(|row| {
        let windows = row
            .ts
            .map(|ts| windows_of(kind, offset, ts))
            .unwrap_or_default();
        windows.into_iter().map(|window| (row.clone(), window))
    })
    .collect()
}

/// Rows as text, sorted.
pub(super) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let line = batch
                .columns()
                .iter()
                .map(|c| array_value_to_string(c, row).unwrap());
            lines.push(line.collect::<Vec<_>>().join(" | "));
        }
    }
    lines.sort();
    lines
}

/// Compares rows; names the first that differs, not all.
pub(super) fn same(found: &[String], expected: &[String], what: &str) {
    let pairs = found.iter().zip(expected).enumerate();
    let first = pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i).next();
    if first.is_some() || found.len() != expected.len() {
        let at = first.unwrap_or(found.len().min(expected.len()));
        let (count, wanted) = (found.len(), expected.len());
        let (found, expected) = (found.get(at), expected.get(at));
        panic!("{what}: {count} rows for {wanted}; row {at} is {found:?}, not {expected:?}");
    }
}
