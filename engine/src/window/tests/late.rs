//! Rows behind the watermark: counted in the windows still open, or dropped and counted as late.

use std::sync::atomic::Ordering::Relaxed;

use expect_test::expect;
use rand::Rng;

use super::harness::*;
use crate::dead_letter::DeadLetter;
use crate::window::{AggregateSpec, Assign, Phase, WindowSpec};

#[test]
fn late_rows_count_in_the_windows_that_are_still_open() {
    for seed in seeds(30) {
        let mut rng = rng("late_rows", seed);
        let (kind, offset) = random_kind(&mut rng);
        let spec = WindowSpec::new(kind, offset).unwrap();
        let spec = usual(Assign::Time { column: 0, spec }, &["key"]);
        let (mut single, mut local) = (
            Node::new(&spec, Phase::Single, 64),
            Node::new(&spec, Phase::Local, 64),
        );
        let mut last = Node::new(&spec, Phase::Final, 64);
        let (mut expected, mut late) = (Vec::new(), 0);
        let (mut now, mut watermark) = (0_i64, i64::MIN);
        for _ in 0..60 {
            now += rng.random_range(0..150);
            let rows: Vec<Row> = (0..rng.random_range(1..30))
                .map(|_| {
                    let ts = now - rng.random_range(0..1_200);
                    let mut row = random_row(&mut rng, ts, 4);
                    row.ts = row.ts.filter(|_| rng.random_bool(0.97));
                    row
                })
                .collect();
            for row in &rows {
                let windows = row
                    .ts
                    .map(|ts| windows_of(kind, offset, ts))
                    .unwrap_or_default();
                let open: Vec<_> = windows.into_iter().filter(|w| w.1 > watermark).collect();
                late += u64::from(open.is_empty());
                expected.extend(open.into_iter().map(|window| (row.clone(), window)));
            }
            single.rows(batch(&rows));
            local.rows(batch(&rows));
            if rng.random_bool(0.2) {
                single.restart();
            }
            if rng.random_bool(0.6) {
                watermark = watermark.max(now - rng.random_range(0..300));
                single.watermark(watermark);
                local.watermark(watermark);
                local.take().into_iter().for_each(|b| last.rows(b));
                last.watermark(watermark);
            }
        }
        single.end();
        local.end();
        local.take().into_iter().for_each(|b| last.rows(b));
        last.end();
        let expected = answer(&expected, &["key"]);
        same(&lines(&single.take()), &expected, &format!("{kind:?}"));
        assert_eq!(single.late(), late);
        same(
            &lines(&last.take()),
            &expected,
            &format!("{kind:?} in two phases"),
        );
        assert_eq!((local.late(), last.late()), (late, 0));
    }
}

#[test]
fn rows_without_a_time_are_late() {
    let spec = WindowSpec::tumble(100).unwrap();
    let mut node = Node::new(
        &usual(Assign::Time { column: 0, spec }, &[]),
        Phase::Single,
        64,
    );
    let mut rng = rng("without_a_time", 1);
    let mut rows: Vec<Row> = (0..8).map(|i| random_row(&mut rng, i * 10, 3)).collect();
    rows[0].ts = None;
    rows[3].ts = None;
    rows[5].ts = Some(i64::MAX);
    rows[6].ts = Some(i64::MIN);
    node.rows(batch(&rows));
    node.rows(batch(&[Row {
        ts: None,
        ..rows[1].clone()
    }]));
    node.end();
    assert_eq!(node.late(), 5);
    let kept: Vec<_> = [1, 2, 4, 7]
        .into_iter()
        .map(|i| (rows[i].clone(), (0, 100)))
        .collect();
    same(&lines(&node.take()), &answer(&kept, &[]), "kept");
}

fn letters(node: &Node) -> Vec<DeadLetter> {
    node.context.job.dead_letters.flush().unwrap();
    node.letters.letters()
}

fn text(letters: &[DeadLetter]) -> String {
    let line = |letter: &DeadLetter| {
        assert_eq!((letter.reason, letter.source.as_str()), ("late", "rows"));
        let raw = String::from_utf8(letter.raw.clone()).unwrap();
        format!("{raw}\n  {}", letter.detail)
    };
    letters.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tumble() -> AggregateSpec {
    let spec = WindowSpec::tumble(1_000_000).unwrap();
    usual(Assign::Time { column: 0, spec }, &["key"])
}

fn row(ts: Option<i64>, key: i64) -> Row {
    Row {
        ts,
        key: Some(key),
        name: "a",
        value: None,
        flag: true,
    }
}

#[test]
fn late_rows_are_kept_as_they_were() {
    for phase in [Phase::Single, Phase::Local] {
        let mut node = Node::new(&tumble(), phase, 64);
        node.watermark(2_000_000);
        let rows = [
            row(Some(5), 1),
            row(Some(2_500_000), 2),
            row(None, 3),
            row(Some(1_500_000), 4),
        ];
        node.rows(batch(&rows));
        assert_eq!(node.late(), 3);
        assert_eq!(node.context.metrics.late.load(Relaxed), 3);
        expect![[r#"
            {"ts":"1970-01-01T00:00:00.000005","key":1,"name":"a","value":null,"flag":true}
              the row's time is 1970-01-01T00:00:00.000Z, its window ended at 1970-01-01T00:00:01.000Z; the watermark was at 1970-01-01T00:00:02.000Z
            {"ts":null,"key":3,"name":"a","value":null,"flag":true}
              the row has no event time that can be used; the watermark was at 1970-01-01T00:00:02.000Z
            {"ts":"1970-01-01T00:00:01.500","key":4,"name":"a","value":null,"flag":true}
              the row's time is 1970-01-01T00:00:01.500Z, its window ended at 1970-01-01T00:00:02.000Z; the watermark was at 1970-01-01T00:00:02.000Z"#]]
        .assert_eq(&text(&letters(&node)));
        assert_eq!(
            node.context.job.dead_letters.of_source("rows"),
            0,
            "they are counted as late"
        );
    }
}

#[test]
fn late_partial_states_are_kept_by_window_and_key() {
    let mut local = Node::new(&tumble(), Phase::Local, 64);
    let mut last = Node::new(&tumble(), Phase::Final, 64);
    last.watermark(1_000_000);
    local.rows(batch(&[row(Some(5), 1), row(Some(6), 1), row(Some(7), 2)]));
    local.watermark(1_000_000);
    local
        .take()
        .into_iter()
        .for_each(|states| last.rows(states));
    assert_eq!(last.late(), 2);
    expect![[r#"
        {"_slice":"1970-01-01T00:00:00","key":1}
          partial results of rows of a window that ended at 1970-01-01T00:00:01.000Z; the watermark was at 1970-01-01T00:00:01.000Z
        {"_slice":"1970-01-01T00:00:00","key":2}
          partial results of rows of a window that ended at 1970-01-01T00:00:01.000Z; the watermark was at 1970-01-01T00:00:01.000Z"#]]
    .assert_eq(&text(&letters(&last)));
}
