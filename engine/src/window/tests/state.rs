//! What a snapshot holds: what is new, and only what fits is taken back.

use arrow::array::RecordBatch;

use super::harness::*;
use crate::error::codes;
use crate::key_group::KeyGroups;
use crate::operator::OperatorFactory;
use crate::window::{Assign, Phase, WindowAggregateFactory, WindowSpec};

fn spec(keys: &[&str]) -> crate::window::AggregateSpec {
    usual(
        Assign::Time {
            column: 0,
            spec: WindowSpec::hop(50, 200).unwrap(),
        },
        keys,
    )
}

fn rows_of(batches: &[RecordBatch]) -> usize {
    batches.iter().skip(1).map(RecordBatch::num_rows).sum()
}

#[test]
fn a_snapshot_holds_what_is_new() {
    let mut rng = rng("a_snapshot_holds_what_is_new", 1);
    let mut node = Node::new(&spec(&["key"]), Phase::Single, 100);
    let rows: Vec<Row> = (0..100).map(|_| random_row(&mut rng, 10, 20)).collect();
    node.rows(batch(&rows));
    let first = snapshot(&mut *node.operator);
    assert!(rows_of(&first) >= 20);
    assert_eq!(rows_of(&snapshot(&mut *node.operator)), 0);
    node.rows(batch(&rows[..1]));
    assert_eq!(rows_of(&snapshot(&mut *node.operator)), 1);
}

#[test]
fn many_snapshots_of_one_pane_are_its_sum() {
    let mut rng = rng("many_snapshots", 1);
    for keys in [&["key"][..], &[]] {
        let mut node = Node::new(&spec(keys), Phase::Single, 100);
        let rows: Vec<Row> = (0..300).map(|i| random_row(&mut rng, i % 40, 5)).collect();
        for rows in rows.chunks(10) {
            node.rows(batch(rows));
            node.restart();
        }
        node.end();
        let kind = WindowSpec::hop(50, 200).unwrap().kind();
        let expected = answer(&in_windows(&[Step::Rows(rows)], kind, 0), keys);
        same(&lines(&node.take()), &expected, "snapshots");
    }
}

#[test]
fn state_of_another_query_is_refused() {
    let mut node = Node::new(&spec(&["key"]), Phase::Single, 100);
    let mut rng = rng("state_of_another_query", 1);
    node.rows(batch(&[random_row(&mut rng, 10, 3)]));
    let state = snapshot(&mut *node.operator);
    let other = WindowAggregateFactory::try_new(spec(&["name", "key"]), Phase::Single).unwrap();
    let error = other
        .create(&node.context)
        .unwrap()
        .restore(&mut state.into_iter().map(Ok), &KeyGroups::all())
        .unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT);
    let foreign = vec![batch(&[])];
    let error = other
        .create(&node.context)
        .unwrap()
        .restore(&mut foreign.into_iter().map(Ok), &KeyGroups::all())
        .unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT);
}
