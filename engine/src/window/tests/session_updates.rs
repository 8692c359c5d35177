//! Sessions with early and corrected results: a changelog that, followed from its start, is at each
//! moment what joining rows gives.

use arrow::array::AsArray;
use arrow::datatypes::Int8Type;
use arrow::record_batch::RecordBatch;
use expect_test::expect;
use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use super::rescale::{Job, PARALLELISMS, run};
use super::sessions::{KEYS, Oracle, names_in_order, spec};
use super::updates::follow;
use crate::window::{AggregateSpec, Emit, Firing, Phase};

/// The most by which a row of [`random_steps`] is behind the latest one.
const BOUND: i64 = 400;

fn with(firing: Firing, gap: i64, keys: &[&str]) -> AggregateSpec {
    AggregateSpec {
        firing,
        ..spec(gap, keys)
    }
}

fn updating(emit: Emit, allowed_lateness: i64) -> Firing {
    Firing {
        emit,
        allowed_lateness,
    }
}

fn random_emit(rng: &mut StdRng) -> Emit {
    [Emit::OnClose, Emit::OnUpdate, Emit::Every(250_000)][rng.random_range(0..3)]
}

/// Steps whose rows are behind the watermark at times, by less than [`BOUND`].
fn disordered_steps(rng: &mut StdRng, rows: usize, batch_max: usize, keys: i64) -> Vec<Step> {
    let ahead = [0, 50, BOUND][rng.random_range(0..3)];
    let steps = random_steps(rng, rows, batch_max, keys).into_iter();
    let steps = steps.map(|step| match step {
        Step::Watermark(time) => Step::Watermark(time + ahead),
        rows => rows,
    });
    steps.collect()
}

fn all_in_sessions(steps: &[Step], gap: i64, keys: &[&str]) -> Vec<String> {
    let mut oracle = Oracle::new(gap, keys, 0);
    let rows = steps.iter().filter(|step| matches!(step, Step::Rows(_)));
    rows.for_each(|step| oracle.step(step));
    answer(&oracle.now(), keys)
}

#[test]
fn a_changelog_of_sessions_ends_in_the_answer() {
    for seed in seeds(3) {
        let mut rng = rng("a_changelog_of_sessions", seed);
        for before in PARALLELISMS {
            for after in PARALLELISMS {
                let gap = [1, 20, 200][rng.random_range(0..3)];
                let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
                let firing = updating(random_emit(&mut rng), rng.random_range(BOUND..2 * BOUND));
                let batch_rows = [1, 7, 8_192][rng.random_range(0..3)];
                let steps = disordered_steps(&mut rng, 250, 30, 10);
                let job = Job::of(&with(firing, gap, keys), false);
                let found = run(&job, &steps, batch_rows, before, after, &mut rng);
                let what = format!("gap {gap} {firing:?} from {before} to {after}");
                let expected = all_in_sessions(&steps, gap, keys);
                same(&follow(&found, keys.len()), &expected, &what);
            }
        }
    }
}

#[test]
fn what_sessions_have_given_goes_to_disk() {
    let mut files = 0;
    for seed in seeds(16) {
        let mut rng = rng("what_sessions_have_given", seed);
        let (before, after) = (
            PARALLELISMS[seed as usize % 4],
            PARALLELISMS[seed as usize / 4 % 4],
        );
        let gap = rng.random_range(1..200);
        let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
        let firing = updating(random_emit(&mut rng), 100_000);
        let steps = disordered_steps(&mut rng, 1_000, 60, 40);
        let mut job = Job::of(&with(firing, gap, keys), false);
        job.memory = [48 << 10, 120 << 10][rng.random_range(0..2)];
        let found = run(&job, &steps, 100, before, after, &mut rng);
        let what = format!("gap {gap} {firing:?} from {before} to {after}");
        let expected = all_in_sessions(&steps, gap, keys);
        same(&follow(&found, keys.len()), &expected, &what);
        files += job.files.get();
    }
    assert!(files > 0, "nothing was put on disk");
}

/// Rows of all ages: some are taken in, some join sessions or reopen them, some are too late.
#[test]
fn sessions_take_rows_as_long_as_they_are_allowed_to() {
    let (mut taken, mut dropped) = (0, 0);
    for seed in seeds(24) {
        let mut rng = rng("sessions_take_rows", seed);
        let gap = rng.random_range(1..150);
        let keys = KEYS[rng.random_range(0..KEYS.len())];
        let lateness = [0, 1, 70, 300][rng.random_range(0..4)];
        let emit = match lateness {
            0 => [Emit::OnUpdate, Emit::Every(250_000)][rng.random_range(0..2)],
            _ => random_emit(&mut rng),
        };
        let firing = updating(emit, lateness);
        let what = format!("gap {gap} keys {keys:?} {firing:?}");
        let mut node = Node::new(&with(firing, gap, keys), Phase::Single, 64);
        let mut oracle = Oracle::new(gap, keys, lateness);
        let (mut now, mut found, mut count) = (0, Vec::new(), 0);
        for step in 0..80 {
            now += rng.random_range(0..100);
            let rows = (0..rng.random_range(1..12)).map(|_| {
                let ts = now - rng.random_range(0..600);
                let mut row = random_row(&mut rng, ts, 3);
                row.ts = row.ts.filter(|_| rng.random_bool(0.95));
                row
            });
            let rows: Vec<Row> = rows.collect();
            count += rows.len() as u64;
            node.rows(batch(&rows));
            oracle.step(&Step::Rows(rows));
            if rng.random_bool(0.2) {
                node.restart();
            }
            node.operator.tick(step * 200_000, &mut node.out).unwrap();
            if rng.random_bool(0.6) {
                let time = now - rng.random_range(0..300);
                node.watermark(time);
                oracle.step(&Step::Watermark(time));
            }
            found.extend(node.take());
            if emit == Emit::OnUpdate {
                let expected = answer(&oracle.now(), keys);
                same(&follow(&found, keys.len()), &expected, &what);
            }
        }
        node.end();
        found.extend(node.take());
        let expected = answer(&oracle.now(), keys);
        same(&follow(&found, keys.len()), &expected, &what);
        assert_eq!(node.late(), oracle.late, "{what}");
        assert_eq!(node.context.job.dead_letters.total(), oracle.late);
        assert_eq!(node.context.job.memory.reserved(), 0, "nothing is left");
        (taken, dropped) = (taken + count - oracle.late, dropped + oracle.late);
    }
    assert!(taken > 0 && dropped > 0, "{taken} taken, {dropped} late");
}

fn row(ts: i64, name: &'static str) -> Row {
    Row {
        ts: Some(ts),
        key: Some(1),
        name,
        value: Some(1.0),
        flag: true,
    }
}

/// count(*) of sessions with a gap of 10.
fn counts(firing: Firing) -> Node {
    let mut spec = with(firing, 10, &["key"]);
    let first = spec.aggregates.swap_remove(0);
    let spec = spec_of(spec.assign, &["key"], vec![first], vec![None]);
    Node::new(&AggregateSpec { firing, ..spec }, Phase::Single, 64)
}

/// Rows as `kind start..end count`, with the digits of the times that differ.
fn short(batches: &[RecordBatch]) -> String {
    let mut text = Vec::new();
    for batch in batches {
        let number = |column: usize, row| {
            let line = arrow::util::display::array_value_to_string(batch.column(column), row);
            let line = line.unwrap();
            let digits = line.rsplit(['.', ':']).next().unwrap_or_default();
            digits.trim_start_matches('0').to_owned()
        };
        let kinds = batch
            .column(batch.num_columns() - 1)
            .as_primitive::<Int8Type>();
        for row in 0..batch.num_rows() {
            let kind = ["+", "-u", "+u", "-"][usize::try_from(kinds.value(row)).unwrap()];
            let (start, end, count) = (number(0, row), number(1, row), number(3, row));
            text.push(format!("{kind} {start}..{end} {count}"));
        }
    }
    text.join(", ")
}

#[test]
fn sessions_that_grow_and_join_take_back_what_they_gave() {
    let mut node = counts(updating(Emit::OnUpdate, 30));
    let mut text = Vec::new();
    // One session, another, a row that only counts, one between them that joins both.
    for rows in [&[20][..], &[36], &[20], &[28], &[20, 28]] {
        let rows: Vec<Row> = rows.iter().map(|ts| row(*ts, "a")).collect();
        node.rows(batch(&rows));
        text.push(short(&node.take()));
    }
    node.watermark(46);
    text.push(format!("46: {}", short(&node.take())));
    // Late, and within what is allowed: by itself, and before the session.
    node.rows(batch(&[row(7, "a")]));
    text.push(short(&node.take()));
    node.rows(batch(&[row(15, "a")]));
    text.push(short(&node.take()));
    node.watermark(75);
    node.rows(batch(&[row(36, "a")]));
    text.push(short(&node.take()));
    node.watermark(76);
    node.rows(batch(&[row(36, "a")]));
    text.push(format!("late: {}", node.late()));
    expect![[r#"
        + 20..30 1
        + 36..46 1
        -u 20..30 1, +u 20..30 2
        - 20..30 2, - 36..46 1, + 20..46 4
        -u 20..46 4, +u 20..46 6
        46: 
        + 7..17 1
        - 20..46 6, - 7..17 1, + 7..46 8
        -u 7..46 8, +u 7..46 9
        late: 1"#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn a_closed_session_that_is_reopened_waits_for_its_new_end() {
    let mut node = counts(updating(Emit::OnClose, 30));
    let mut text = Vec::new();
    node.rows(batch(&[row(20, "a"), row(35, "a")]));
    node.watermark(30);
    text.push(short(&node.take()));
    node.restart();
    // Joins the closed session and the open one.
    node.rows(batch(&[row(27, "a")]));
    text.push(short(&node.take()));
    node.restart();
    node.watermark(45);
    text.push(short(&node.take()));
    node.restart();
    node.watermark(46);
    text.push(short(&node.take()));
    expect![[r#"
        + 20..30 1

        - 20..30 1, + 20..45 3
    "#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn early_results_of_sessions_wait_for_their_time() {
    let mut node = counts(updating(Emit::Every(1_000), 0));
    let mut text = Vec::new();
    for (now, ts) in [(5_000, 1), (5_500, 2), (5_999, 3), (6_000, 14), (6_001, 8)] {
        node.rows(batch(&[row(ts, "a")]));
        node.operator.tick(now, &mut node.out).unwrap();
        text.push(format!("{now}: {}", short(&node.take())));
    }
    node.operator.tick(7_000, &mut node.out).unwrap();
    text.push(format!("7000: {}", short(&node.take())));
    node.operator.tick(8_000, &mut node.out).unwrap();
    text.push(format!("8000: {}", short(&node.take())));
    node.rows(batch(&[row(9, "a")]));
    node.watermark(24);
    text.push(format!("end: {}", short(&node.take())));
    expect![[r#"
        5000: + 1..11 1
        5500: 
        5999: 
        6000: - 1..11 1, + 1..13 3, + 14..24 1
        6001: 
        7000: - 1..13 3, - 14..24 1, + 1..24 5
        8000: 
        end: -u 1..24 5, +u 1..24 6"#]]
    .assert_eq(&text.join("\n"));
}

/// A snapshot costs what has changed, and a session that gives results for each row stays small.
#[test]
fn a_long_session_with_early_results_takes_little() {
    let mut node = Node::new(
        &with(updating(Emit::OnUpdate, 0), 1_000, &["key"]),
        Phase::Single,
        100,
    );
    for key in 0..500 {
        let row = Row {
            key: Some(1_000 + key),
            ..row(0, "a")
        };
        node.rows(batch(&[row]));
    }
    snapshot(&mut *node.operator);
    let mut most = 0;
    for ts in 0..2_000 {
        node.rows(batch(&[row(ts, "a")]));
        most = most.max(node.context.job.memory.reserved());
        if ts % 100 == 0 {
            let state = snapshot(&mut *node.operator);
            let rows: usize = state.iter().map(RecordBatch::num_rows).sum();
            assert!(rows < 25, "{rows} rows of state");
        }
    }
    assert!(most < 1_200_000, "{most} bytes");
}

#[test]
fn an_ordered_aggregate_of_a_session_is_corrected() {
    let firing = updating(Emit::OnUpdate, 0);
    let mut node = Node::new(
        &AggregateSpec {
            firing,
            ..names_in_order()
        },
        Phase::Single,
        100,
    );
    let at = |ts, name, value| Row {
        value: Some(value),
        ..row(ts, name)
    };
    node.rows(batch(&[at(0, "b", 2.0), at(15, "d", 4.0)]));
    node.restart();
    node.rows(batch(&[at(5, "a", 1.0)]));
    node.rows(batch(&[at(7, "c", 3.0)]));
    node.end();
    let found = follow(&node.take(), 1).join("\n");
    expect!["1970-01-01T00:00:00 | 1970-01-01T00:00:00.000025 | 1 | [a, b, c, d]"]
        .assert_eq(&found);
}
