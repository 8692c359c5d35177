//! What is sent when, what a snapshot costs, what expires, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::average::avg_udaf;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::median::median_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::expressions::lit;
use expect_test::{Expect, expect};

use super::harness::{call, exchange, spec, usual};
use crate::changelog::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
use crate::key_group::KeyGroups;
use crate::operator::{Extent, OperatorFactory};
use crate::updating::aggregate::{AggregateFactory, AggregateSpec, Emit};
use crate::updating::harness::{Fleet, Row, World, changes_of, column, random_row};

fn fleet(spec: &AggregateSpec) -> Fleet {
    let factory = Arc::new(AggregateFactory::try_new(spec.clone()).unwrap());
    Fleet::new(factory, exchange(spec), 1, 100)
}

/// count(*) and sum(amount).
fn sums(keys: &[&str], changelog: bool) -> AggregateSpec {
    let calls = vec![
        call(count_udaf(), lit(1_i64), false, &[], None),
        call(sum_udaf(), column("amount"), false, &[], None),
    ];
    spec(keys, calls, changelog)
}

fn row(user: &'static str, amount: i64) -> Row {
    Row {
        user: Some(user),
        age: None,
        amount: Some(amount),
        price: None,
        money: None,
        word: None,
        flag: None,
    }
}

fn changes(rows: &[(&'static str, i64, RowKind)]) -> RecordBatch {
    let rows: Vec<_> = rows
        .iter()
        .map(|(user, amount, kind)| (row(user, *amount), *kind))
        .collect();
    changes_of(&rows)
}

/// The rows of the changelog: key, count, sum, kind.
fn check(batches: &[RecordBatch], expected: Expect) {
    let mut text = String::new();
    for batch in batches {
        let table = pretty_format_batches(std::slice::from_ref(batch))
            .unwrap()
            .to_string();
        let lines: Vec<_> = table.lines().collect();
        for line in &lines[3..lines.len() - 1] {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            text.push_str(&cells.join(" "));
            text.push('\n');
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn one_batch_gives_one_change_per_key() {
    let mut fleet = fleet(&sums(&["user"], true));
    fleet.rows(&changes(&[
        ("ann", 1, Insert),
        ("bob", 2, Insert),
        ("ann", 3, Insert),
    ]));
    check(
        &fleet.take(),
        expect![[r#"
        ann 2 4 0
        bob 1 2 0
    "#]],
    );
    fleet.rows(&changes(&[
        ("bob", 2, UpdateBefore),
        ("bob", 5, UpdateAfter),
        ("ann", 3, UpdateBefore),
        ("ann", 3, UpdateAfter),
        ("cid", 1, Insert),
        ("cid", 1, Delete),
    ]));
    // The result of ann is what it was, and cid has come and gone.
    check(
        &fleet.take(),
        expect![[r#"
        bob 1 2 1
        bob 1 5 2
    "#]],
    );
    fleet.rows(&changes(&[("bob", 5, Delete), ("ann", 1, Delete)]));
    check(
        &fleet.take(),
        expect![[r#"
        bob 1 5 3
        ann 2 4 1
        ann 1 3 2
    "#]],
    );
}

#[test]
fn one_group_for_all_rows_is_never_deleted() {
    let mut with_rows = fleet(&sums(&[], true));
    with_rows.rows(&changes(&[("ann", 1, Insert)]));
    with_rows.rows(&changes(&[("ann", 1, Delete)]));
    with_rows.end();
    check(
        &with_rows.take(),
        expect![[r#"
        1 1 0
        1 1 1
        0  2
    "#]],
    );
    let mut without = fleet(&sums(&[], false));
    without.end();
    check(
        &without.take(),
        expect![[r#"
        0  0
    "#]],
    );
}

#[test]
fn results_at_intervals_are_sent_once_and_survive_a_crash() {
    let mut spec = sums(&["user"], true);
    spec.emit = Emit::Every(Duration::from_secs(10));
    let mut fleet = fleet(&spec);
    fleet.tick(0);
    fleet.rows(&changes(&[("ann", 1, Insert)]));
    fleet.rows(&changes(&[("ann", 2, Insert), ("bob", 1, Insert)]));
    fleet.tick(9_000_000);
    fleet.snapshot(Extent::Changes);
    check(&fleet.take(), expect![""]);
    fleet.restart(1);
    fleet.rows(&changes(&[("bob", 1, Delete)]));
    fleet.tick(10_000_000);
    check(
        &fleet.take(),
        expect![[r#"
        ann 2 3 0
    "#]],
    );
    fleet.rows(&changes(&[("ann", 1, Delete), ("ann", 2, Delete)]));
    fleet.restart(1);
    fleet.end();
    check(
        &fleet.take(),
        expect![[r#"
        ann 2 3 3
    "#]],
    );
}

#[test]
fn a_group_that_no_row_touches_expires() {
    let mut spec = sums(&["user"], true);
    spec.ttl = Some(Duration::from_secs(10));
    let mut fleet = fleet(&spec);
    fleet.rows(&changes(&[("ann", 1, Insert), ("bob", 1, Insert)]));
    fleet.tick(8_000_000);
    fleet.rows(&changes(&[("bob", 2, Insert)]));
    fleet.tick(12_000_000);
    fleet.take();
    fleet.restart(1);
    fleet.tick(12_000_000);
    // What is taken back from an expired group is left out; what comes begins a new one.
    fleet.rows(&changes(&[("ann", 1, Delete), ("bob", 3, Insert)]));
    fleet.rows(&changes(&[("ann", 7, Insert)]));
    check(
        &fleet.take(),
        expect![[r#"
        bob 2 3 1
        bob 3 6 2
        ann 1 7 0
    "#]],
    );
}

#[test]
fn a_snapshot_costs_what_changed() {
    let words = vec![
        call(count_udaf(), column("word"), true, &[], None),
        call(median_udaf(), column("amount"), false, &[], None),
    ];
    let mut fleet = fleet(&spec(&[], words, true));
    let mut rng = rand::SeedableRng::seed_from_u64(1);
    let mut world = World::default();
    for _ in 0..20 {
        fleet.rows(&world.changes(&mut rng, 200, 0.1));
    }
    let rows = |fleet: &Fleet| {
        fleet.chains[0]
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>()
    };
    fleet.snapshot(Extent::All);
    let all = rows(&fleet);
    // The group, the word and the amount: their kinds are few, so each change is one entry.
    fleet.rows(&changes_of(&[(row("ann", 1_000), Insert)]));
    fleet.snapshot(Extent::Changes);
    assert_eq!(rows(&fleet) - all, 3);
    fleet.snapshot(Extent::Changes);
    assert_eq!(rows(&fleet) - all, 3, "nothing has changed");
    // A group that loses all its rows again and again is saved as a whole, not entry by entry.
    for _ in 0..500 {
        let row = random_row(&mut rng);
        fleet.rows(&changes_of(&[(row.clone(), Insert)]));
        fleet.rows(&changes_of(&[(row, Delete)]));
    }
    fleet.snapshot(Extent::Changes);
    assert!(rows(&fleet) < all * 3);
}

#[test]
fn state_of_another_query_is_refused() {
    let mut first = fleet(&sums(&["user"], true));
    first.rows(&changes(&[("ann", 1, Insert)]));
    first.snapshot(Extent::All);
    let other = spec(&["user"], usual(), true);
    let mut second = fleet(&other);
    let mut state = first.chains[0].clone().into_iter().map(Ok);
    let error = second.operators[0]
        .restore(&mut state, &KeyGroups::all())
        .unwrap_err();
    assert_eq!(error.code().0, "E0301");
    let factory = |spec: &AggregateSpec| AggregateFactory::try_new(spec.clone()).unwrap();
    let sums = sums(&["user"], true);
    assert_ne!(factory(&sums).fingerprint(), factory(&other).fingerprint());
    let mut slower = sums.clone();
    slower.emit = Emit::Every(Duration::from_secs(1));
    assert_eq!(factory(&sums).fingerprint(), factory(&slower).fingerprint());
}

#[test]
fn functions_that_do_not_take_their_arguments_are_refused() {
    let builds = |function: Arc<AggregateUDF>, column_name: &str| {
        let calls = vec![call(function, column(column_name), false, &[], None)];
        AggregateFactory::try_new(spec(&["user"], calls, true))
    };
    assert!(builds(avg_udaf(), "amount").is_err());
    assert!(builds(avg_udaf(), "price").is_ok());
}

#[test]
fn what_cannot_be_put_on_disk_is_an_error() {
    let rows: Vec<Row> = (0..2_000).map(|i| row("ann", i)).collect();
    let distinct = || vec![call(count_udaf(), column("amount"), true, &[], None)];
    for keys in [&[][..], &["user"]] {
        let mut fleet = fleet(&spec(keys, distinct(), true)).with_memory(16 << 10);
        let error = rows.chunks(50).find_map(|rows| {
            let changes: Vec<_> = rows.iter().map(|r| (r.clone(), Insert)).collect();
            fleet.try_rows(&changes_of(&changes)).err()
        });
        let error = error.expect("one group takes more than there is");
        assert_eq!(error.code().0, "E0501", "{keys:?}");
        assert!(error.hint_text().is_some(), "{keys:?}");
    }
}
