//! Random rows, and the naive answer to a join of them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::join::JoinKind;

pub(super) const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
];

/// Long, so that a few hundred rows do not fit in a small memory.
const NAMES: [&str; 2] = [
    "a, one of the names of rows, long enough that some hundred of them take a good part of what \
     a subtask may take in the tests that have little memory, so that it must put rows on disk",
    "b, one of the names of rows, long enough that some hundred of them take a good part of what \
     a subtask may take in the tests that have little memory, so that it must put rows on disk",
];

/// One row of either side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) time: Option<i64>,
    pub(super) key: Option<i64>,
    pub(super) name: &'static str,
    pub(super) value: i64,
}

/// Columns of a row.
pub(super) const COLUMNS: usize = 4;

/// What happens to a join.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Rows(usize, Vec<Row>),
    Watermark(i64),
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

pub(super) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub(super) fn input(side: usize) -> SchemaRef {
    let name = |name: &str| format!("{}_{name}", ["l", "r"][side]);
    Arc::new(Schema::new(vec![
        Field::new(name("time"), micros(), true),
        Field::new(name("key"), DataType::Int64, true),
        Field::new(name("name"), DataType::Utf8, false),
        Field::new(name("value"), DataType::Int64, false),
    ]))
}

pub(super) fn batch(side: usize, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter(
            rows.iter().map(|r| r.time),
        )),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.key))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.name))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.value))),
    ];
    RecordBatch::try_new(input(side), columns).unwrap()
}

pub(super) fn random_row(rng: &mut StdRng, time: i64, keys: i64) -> Row {
    Row {
        time: rng.random_bool(0.97).then_some(time),
        key: rng.random_bool(0.93).then(|| rng.random_range(0..keys)),
        name: NAMES[rng.random_range(0..2)],
        value: rng.random_range(0..6),
    }
}

/// The text of the columns of a row; a missing row is all NULL.
fn row_cells(row: Option<&Row>) -> Vec<String> {
    let Some(row) = row else {
        return vec![String::new(); COLUMNS];
    };
    let text = |value: Option<i64>| value.map_or_else(String::new, |v| v.to_string());
    vec![
        text(row.time),
        text(row.key),
        row.name.to_owned(),
        row.value.to_string(),
    ]
}

/// All rows of a join of two lists, as cells of both sides.
pub(super) fn answer(
    kind: JoinKind,
    left: &[Row],
    right: &[Row],
    matches: impl Fn(&Row, &Row) -> bool,
) -> Vec<Vec<String>> {
    let both = |l: Option<&Row>, r: Option<&Row>| [row_cells(l), row_cells(r)].concat();
    let mut rows = Vec::new();
    for l in left {
        let found: Vec<&Row> = right.iter().filter(|r| matches(l, r)).collect();
        match kind {
            JoinKind::LeftSemi if !found.is_empty() => rows.push(both(Some(l), None)),
            JoinKind::LeftAnti if found.is_empty() => rows.push(both(Some(l), None)),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            _ => {
                rows.extend(found.iter().map(|r| both(Some(l), Some(r))));
                if found.is_empty() && matches!(kind, JoinKind::Left | JoinKind::Full) {
                    rows.push(both(Some(l), None));
                }
            }
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        rows.extend(alone.map(|r| both(None, Some(r))));
    }
    rows
}
