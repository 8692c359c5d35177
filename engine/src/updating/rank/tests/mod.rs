//! First rows per partition, against sorting all rows anew.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use rand::Rng;
use rand::rngs::StdRng;

use super::{RankFactory, RankSpec};
use crate::changelog::changelog_schema;
use crate::error::Kind;
use crate::operator::{Extent, OperatorFactory};
use crate::updating::fold::Fold;
use crate::updating::harness::{
    Fleet, Row, World, assert_folds_to, batch_of, column, parallelisms, rows_schema, seeds,
};

/// Per user by amount descending, nulls last, then price; the rest of the order is the row itself.
fn spec(changelog: bool, rows: u64, rank: bool) -> RankSpec {
    let descending = SortOptions::new(true, false);
    RankSpec {
        input: if changelog {
            changelog_schema(&rows_schema())
        } else {
            rows_schema()
        },
        partition: vec![column("user")],
        order: vec![
            (column("amount"), descending),
            (column("price"), SortOptions::default()),
        ],
        rows,
        rank: rank.then(|| Arc::new(Field::new("rank", DataType::UInt64, false))),
        ttl: None,
    }
}

/// NULL last, or first.
fn compare<T: PartialOrd>(a: Option<T>, b: Option<T>, nulls_first: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap(),
        (None, None) => Ordering::Equal,
        (None, Some(_)) if nulls_first => Ordering::Less,
        (Some(_), None) if nulls_first => Ordering::Greater,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
    }
}

fn order(a: &Row, b: &Row) -> Ordering {
    compare(b.amount, a.amount, true)
        .then_with(|| compare(a.price, b.price, true))
        .then_with(|| compare(a.user, b.user, true))
        .then_with(|| compare(a.age, b.age, true))
        .then_with(|| compare(a.amount, b.amount, true))
        .then_with(|| compare(a.money, b.money, true))
        .then_with(|| compare(a.word, b.word, true))
        .then_with(|| compare(a.flag, b.flag, true))
}

/// Sorts each user's rows, or leaves them as they arrived, and numbers the first.
fn answer(spec: &RankSpec, live: &[Row]) -> Vec<RecordBatch> {
    let mut users: Vec<_> = live.iter().map(|row| row.user).collect();
    users.sort_unstable();
    users.dedup();
    let mut batches = Vec::new();
    for user in users {
        let mut rows: Vec<Row> = live.iter().filter(|r| r.user == user).cloned().collect();
        if !spec.order.is_empty() {
            rows.sort_by(order);
        }
        rows.truncate(usize::try_from(spec.rows).unwrap());
        let mut columns = batch_of(&rows).columns().to_vec();
        let schema = RankFactory::try_new(spec.clone()).unwrap().schema();
        let schema = crate::changelog::rows_schema(&schema);
        if spec.rank.is_some() {
            let ranks: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=rows.len() as u64));
            columns.push(ranks);
        }
        batches.push(RecordBatch::try_new(schema, columns).unwrap());
    }
    batches
}

fn check(seed: u64, rng: &mut StdRng, spec: &RankSpec, changelog: bool) {
    let factory = Arc::new(RankFactory::try_new(spec.clone()).unwrap());
    let mut fold = Fold::try_new(&factory.schema()).unwrap();
    let (mut before, mut after) = parallelisms(seed);
    let crash_at = rng.random_range(0..4);
    let batch_rows = [1, 3, 100][rng.random_range(0..3)];
    let keys = spec.partition.clone();
    let mut fleet = Fleet::new(factory, keys, before, batch_rows);
    let mut world = World::default();
    for step in 0..rng.random_range(4..12) {
        let rows = rng.random_range(1..20);
        let batch = if changelog {
            world.changes(rng, rows, 0.5)
        } else {
            world.inserts(rng, rows)
        };
        fleet.rows(&batch);
        match if step == crash_at {
            2
        } else {
            rng.random_range(0..6)
        } {
            0 => fleet.snapshot(Extent::Changes),
            1 => fleet.snapshot(Extent::All),
            2 => {
                fleet.restart(after);
                std::mem::swap(&mut before, &mut after);
            }
            _ => {}
        }
        for batch in fleet.take() {
            fold.apply(&batch).unwrap();
        }
        let at = format!("SEED={seed} step {step}");
        assert_folds_to(&fold, &answer(spec, &world.live), &at);
    }
}

#[test]
fn first_rows_are_those_of_all_rows_sorted() {
    seeds(|seed, rng| {
        let (rows, rank) = (rng.random_range(1..5), rng.random_bool(0.5));
        check(seed, rng, &spec(false, rows, rank), false);
    });
}

#[test]
fn first_rows_of_a_changelog_are_those_of_all_rows_sorted() {
    seeds(|seed, rng| {
        let (rows, rank) = (rng.random_range(1..5), rng.random_bool(0.5));
        check(seed, rng, &spec(true, rows, rank), true);
    });
}

#[test]
fn without_an_order_the_first_to_arrive_stay() {
    seeds(|seed, rng| {
        let mut spec = spec(false, rng.random_range(1..4), rng.random_bool(0.5));
        spec.order = Vec::new();
        check(seed, rng, &spec, false);
    });
}

#[test]
fn a_partition_that_no_row_touches_is_forgotten() {
    let mut spec = spec(false, 1, false);
    spec.ttl = Some(Duration::from_secs(10));
    let factory = Arc::new(RankFactory::try_new(spec.clone()).unwrap());
    let mut fleet = Fleet::new(factory, spec.partition, 1, 10);
    let row = |amount| Row {
        user: Some("ann"),
        age: None,
        amount: Some(amount),
        price: None,
        money: None,
        word: None,
        flag: None,
    };
    let sent = |fleet: &mut Fleet, amount| {
        fleet.rows(&batch_of(&[row(amount)]));
        fleet
            .take()
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>()
    };
    assert_eq!(sent(&mut fleet, 9), 1);
    fleet.tick(9_000_000);
    assert_eq!(sent(&mut fleet, 3), 0, "it is not the greatest");
    fleet.tick(18_000_000);
    assert_eq!(sent(&mut fleet, 4), 0, "it was touched in between");
    fleet.restart(1);
    fleet.tick(40_000_000);
    assert_eq!(sent(&mut fleet, 5), 1, "nothing is known of it");
}

#[test]
fn too_many_rows_are_refused() {
    let error = RankFactory::try_new(spec(false, 1_000_000, false)).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.hint_text().is_some());
}

#[test]
fn rows_that_do_not_fit_give_the_same_first_rows() {
    let files = std::cell::Cell::new(0);
    seeds(|seed, rng| {
        if seed % 4 != 0 && std::env::var("SEED").is_err() {
            return;
        }
        let mut spec = spec(true, rng.random_range(1..5), rng.random_bool(0.5));
        let changelog = rng.random_bool(0.7);
        if !changelog {
            spec.input = rows_schema();
            spec.rows = 100;
        }
        let factory = Arc::new(RankFactory::try_new(spec.clone()).unwrap());
        let mut fold = Fold::try_new(&factory.schema()).unwrap();
        let (mut before, mut after) = parallelisms(seed);
        let memory = before.max(after) * [40 << 10, 80 << 10][rng.random_range(0..2)];
        let keys = spec.partition.clone();
        let mut fleet = Fleet::new(factory, keys, before, 50).with_memory(memory);
        let mut world = World::default();
        for step in 0..rng.random_range(10..20) {
            let rows = rng.random_range(1..80);
            let batch = if changelog {
                world.changes(rng, rows, 0.3)
            } else {
                world.inserts(rng, rows)
            };
            fleet.rows(&batch);
            match rng.random_range(0..8) {
                0 => fleet.snapshot(Extent::Changes),
                1 => fleet.snapshot(Extent::All),
                2 => {
                    fleet.restart(after);
                    std::mem::swap(&mut before, &mut after);
                }
                _ => fleet.tick(step * 200_000),
            }
        }
        files.set(files.get() + fleet.files);
        fleet.end();
        for batch in fleet.take() {
            fold.apply(&batch).unwrap();
        }
        assert_folds_to(&fold, &answer(&spec, &world.live), &format!("SEED={seed}"));
    });
    assert!(files.get() > 0, "nothing was put on disk");
}
