//! First rows: each key passes once, through crashes and at any parallelism.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use rand::Rng;

use super::DistinctFactory;
use crate::operator::Extent;
use crate::updating::fold::Fold;
use crate::updating::harness::{
    Fleet, Row, World, assert_folds_to, batch_of, column, parallelisms, random_row, rows_schema,
    seeds,
};

fn fleet(keys: &[&str], ttl: Option<Duration>, parallelism: usize) -> Fleet {
    let keys: Vec<_> = keys.iter().map(|key| column(key)).collect();
    let factory = DistinctFactory::try_new(rows_schema(), keys.clone(), ttl).unwrap();
    Fleet::new(Arc::new(factory), keys, parallelism, 7)
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn each_key_passes_once() {
    seeds(|seed, rng| {
        let (mut before, mut after) = parallelisms(seed);
        let crash_at = rng.random_range(0..3);
        let mut fleet = fleet(&["user", "word"], None, before);
        let mut world = World::default();
        let mut passed = Fold::try_new(&rows_schema()).unwrap();
        for step in 0..rng.random_range(3..12) {
            let rows = rng.random_range(1..10);
            fleet.rows(&world.inserts(rng, rows));
            match if step == crash_at {
                2
            } else {
                rng.random_range(0..4)
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
                passed.apply(&batch).unwrap();
            }
            let mut first: Vec<Row> = Vec::new();
            for row in &world.live {
                if !first
                    .iter()
                    .any(|f| (f.user, f.word) == (row.user, row.word))
                {
                    first.push(row.clone());
                }
            }
            let at = format!("SEED={seed} step {step}");
            assert_folds_to(&passed, &[batch_of(&first)], &at);
        }
    });
}

#[test]
fn a_key_that_no_row_has_had_for_long_passes_again() {
    seeds(|seed, rng| {
        let mut fleet = fleet(&["user"], Some(Duration::from_secs(10)), 1);
        let row = batch_of(&[random_row(rng)]);
        fleet.rows(&row);
        fleet.tick(8_000_000);
        if seed % 2 == 0 {
            fleet.restart(1);
            // The new subtask learns the time with its first tick.
            fleet.tick(8_000_000);
        }
        fleet.rows(&row);
        fleet.tick(12_000_000);
        if seed % 2 == 0 {
            fleet.restart(2);
            fleet.tick(12_000_000);
        }
        fleet.rows(&row);
        assert_eq!(rows(&fleet.take()), 1, "touched in between");
        fleet.tick(30_000_000);
        fleet.snapshot(Extent::Changes);
        fleet.rows(&row);
        assert_eq!(rows(&fleet.take()), 1, "expired");
    });
}

#[test]
fn a_snapshot_of_changes_holds_new_keys_only() {
    seeds(|_, rng| {
        let mut fleet = fleet(&["user", "amount", "price"], None, 1);
        let batch = World::default().inserts(rng, 50);
        fleet.rows(&batch);
        fleet.snapshot(Extent::Changes);
        let keys = rows(&fleet.chains.concat());
        assert_eq!(keys, rows(&fleet.take()));
        fleet.rows(&batch);
        fleet.snapshot(Extent::Changes);
        assert_eq!(rows(&fleet.chains.concat()), keys);
        fleet.snapshot(Extent::All);
        assert_eq!(rows(&fleet.chains.concat()), keys);
        let saved = fleet.chains.concat();
        concat_batches(&saved[0].schema(), &saved).unwrap();
    });
}

#[test]
fn keys_that_do_not_fit_pass_once() {
    let mut files = 0;
    let keys = ["user", "age", "amount", "price", "money", "word", "flag"];
    for seed in 0..8 {
        println!("SEED={seed}");
        let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
        let (mut before, mut after) = parallelisms(seed);
        let memory = (before.max(after)) * [16 << 10, 48 << 10][rng.random_range(0..2)];
        let mut fleet = fleet(&keys, None, before).with_memory(memory);
        let (mut world, mut passed) = (World::default(), Fold::try_new(&rows_schema()).unwrap());
        for step in 0..15 {
            fleet.rows(&world.inserts(&mut rng, 100));
            // Some come once more.
            let again: Vec<Row> = (0..20)
                .map(|_| world.live[rng.random_range(0..world.live.len())].clone())
                .collect();
            fleet.rows(&batch_of(&again));
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
        files += fleet.files;
        fleet.end();
        for batch in fleet.take() {
            passed.apply(&batch).unwrap();
        }
        let mut first: Vec<Row> = Vec::new();
        for row in world.live {
            if !first.contains(&row) {
                first.push(row);
            }
        }
        assert_folds_to(&passed, &[batch_of(&first)], &format!("SEED={seed}"));
    }
    assert!(files > 0, "nothing was put on disk");
}
