//! Memory, panes, groups: what happens at the bounds; and when pre-aggregation does not pay.

use std::sync::atomic::Ordering::Relaxed;

use datafusion_functions_aggregate::min_max::min_udaf;
use datafusion_physical_expr::expressions::lit;

use super::harness::*;
use crate::limits;
use crate::message::EventTime;
use crate::operator::Operator;
use crate::window::{AggregateSpec, Assign, Phase, WindowKind, WindowSpec};

fn keyed(kind: WindowKind) -> AggregateSpec {
    let spec = WindowSpec::new(kind, 0).unwrap();
    usual(Assign::Time { column: 0, spec }, &["key"])
}

fn rows(count: i64, time: impl Fn(i64) -> i64, key: impl Fn(i64) -> i64) -> Vec<Row> {
    let row = |i| Row {
        ts: Some(time(i)),
        key: Some(key(i)),
        name: "a",
        value: Some(1.0),
        flag: i % 2 == 0,
    };
    (0..count).map(row).collect()
}

#[test]
fn memory_that_is_refused_is_a_flush() {
    let kind = WindowKind::Tumble { size: 1_000_000 };
    let all = rows(60_000, |i| i, |i| i);
    let mut local = Node::with_memory(&keyed(kind), Phase::Local, 1_000, 1 << 20);
    let mut last = Node::new(&keyed(kind), Phase::Final, 1_000);
    for rows in all.chunks(1_000) {
        local.rows(batch(rows));
        local.restart();
        local.take().into_iter().for_each(|b| last.rows(b));
    }
    assert!(
        last.context.metrics.state_bytes.load(Relaxed) > 1 << 20,
        "it was flushed early"
    );
    local.end();
    local.take().into_iter().for_each(|b| last.rows(b));
    last.end();
    let windows: Vec<_> = all
        .iter()
        .map(|row| (row.clone(), (0, 1_000_000)))
        .collect();
    same(
        &lines(&last.take()),
        &answer(&windows, &["key"]),
        "two phases",
    );
    for node in [&local, &last] {
        assert_eq!(node.context.metrics.state_bytes.load(Relaxed), 0);
        assert_eq!(node.context.job.memory.reserved(), 0);
    }
}

#[test]
fn many_panes_in_one_batch_and_at_once() {
    // A window per row: time must grow with the rows, not with rows times windows.
    let kind = WindowKind::Tumble { size: 1 };
    let mixed = |i: i64| (i * 7_919) % 20_000;
    let all = rows(20_000, mixed, |i| i % 3);
    let mut node = Node::new(&keyed(kind), Phase::Single, 8_192);
    for rows in all.chunks(8_192) {
        node.rows(batch(rows));
    }
    node.watermark(i64::MAX);
    let found = node.take();
    assert_eq!(found.len(), 3, "small windows share batches");
    let windows: Vec<_> = all
        .iter()
        .map(|row| (row.clone(), (row.ts.unwrap(), row.ts.unwrap() + 1)))
        .collect();
    same(&lines(&found), &answer(&windows, &["key"]), "one phase");
}

#[test]
fn pre_aggregation_stops_where_it_saves_nothing() {
    let kind = WindowKind::Tumble { size: 10_000 };
    let mut spec = keyed(kind);
    // No aggregate that has to be adapted: there rows are not passed on. All names are the same.
    spec.aggregates[6] = aggregate(min_udaf(), vec![lit(1_i64)], false);
    spec.schema = spec_of(spec.assign, &["key"], spec.aggregates.clone(), vec![]).schema;
    let (mut local, mut last) = (
        Node::new(&spec, Phase::Local, 8_192),
        Node::new(&spec, Phase::Final, 8_192),
    );
    let all = rows(200_000, |i| i - (i * 31) % 500, |i| i);
    let mut passed = 0;
    for (i, rows) in all.chunks(5_000).enumerate() {
        local.rows(batch(rows));
        for states in local.take() {
            passed += states.num_rows();
            last.rows(states);
        }
        let time = i as i64 * 5_000 - 500;
        local.watermark(time);
        local.take().into_iter().for_each(|b| last.rows(b));
        last.watermark(time);
    }
    assert!(passed > 80_000, "{passed} rows were passed on as they came");
    local.end();
    local.take().into_iter().for_each(|b| last.rows(b));
    last.end();
    let windows: Vec<_> = all
        .iter()
        .map(|row| {
            let start = row.ts.unwrap().div_euclid(10_000) * 10_000;
            (row.clone(), (start, start + 10_000))
        })
        .collect();
    same(
        &lines(&last.take()),
        &answer(&windows, &["key"]),
        "two phases",
    );
    assert_eq!(local.late() + last.late(), 0);
}

#[test]
fn many_groups_are_handed_on() {
    let mut local = Node::new(
        &keyed(WindowKind::Tumble { size: 1 << 40 }),
        Phase::Local,
        100_000,
    );
    let all = rows(limits::PRE_AGGREGATE_GROUPS_MAX as i64 + 1, |i| i, |i| i);
    local.rows(batch(&all));
    let states: usize = local.take().iter().map(|b| b.num_rows()).sum();
    assert_eq!(states, all.len());
    assert_eq!(local.context.metrics.state_bytes.load(Relaxed), 0);
}

#[test]
fn wide_groups_are_handed_on() {
    let kind = WindowKind::Tumble { size: 1 << 40 };
    let mut local = Node::new(&keyed(kind), Phase::Local, 100_000);
    let name: &str = String::leak("a".repeat(2_000));
    let mut all = rows(40_000, |i| i, |i| i);
    all.iter_mut().for_each(|row| row.name = name);
    let mut states = 0;
    for rows in all.chunks(1_000) {
        local.rows(batch(rows));
        let taken = local.context.metrics.state_bytes.load(Relaxed);
        assert!(taken <= limits::PRE_AGGREGATE_BYTES_MAX as u64);
        states += local.take().iter().map(|b| b.num_rows()).sum::<usize>();
    }
    assert!(states > 10_000, "{states} groups are handed on");
}

#[test]
fn a_repeated_watermark_changes_nothing() {
    let mut node = Node::new(&keyed(WindowKind::Tumble { size: 10 }), Phase::Single, 10);
    node.rows(batch(&rows(30, |i| i, |_| 1)));
    node.watermark(20);
    assert_eq!(lines(&node.take()).len(), 2);
    let Node { operator, out, .. } = &mut node;
    let operator: &mut dyn Operator = &mut **operator;
    for time in [20, 19, i64::MIN] {
        operator.watermark(EventTime(time), out).unwrap();
        assert!(out.take().is_empty());
    }
}
