//! Updating joins: the changelog, folded, is the answer after every step.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{ArrayRef, Int8Array};
use arrow::record_batch::RecordBatch;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;

use super::harness::*;
use super::oracle::*;
use crate::changelog::{RowKind, changelog_schema, is_changelog};
use crate::join::{JoinKind, JoinSpec, UpdatingJoinFactory};
use crate::operator::{Extent, OperatorFactory};

/// Rows of a changelog.
fn changes(side: usize, rows: &[(Row, RowKind)]) -> RecordBatch {
    let plain: Vec<Row> = rows.iter().map(|(row, _)| row.clone()).collect();
    let mut columns = batch(side, &plain).columns().to_vec();
    let kinds = Int8Array::from_iter_values(rows.iter().map(|(_, kind)| kind.number()));
    columns.push(Arc::new(kinds) as ArrayRef);
    RecordBatch::try_new(changelog_schema(&input(side)), columns).unwrap()
}

fn spec(case: &Case, changelogs: [bool; 2]) -> JoinSpec {
    let mut spec = case.spec();
    for side in [0, 1] {
        if changelogs[side] {
            spec.inputs[side] = changelog_schema(&input(side));
        }
    }
    spec
}

/// Some rows that come, and some that go again; an update now and then.
fn random_changes(
    rng: &mut StdRng,
    live: &mut Vec<Row>,
    deletes: bool,
    keys: i64,
    size: usize,
) -> Vec<(Row, RowKind)> {
    let mut rows = Vec::new();
    while rows.len() < size {
        let gone = (deletes && !live.is_empty() && rng.random_bool(0.45))
            .then(|| live.swap_remove(rng.random_range(0..live.len())));
        let update = gone.is_some() && rng.random_bool(0.5);
        if let Some(row) = gone {
            let kind = if update {
                RowKind::UpdateBefore
            } else {
                RowKind::Delete
            };
            rows.push((row, kind));
            if !update {
                continue;
            }
        }
        let time = rng.random_range(0..5);
        let row = random_row(rng, time, keys);
        live.push(row.clone());
        let kind = if update {
            RowKind::UpdateAfter
        } else {
            RowKind::Insert
        };
        rows.push((row, kind));
    }
    rows
}

/// Folds results in; no row may go that is not there.
fn fold(sum: &mut BTreeMap<String, i64>, results: &[RecordBatch], updating: bool) {
    for batch in results {
        assert_eq!(is_changelog(batch.schema_ref()), updating);
    }
    for mut row in cells(results) {
        let kind = if updating {
            row.pop().unwrap()
        } else {
            "0".to_owned()
        };
        let line = row.join("|");
        let count = sum.entry(line.clone()).or_insert(0);
        *count += if kind == "0" { 1 } else { -1 };
        assert!(*count >= 0, "{line} goes before it comes");
        if *count == 0 {
            sum.remove(&line);
        }
    }
}

fn folded(sum: &BTreeMap<String, i64>) -> Vec<String> {
    let times = |(line, count): (&String, &i64)| {
        let count = usize::try_from(*count).unwrap();
        std::iter::repeat_n(line.clone(), count)
    };
    sum.iter().flat_map(times).collect()
}

#[test]
fn the_folded_changelog_is_the_answer_after_every_step() {
    for seed in seeds(72) {
        let mut rng = rng("the_folded_changelog_is_the_answer", seed);
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let case = Case::random(&mut rng, kind, false);
        let changelogs = [rng.random_bool(0.6), rng.random_bool(0.6)];
        let ttl = rng.random_bool(0.2).then_some(Duration::from_secs(3_600));
        let factory = UpdatingJoinFactory::try_new(spec(&case, changelogs), ttl).unwrap();
        let plain =
            matches!(kind, JoinKind::Inner | JoinKind::LeftSemi) && changelogs == [false; 2];
        assert_eq!(is_changelog(&factory.schema()), !plain);

        let subtasks = [1, 2, 3, 5][rng.random_range(0..4)];
        let batch_rows = rng.random_range(1..=100);
        let mut cluster = Cluster::new(factory, &case.on, subtasks, batch_rows, 1 << 30);
        let (keys, size_max) = (rng.random_range(1..12), rng.random_range(1..=60));
        let mut live = [Vec::new(), Vec::new()];
        let (mut sum, mut left) = (BTreeMap::new(), 250);
        while left > 0 {
            let side = rng.random_range(0..2);
            let size = rng.random_range(1..=size_max).min(left);
            left -= size;
            let rows = random_changes(&mut rng, &mut live[side], changelogs[side], keys, size);
            if changelogs[side] {
                cluster.batch(side, &changes(side, &rows));
            } else {
                cluster.batch(side, &changes(side, &rows).project(&[0, 1, 2, 3]).unwrap());
            }
            let results = cluster.out.take();
            assert!(results.iter().all(|batch| batch.num_rows() <= batch_rows));
            fold(&mut sum, &results, !plain);
            let rows = answer(kind, &live[0], &live[1], |l, r| case.matches(l, r));
            let what = format!("seed {seed} {case:?} {changelogs:?}");
            same(&folded(&sum), &case.lines(rows), &what);
            cluster.disturb(&mut rng);
        }
    }
}

#[test]
fn rows_that_do_not_fit_give_the_same_answer() {
    let mut files = 0;
    for seed in seeds(12) {
        let mut rng = rng("rows_that_do_not_fit", seed);
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let case = Case::random(&mut rng, kind, false);
        let changelogs = [rng.random_bool(0.6), rng.random_bool(0.6)];
        let factory = UpdatingJoinFactory::try_new(spec(&case, changelogs), None).unwrap();
        let plain = !is_changelog(&factory.schema());
        let subtasks = [1, 2, 3, 5][rng.random_range(0..4)];
        let batch_rows = rng.random_range(1..=100);
        let memory = subtasks * [48 << 10, 96 << 10][rng.random_range(0..2)];
        let mut cluster = Cluster::new(factory, &case.on, subtasks, batch_rows, memory);
        let (keys, size_max) = (rng.random_range(20..80), rng.random_range(1..=60));
        let mut live = [Vec::new(), Vec::new()];
        let (mut sum, mut left) = (BTreeMap::new(), 1_000);
        while left > 0 {
            let side = rng.random_range(0..2);
            let size = rng.random_range(1..=size_max).min(left);
            left -= size;
            let rows = random_changes(&mut rng, &mut live[side], changelogs[side], keys, size);
            let batch = changes(side, &rows);
            if changelogs[side] {
                cluster.batch(side, &batch);
            } else {
                cluster.batch(side, &batch.project(&[0, 1, 2, 3]).unwrap());
            }
            cluster.note_state();
            cluster.disturb(&mut rng);
            fold(&mut sum, &cluster.out.take(), !plain);
        }
        files += cluster.files;
        cluster.end();
        fold(&mut sum, &cluster.out.take(), !plain);
        let rows = answer(kind, &live[0], &live[1], |l, r| case.matches(l, r));
        let what = format!("seed {seed} {case:?} {changelogs:?}");
        same(&folded(&sum), &case.lines(rows), &what);
    }
    assert!(files > 0, "nothing was put on disk");
}

fn row(key: i64, value: i64) -> Row {
    Row {
        time: Some(1),
        key: Some(key),
        name: "a",
        value,
    }
}

fn inner() -> Case {
    Case {
        kind: JoinKind::Inner,
        on: vec![1],
        nulls_equal: false,
        filtered: false,
        output: vec![3, COLUMNS + 3],
    }
}

#[test]
fn rows_that_outlive_their_time_are_dropped_without_a_word() {
    let case = Case {
        kind: JoinKind::Left,
        ..inner()
    };
    let ttl = Some(Duration::from_micros(100));
    let factory = UpdatingJoinFactory::try_new(spec(&case, [true, false]), ttl).unwrap();
    let mut cluster = Cluster::new(factory, &case.on, 1, 100, 1 << 30);
    let start = i64::MAX / 2;
    cluster.tick(start);
    cluster.batch(0, &changes(0, &[(row(1, 10), RowKind::Insert)]));
    cluster.rows(1, &[row(1, 20)]);
    assert_eq!(lines(&cluster.out.take()), ["10|20|0", "10||0", "10||3"]);
    cluster.tick(start + 50);
    cluster.rows(1, &[row(1, 21)]);
    assert_eq!(lines(&cluster.out.take()), ["10|21|0"]);
    cluster.snapshot(Extent::Changes);
    cluster.tick(start + 120);
    cluster.snapshot(Extent::Changes);
    cluster.restart(1);
    assert!(cluster.out.take().is_empty());
    // The left row is gone, and so is the first right one.
    cluster.batch(0, &changes(0, &[(row(1, 10), RowKind::Delete)]));
    assert!(cluster.out.take().is_empty());
    cluster.batch(0, &changes(0, &[(row(1, 11), RowKind::Insert)]));
    assert_eq!(lines(&cluster.out.take()), ["11|21|0"]);
}

#[test]
fn rows_that_are_gone_do_not_pile_up() {
    let case = inner();
    let factory = UpdatingJoinFactory::try_new(spec(&case, [true, true]), None).unwrap();
    let mut cluster = Cluster::new(factory, &case.on, 1, 1_000, 1 << 30);
    let mut high = 0;
    cluster.rows_of(0, &[(row(1, 0), RowKind::Insert)]);
    for value in 0..12_000 {
        cluster.rows_of(
            0,
            &[
                (row(1, value), RowKind::UpdateBefore),
                (row(1, value + 1), RowKind::UpdateAfter),
            ],
        );
        let bytes = &cluster.context.metrics.state_bytes;
        high = high.max(bytes.load(std::sync::atomic::Ordering::Relaxed));
    }
    assert!(high < 2 << 20, "{high} bytes for one row");
    cluster.rows_of(1, &[(row(1, 7), RowKind::Insert)]);
    assert_eq!(lines(&cluster.out.take()), ["12000|7|0"]);
}

#[test]
fn a_deletion_of_what_is_not_there_is_an_error() {
    let case = inner();
    let factory = UpdatingJoinFactory::try_new(spec(&case, [true, true]), None).unwrap();
    let mut cluster = Cluster::new(factory, &case.on, 1, 100, 1 << 30);
    let batch = changes(0, &[(row(1, 1), RowKind::Delete)]);
    let out = &mut cluster.out;
    assert!(cluster.subtasks[0].process(0, batch, out).is_err());
}

impl Cluster {
    fn rows_of(&mut self, side: usize, rows: &[(Row, RowKind)]) {
        self.batch(side, &changes(side, rows));
    }
}
