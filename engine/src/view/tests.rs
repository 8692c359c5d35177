//! What is read from a view's snapshots is the view, at each epoch and through crashes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rand::Rng;
use rand::rngs::StdRng;

use datafusion_execution::memory_pool::GreedyMemoryPool;
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use super::{Room, Rows, Snapshot, ViewFactory, changes, difference};
use crate::changelog::{RowKind, changelog_schema, kinds};
use crate::operator::Extent;
use crate::updating::fold::Fold;
use crate::updating::harness::{
    Fleet, Row, World, assert_folds_to, batch_of, changes_of, column, parallelisms, random_row,
    rows_schema, seeds,
};

const KEY: [&str; 2] = ["user", "age"];

fn fleet(keyed: bool, changelog: bool, parallelism: usize) -> Fleet {
    let input = input(changelog);
    let key = if keyed { vec![0, 1] } else { Vec::new() };
    let factory = ViewFactory::try_new("v", &input, key).unwrap();
    let schema = rows_schema();
    let columns: Vec<_> = if keyed {
        KEY.iter().map(|name| column(name)).collect()
    } else {
        schema.fields().iter().map(|f| column(f.name())).collect()
    };
    Fleet::new(Arc::new(factory), columns, parallelism, 4)
}

fn input(changelog: bool) -> SchemaRef {
    if changelog {
        changelog_schema(&rows_schema())
    } else {
        rows_schema()
    }
}

/// Reads the view from all chains, in any order.
fn read(fleet: &Fleet) -> Fold {
    let in_memory = fold(&rows_of(fleet, &Room::of(&RuntimeEnv::default())));
    let little = rows_of(fleet, &little());
    let on_disk = fold(&little);
    assert_folds_to(&on_disk, &in_memory.batches(9).unwrap(), "read from disk");
    in_memory
}

/// Less memory than one row takes.
fn little() -> Room {
    let pool = Arc::new(GreedyMemoryPool::new(8));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build();
    Room::of(&runtime.unwrap())
}

fn rows_of(fleet: &Fleet, room: &Room) -> Rows {
    let mut snapshot = Snapshot::try_new(&rows_schema(), room).unwrap();
    for chain in fleet.chains.iter().rev() {
        snapshot
            .apply(Box::new(chain.clone().into_iter().map(Ok)))
            .unwrap();
    }
    snapshot.finish().unwrap()
}

fn fold(rows: &Rows) -> Fold {
    let mut fold = Fold::try_new(&rows_schema()).unwrap();
    for share in (0..rows.shares()).map(|at| rows.share(at).unwrap()) {
        let before = fold.len();
        for batch in share.batches(3).unwrap() {
            fold.apply(&batch).unwrap();
        }
        assert_eq!(fold.len() - before, share.len());
    }
    fold
}

/// Takes a snapshot, and what it says of the epoch.
fn epoch(fleet: &mut Fleet, extent: Extent) -> Vec<RecordBatch> {
    let before: Vec<usize> = fleet.chains.iter().map(Vec::len).collect();
    fleet.snapshot(extent);
    let mut found = Vec::new();
    for (chain, before) in fleet.chains.iter().zip(before) {
        let from = if extent == Extent::All { 0 } else { before };
        let file = chain[from..].iter().cloned().map(Ok).collect::<Vec<_>>();
        found.extend(changes(&rows_schema(), Box::new(file.into_iter())).map(Result::unwrap));
    }
    found
}

/// A changelog of at most one row per key.
fn keyed_changes(rng: &mut StdRng, live: &mut Vec<Row>, rows: usize) -> RecordBatch {
    let mut changes = Vec::new();
    for _ in 0..rows {
        let new = random_row(rng);
        let old = live
            .iter()
            .position(|row| (row.user, row.age) == (new.user, new.age))
            .map(|place| live.swap_remove(place));
        match old {
            Some(old) if rng.random_bool(0.3) => changes.push((old, RowKind::Delete)),
            Some(old) => {
                live.push(new.clone());
                changes.push((old, RowKind::UpdateBefore));
                changes.push((new, RowKind::UpdateAfter));
            }
            None => {
                live.push(new.clone());
                changes.push((new, RowKind::Insert));
            }
        }
    }
    changes_of(&changes)
}

fn check(
    seed: u64,
    rng: &mut StdRng,
    keyed: bool,
    changelog: bool,
    mut next: impl FnMut(&mut StdRng, &mut World) -> RecordBatch,
) {
    let (mut before, mut after) = parallelisms(seed);
    let crash_at = rng.random_range(0..3);
    let mut fleet = fleet(keyed, changelog, before);
    if rng.random_bool(0.5) {
        fleet = fleet.with_memory(rng.random_range(1..4_000));
    }
    let mut world = World::default();
    let mut subscriber = Fold::try_new(&rows_schema()).unwrap();
    for step in 0..rng.random_range(3..10) {
        for _ in 0..rng.random_range(0..3) {
            fleet.rows(&next(rng, &mut world));
        }
        let extent = if rng.random_bool(0.3) {
            Extent::All
        } else {
            Extent::Changes
        };
        for batch in epoch(&mut fleet, extent) {
            subscriber.apply(&batch).unwrap();
        }
        let expected = [batch_of(&world.live)];
        let at = format!("SEED={seed} step {step} {extent:?}");
        assert_folds_to(&read(&fleet), &expected, &at);
        assert_folds_to(&subscriber, &expected, &format!("{at} subscriber"));
        if step == crash_at || rng.random_bool(0.3) {
            fleet.restart(after);
            std::mem::swap(&mut before, &mut after);
            assert_folds_to(&read(&fleet), &expected, &format!("{at} restart"));
        }
    }
    assert!(fleet.take().is_empty(), "a view sends nothing on");
}

#[test]
fn rows_are_kept_as_often_as_they_come() {
    seeds(|seed, rng| {
        check(seed, rng, false, false, |rng, world| world.inserts(rng, 9));
    });
}

#[test]
fn a_changelog_is_folded() {
    seeds(|seed, rng| {
        check(seed, rng, false, true, |rng, world| {
            world.changes(rng, 9, 0.5)
        });
    });
}

#[test]
fn a_row_replaces_the_one_of_its_key() {
    seeds(|seed, rng| {
        check(seed, rng, true, true, |rng, world| {
            keyed_changes(rng, &mut world.live, 9)
        });
    });
}

#[test]
fn what_comes_and_goes_within_an_epoch_is_not_saved() {
    seeds(|_, rng| {
        let row = random_row(rng);
        let mut fleet = fleet(rng.random_bool(0.5), true, 1);
        let first = changes_of(&[(row.clone(), RowKind::Insert)]);
        fleet.rows(&first);
        fleet.snapshot(Extent::Changes);
        let mut other = row.clone();
        other.word = Some("other");
        fleet.rows(&changes_of(&[
            (row.clone(), RowKind::UpdateBefore),
            (other.clone(), RowKind::UpdateAfter),
            (other, RowKind::UpdateBefore),
            (row, RowKind::UpdateAfter),
        ]));
        assert!(epoch(&mut fleet, Extent::Changes).is_empty());
        assert!(epoch(&mut fleet, Extent::All).is_empty());
        assert_eq!(read(&fleet).len(), 1);
    });
}

#[test]
fn rows_beyond_memory_are_on_disk() {
    seeds(|seed, rng| {
        let keyed = seed % 2 == 0;
        let mut fleet = fleet(keyed, true, 2).with_memory(2_000);
        let mut world = World::default();
        for step in 0..6 {
            fleet.rows(&keyed_changes(rng, &mut world.live, 60));
            if step == 3 {
                fleet.restart(if seed % 3 == 0 { 2 } else { 3 });
            }
            let extent = if step == 5 {
                Extent::All
            } else {
                Extent::Changes
            };
            epoch(&mut fleet, extent);
            let at = format!("SEED={seed} step {step}");
            assert_folds_to(&read(&fleet), &[batch_of(&world.live)], &at);
        }
        assert!(fleet.described().contains("OnDisk"), "SEED={seed}");
    });
}

/// Whether the rows of two epochs are in memory or not.
#[test]
fn epochs_are_compared_share_by_share() {
    seeds(|seed, rng| {
        let mut fleet = fleet(true, true, 2);
        let mut world = World::default();
        let large = || Room::of(&RuntimeEnv::default());
        fleet.rows(&keyed_changes(rng, &mut world.live, 30));
        fleet.snapshot(Extent::All);
        let rooms = [large(), little()];
        let before: Vec<_> = (0..4).map(|i| rows_of(&fleet, &rooms[i % 2])).collect();
        fleet.rows(&keyed_changes(rng, &mut world.live, 30));
        fleet.snapshot(Extent::Changes);
        for (i, before) in before.into_iter().enumerate() {
            let mut rows = fold(&before);
            let after = rows_of(&fleet, &rooms[i / 2]);
            for share in difference(before, after, 7).unwrap() {
                for (batches, kind) in share
                    .unwrap()
                    .iter()
                    .zip([RowKind::Delete, RowKind::Insert])
                {
                    for batch in batches {
                        let mut columns = batch.columns().to_vec();
                        columns.push(kinds(kind, batch.num_rows()));
                        let schema = changelog_schema(&rows_schema());
                        rows.apply(&RecordBatch::try_new(schema, columns).unwrap())
                            .unwrap();
                    }
                }
            }
            let at = format!("SEED={seed} {i}");
            assert_folds_to(&rows, &[batch_of(&world.live)], &at);
        }
    });
}
