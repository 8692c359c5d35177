//! State that is larger than memory: the same results, within the budget.

use std::sync::atomic::Ordering::Relaxed;

use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::Extent;
use crate::window::{AggregateSpec, Assign, Emit, Firing, Phase, WindowKind, WindowSpec};

const BUDGET: usize = 1 << 20;
/// The state may differ from what is reserved by this much.
const SLACK: u64 = 64 << 10;

fn spec(kind: WindowKind) -> AggregateSpec {
    let spec = WindowSpec::new(kind, 0).unwrap();
    usual(Assign::Time { column: 0, spec }, &["key"])
}

fn random_rows(rng: &mut StdRng, rows: usize, span: i64, keys: i64) -> Vec<Row> {
    (0..rows)
        .map(|_| {
            let ts = rng.random_range(0..span);
            random_row(rng, ts, keys)
        })
        .collect()
}

/// The bytes on disk for a node.
fn on_disk(node: &Node) -> u64 {
    let runtime = node.context.job.datafusion.runtime_env();
    runtime.disk_manager.used_disk_space()
}

/// Feeds a node with a small budget; gives it back before the end of its input.
fn feed(spec: &AggregateSpec, rows: &[Row], rng: Option<&mut StdRng>) -> Node {
    let mut node = Node::with_memory(spec, Phase::Single, 1_000, BUDGET);
    let mut rng = rng;
    for rows in rows.chunks(500) {
        node.rows(batch(rows));
        assert!(node.context.metrics.state_bytes.load(Relaxed) <= BUDGET as u64 + SLACK);
        if let Some(rng) = rng.as_deref_mut() {
            if rng.random_bool(0.1) {
                node.snapshot();
            }
            if rng.random_bool(0.05) {
                node.restart();
            }
        }
    }
    node
}

fn check(kind: WindowKind, rows: Vec<Row>, rng: &mut StdRng) {
    let expected = answer(&in_windows(&[Step::Rows(rows.clone())], kind, 0), &["key"]);
    for disturbed in [false, true] {
        let mut node = feed(&spec(kind), &rows, disturbed.then_some(&mut *rng));
        node.end();
        same(
            &lines(&node.take()),
            &expected,
            &format!("{kind:?} disturbed {disturbed}"),
        );
        assert_eq!(node.context.job.memory.reserved(), 0, "nothing is left");
    }
}

#[test]
fn many_windows_that_do_not_fit() {
    let mut rng = rng("many_windows_that_do_not_fit", 1);
    let rows = random_rows(&mut rng, 12_000, 8_000, 1_000_000);
    check(WindowKind::Tumble { size: 1_000 }, rows, &mut rng);
}

#[test]
fn one_window_that_does_not_fit() {
    let mut rng = rng("one_window_that_does_not_fit", 1);
    let rows = random_rows(&mut rng, 15_000, 1_000, 10_000);
    check(WindowKind::Tumble { size: 1_000 }, rows, &mut rng);
}

#[test]
fn overlapping_windows_that_do_not_fit() {
    let mut rng = rng("overlapping_windows", 1);
    let rows = random_rows(&mut rng, 6_000, 2_000, 100_000);
    let kind = WindowKind::Hop {
        slide: 250,
        size: 1_000,
    };
    check(kind, rows, &mut rng);
}

#[test]
fn results_larger_than_memory_come_in_pieces() {
    let mut rng = rng("results_in_pieces", 1);
    let kind = WindowKind::Tumble { size: 1_000_000 };
    let rows = random_rows(&mut rng, 30_000, 1_000, 1_000_000);
    let mut node = feed(&spec(kind), &rows, None);
    assert!(on_disk(&node) > 2 * BUDGET as u64, "most of it is on disk");
    let mut found = Vec::new();
    let mut most = 0;
    let end = crate::message::EventTime::MAX;
    node.operator.watermark(end, &mut node.out).unwrap();
    let mut more = true;
    while more {
        let given = node.take();
        most = most.max(given.iter().map(|b| b.num_rows()).sum::<usize>());
        found.extend(given);
        more = node.operator.resume(&mut node.out).unwrap();
    }
    assert!(most <= 20_000, "{most} rows at once");
    let expected = answer(&in_windows(&[Step::Rows(rows)], kind, 0), &["key"]);
    same(&lines(&found), &expected, "in pieces");
    assert_eq!(on_disk(&node), 0, "the files are gone");
}

#[test]
fn what_is_on_disk_goes_into_a_snapshot_and_back() {
    let mut rng = rng("on_disk_into_a_snapshot", 1);
    let kind = WindowKind::Tumble { size: 500 };
    let rows = random_rows(&mut rng, 20_000, 2_000, 100_000);
    let mut node = feed(&spec(kind), &rows, None);
    let state = node.operator.snapshot(Extent::All, &mut node.out).unwrap();
    let state: Vec<_> = state.collect::<Result<_>>().unwrap();
    let mut found = Vec::new();
    for subtask in 0..3 {
        let mut next = Node::with_memory(&spec(kind), Phase::Single, 1_000, BUDGET);
        let mut state = state.iter().cloned().map(Ok);
        let groups = KeyGroups::of(subtask, 3);
        next.operator.restore(&mut state, &groups).unwrap();
        assert!(next.context.metrics.state_bytes.load(Relaxed) <= BUDGET as u64 + SLACK);
        next.end();
        found.extend(next.take());
    }
    let expected = answer(&in_windows(&[Step::Rows(rows)], kind, 0), &["key"]);
    same(&lines(&found), &expected, "restored");
}

#[test]
fn windows_that_are_kept_for_late_rows_go_to_disk() {
    let mut rng = rng("kept_for_late_rows", 1);
    let kind = WindowKind::Tumble { size: 500 };
    let mut spec = spec(kind);
    spec.firing = Firing {
        emit: Emit::OnClose,
        allowed_lateness: 1_000_000,
    };
    let rows = random_rows(&mut rng, 20_000, 2_000, 100_000);
    let mut node = feed(&spec, &rows, None);
    assert!(on_disk(&node) > 0);
    // What was given must be in memory to be compared: a larger budget takes it over.
    let state = node.operator.snapshot(Extent::All, &mut node.out).unwrap();
    let mut next = Node::with_memory(&spec, Phase::Single, 1_000, 64 * BUDGET);
    let groups = KeyGroups::all();
    next.operator.restore(&mut { state }, &groups).unwrap();
    next.end();
    let found = next.take();
    let given: usize = found.iter().map(|b| b.num_rows()).sum();
    let expected = answer(&in_windows(&[Step::Rows(rows)], kind, 0), &["key"]);
    assert_eq!(given, expected.len());
}
