//! Streams joined with tables that end.

use rand::Rng;

use super::harness::*;
use super::oracle::*;
use crate::join::{JoinKind, StreamTableJoinFactory};
use crate::operator::{Extent, OperatorFactory};

#[test]
fn table_joins_give_the_naive_answer() {
    check(60, 1 << 30);
}

#[test]
fn tables_that_do_not_fit_give_the_naive_answer() {
    assert!(check(30, 24 << 10) > 0, "nothing was put on disk");
}

/// Gives how many files there were at once.
fn check(runs: u64, memory: usize) -> usize {
    let mut files = 0;
    let kinds = [
        (JoinKind::Inner, 1),
        (JoinKind::Left, 1),
        (JoinKind::LeftSemi, 1),
        (JoinKind::LeftAnti, 1),
        (JoinKind::Inner, 0),
        (JoinKind::Right, 0),
    ];
    for seed in seeds(runs) {
        let mut rng = rng("table_joins_give_the_naive_answer", seed);
        let (kind, table) = kinds[usize::try_from(seed).unwrap() % kinds.len()];
        let case = Case::random(&mut rng, kind, false);
        // The rows of one key must fit.
        let keys = rng.random_range(if memory < 1 << 20 { 20..60 } else { 1..60 });
        let mut sides = [Vec::new(), Vec::new()];
        for rows in &mut sides {
            let count = rng.random_range(0..300);
            rows.extend((0..count).map(|_| random_row(&mut rng, 1, keys)));
        }
        let factory = StreamTableJoinFactory::try_new(case.spec(), table).unwrap();
        assert_eq!(OperatorFactory::prefers(&factory), Some(table));
        let batch_rows = rng.random_range(1..=100);
        let subtasks = [1, 2, 3, 5][rng.random_range(0..4)];
        let memory = memory * subtasks;
        let mut cluster = Cluster::new(factory, &case.on, subtasks, batch_rows, memory);
        for side in [table, 1 - table] {
            let mut rows = sides[side].as_slice();
            while !rows.is_empty() {
                let (first, rest) = rows.split_at(rng.random_range(1..=rows.len().min(100)));
                cluster.rows(side, first);
                rows = rest;
                cluster.note_state();
                if side != table && rng.random_bool(0.1) {
                    cluster.snapshot(Extent::Changes);
                }
            }
        }
        cluster.end();
        let results = cluster.out.take();
        assert!(results.iter().all(|batch| batch.num_rows() <= batch_rows));
        let [left, right] = &sides;
        let expected = answer(case.kind, left, right, |l, r| case.matches(l, r));
        let what = format!("seed {seed} {case:?}");
        same(&lines(&results), &case.lines(expected), &what);
        files = files.max(cluster.files);
    }
    files
}

#[test]
fn a_table_cannot_be_kept() {
    let mut rng = rng("a_table_cannot_be_kept", 1);
    for (kind, table) in [
        (JoinKind::Full, 0),
        (JoinKind::Left, 0),
        (JoinKind::Right, 1),
        (JoinKind::LeftSemi, 0),
    ] {
        let spec = Case::random(&mut rng, kind, false).spec();
        assert!(
            StreamTableJoinFactory::try_new(spec, table).is_err(),
            "{kind}"
        );
    }
}
