//! Rows of timed joins on disk: what is in memory while they meet others, and while a snapshot is
//! written.

use std::sync::Arc;

use super::harness::{Case, column, context};
use super::oracle::{COLUMNS, Row, batch};
use crate::join::{IntervalJoinFactory, JoinKind, WindowJoinFactory};
use crate::message::EventTime;
use crate::operator::{Extent, Operator, OperatorFactory, Output, driving};

const ROWS: usize = 1_000;

/// A join of rows with equal keys at the same time.
fn factory(kind: JoinKind, window: bool) -> Box<dyn OperatorFactory> {
    let case = Case {
        kind,
        on: if window { vec![0, 1] } else { vec![1] },
        nulls_equal: false,
        filtered: false,
        output: (0..2 * COLUMNS).collect(),
    };
    let times = [column(0, 0), column(1, 0)];
    if window {
        Box::new(WindowJoinFactory::try_new(case.spec(), times).unwrap())
    } else {
        Box::new(IntervalJoinFactory::try_new(case.spec(), times, -10, 10).unwrap())
    }
}

fn give(join: &mut dyn Operator, side: usize, out: &mut Output) {
    let row = |key: usize| Row {
        time: Some(5),
        key: Some(key as i64),
        name: "a name that is long enough for some hundred rows to fill a small memory, and more",
        value: 0,
    };
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    for rows in rows.chunks(50) {
        driving::process(join, side, batch(side, rows), out).unwrap();
    }
}

fn rows(out: &mut Output) -> usize {
    out.take().iter().map(|batch| batch.num_rows()).sum()
}

/// Takes what is left to be given; the rows.
fn rest(join: &mut dyn Operator, out: &mut Output) -> usize {
    let mut all = 0;
    while join.resume(out).unwrap() {
        assert!(out.batches() <= 3, "{} batches at once", out.batches());
        all += rows(out);
    }
    all
}

#[test]
fn results_of_rows_on_disk_come_a_few_at_a_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let context = context(runtime.unwrap().handle(), 60_000, 10);
    for window in [false, true] {
        let mut join = factory(JoinKind::Inner, window).create(&context).unwrap();
        let mut out = Output::default();
        give(&mut *join, 0, &mut out);
        give(&mut *join, 1, &mut out);
        let at_once = rows(&mut out);
        join.before_barrier().unwrap();
        let later = rest(&mut *join, &mut out);
        assert!(later > ROWS / 2, "{later} of the results came late");
        assert_eq!(at_once + later, ROWS);
        drop(join.snapshot(Extent::Changes, &mut out).unwrap());
        assert_eq!(out.batches(), 0);

        let mut join = factory(JoinKind::Full, window).create(&context).unwrap();
        give(&mut *join, 0, &mut out);
        assert_eq!(rows(&mut out), 0);
        join.watermark(EventTime(1_000_000_000), &mut out).unwrap();
        assert!(out.batches() <= 3, "{} batches at once", out.batches());
        let first = rows(&mut out);
        assert_eq!(first + rest(&mut *join, &mut out), ROWS);
    }
}

#[test]
fn what_a_snapshot_holds_is_accounted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut out = Output::default();
    let snapshot = |memory: usize, out: &mut Output| {
        let context = context(runtime.handle(), memory, 100);
        let mut join = factory(JoinKind::Left, false).create(&context).unwrap();
        give(&mut *join, 0, out);
        let before = context.job.memory.reserved();
        let state = join.snapshot(Extent::Changes, out).unwrap();
        let held = context.job.memory.reserved();
        let disk = context.job.datafusion.runtime_env();
        let files = disk.spilling_progress().active_files_count;
        let rows: usize = state.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 1 + ROWS);
        (before, held, files, Arc::clone(&context.job.memory), join)
    };
    let (before, held, files, memory, _join) = snapshot(1 << 30, &mut out);
    assert!(
        held > before * 3 / 2,
        "{held} bytes are held, {before} before"
    );
    assert_eq!((memory.reserved(), files), (before, 0));

    // What fits once and not twice goes to disk before it is held.
    let limit = before * 3 / 2;
    let (all, held, files, ..) = snapshot(limit, &mut out);
    assert_eq!(all, before);
    assert!(files > 0);
    assert!(held < before, "{held} bytes are held, {before} before");
}
