//! At every prefix, at any parallelism and through crashes, the folded changelog is the answer.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::harness::{answer, exchange, output, spec, usual};
use crate::operator::Extent;
use crate::updating::aggregate::{AggregateFactory, AggregateSpec, Emit};
use crate::updating::fold::Fold;
use crate::updating::harness::{Fleet, World, assert_folds_to, parallelisms, seeds};

fn check(seed: u64, rng: &mut StdRng, spec: &AggregateSpec, changelog: bool) {
    run(seed, rng, spec, changelog, None);
}

/// Four in ten rows of a changelog are gone again, or seven, so that groups die. There is at least
/// one crash. With little `memory` for each subtask results may come late; gives how many files
/// there were.
fn run(
    seed: u64,
    rng: &mut StdRng,
    spec: &AggregateSpec,
    changelog: bool,
    memory: Option<usize>,
) -> usize {
    let factory = Arc::new(AggregateFactory::try_new(spec.clone()).unwrap());
    let (mut before, mut after) = if spec.keys.is_empty() {
        (1, 1)
    } else {
        parallelisms(seed)
    };
    let crash_at = rng.random_range(0..4);
    let batch_rows = [1, 3, 100][rng.random_range(0..3)];
    let mut fleet = Fleet::new(factory, exchange(spec), before, batch_rows);
    if let Some(memory) = memory {
        fleet = fleet.with_memory(memory * before.max(after));
    }
    let (steps, most) = if memory.is_some() {
        (8..16, 80)
    } else {
        (4..9, 20)
    };
    let mut world = World::default();
    let mut fold = Fold::try_new(&output(spec)).unwrap();
    let gone = if rng.random_bool(0.5) { 0.4 } else { 0.7 };
    let mut now = 0;
    for step in 0..rng.random_range(steps) {
        let rows = rng.random_range(1..most);
        let batch = if changelog {
            world.changes(rng, rows, gone)
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
        if let Emit::Every(_) = spec.emit {
            if rng.random_bool(0.5) {
                continue;
            }
            now += 1_000_000;
            fleet.tick(now);
        }
        for batch in fleet.take() {
            fold.apply(&batch).unwrap();
        }
        if memory.is_some() {
            continue;
        }
        assert_folds_to(
            &fold,
            &answer(spec, &world.live),
            &format!("SEED={seed} step {step}"),
        );
    }
    fleet.end();
    for batch in fleet.take() {
        fold.apply(&batch).unwrap();
    }
    let expected = answer(spec, &world.live);
    assert_folds_to(&fold, &expected, &format!("SEED={seed} end"));
    fleet.files
}

#[test]
fn rows_give_the_batch_answer() {
    seeds(|seed, rng| check(seed, rng, &spec(&["age"], usual(), false), false));
}

#[test]
fn changelogs_give_the_batch_answer() {
    seeds(|seed, rng| check(seed, rng, &spec(&["user"], usual(), true), true));
}

#[test]
fn one_group_for_all_rows_gives_the_batch_answer() {
    seeds(|seed, rng| {
        let changelog = rng.random_bool(0.5);
        check(seed, rng, &spec(&[], usual(), changelog), changelog);
    });
}

#[test]
fn distinct_rows_of_a_changelog_give_the_batch_answer() {
    seeds(|seed, rng| check(seed, rng, &spec(&["user", "word"], Vec::new(), true), true));
}

#[test]
fn groups_that_do_not_fit_give_the_batch_answer() {
    let files = std::cell::Cell::new(0);
    seeds(|seed, rng| {
        // Each run takes long: some of them do.
        if seed % 6 != 0 && std::env::var("SEED").is_err() {
            return;
        }
        let changelog = rng.random_bool(0.5);
        let mut spec = spec(&["age", "word", "flag"], usual(), changelog);
        if rng.random_bool(0.3) {
            spec.emit = Emit::Every(Duration::from_secs(1));
        }
        let memory = [48 << 10, 96 << 10, 256 << 10][rng.random_range(0..3)];
        files.set(files.get() + run(seed, rng, &spec, changelog, Some(memory)));
    });
    assert!(files.get() > 0, "nothing was put on disk");
}

/// The state of a run with much memory goes to disk while it is taken back with little.
#[test]
fn state_that_does_not_fit_is_taken_back() {
    for seed in 0..4 {
        println!("SEED={seed}");
        let rng: &mut StdRng = &mut rand::SeedableRng::seed_from_u64(seed);
        let spec = spec(&["age", "word", "flag"], usual(), true);
        let factory = Arc::new(AggregateFactory::try_new(spec.clone()).unwrap());
        let (before, after) = parallelisms(seed);
        let mut fleet = Fleet::new(factory, exchange(&spec), before, 20);
        let (mut world, mut fold) = (World::default(), Fold::try_new(&output(&spec)).unwrap());
        for step in 0..8 {
            fleet.rows(&world.changes(rng, 60, 0.3));
            if step % 3 == 1 {
                fleet.snapshot(Extent::Changes);
            }
        }
        assert_eq!(fleet.files, 0);
        fleet.give(after * (64 << 10));
        fleet.restart(after);
        fleet.rows(&world.changes(rng, 60, 0.3));
        assert!(fleet.files > 0, "nothing was put on disk");
        fleet.restart(before);
        fleet.rows(&world.changes(rng, 60, 0.3));
        fleet.end();
        for batch in fleet.take() {
            fold.apply(&batch).unwrap();
        }
        let expected = answer(&spec, &world.live);
        assert_folds_to(&fold, &expected, &format!("SEED={seed}"));
    }
}

#[test]
fn results_at_intervals_give_the_batch_answer() {
    seeds(|seed, rng| {
        let changelog = rng.random_bool(0.5);
        let mut spec = spec(&["user"], usual(), changelog);
        spec.emit = Emit::Every(Duration::from_secs(1));
        check(seed, rng, &spec, changelog);
    });
}
