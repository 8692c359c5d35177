//! Early and corrected results: a changelog that, followed from its start, ends in the answer.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int8Type;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use expect_test::expect;
use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use super::rescale::{Job, PARALLELISMS, run};
use crate::changelog::{RowKind, is_changelog};
use crate::window::{AggregateSpec, Assign, Emit, Firing, Phase, WindowKind, WindowSpec};

fn with(firing: Firing, kind: WindowKind, offset: i64, keys: &[&str]) -> AggregateSpec {
    let spec = WindowSpec::new(kind, offset).unwrap();
    let mut spec = usual(Assign::Time { column: 0, spec }, keys);
    spec.firing = firing;
    spec
}

/// Follows a changelog: each row that goes must be there as it is, none comes twice.
pub(super) fn follow(batches: &[RecordBatch], keys: usize) -> Vec<String> {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for batch in batches {
        assert!(is_changelog(batch.schema_ref()));
        let (kinds, columns) = batch.columns().split_last().unwrap();
        let kinds = kinds.as_primitive::<Int8Type>();
        for row in 0..batch.num_rows() {
            let line: Vec<String> = columns
                .iter()
                .map(|c| array_value_to_string(c, row).unwrap())
                .collect();
            let key = line[..2 + keys].join(" | ");
            let line = line.join(" | ");
            match RowKind::from_number(kinds.value(row)).unwrap() {
                RowKind::Insert | RowKind::UpdateAfter => {
                    assert_eq!(rows.insert(key, line), None, "it was there");
                }
                RowKind::UpdateBefore | RowKind::Delete => {
                    assert_eq!(rows.remove(&key), Some(line), "it was not so");
                }
            }
        }
    }
    let mut lines: Vec<String> = rows.into_values().collect();
    lines.sort();
    lines
}

pub(super) fn random_firing(rng: &mut StdRng) -> Firing {
    Firing {
        emit: [Emit::OnClose, Emit::OnUpdate, Emit::Every(250_000)][rng.random_range(0..3)],
        allowed_lateness: [1, 70, 500][rng.random_range(0..3)],
    }
}

#[test]
fn a_changelog_ends_in_the_answer() {
    let mut rng = rng("a_changelog_ends", 1);
    for before in PARALLELISMS {
        for after in PARALLELISMS {
            let (kind, offset) = random_kind(&mut rng);
            let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
            let firing = random_firing(&mut rng);
            let steps = random_steps(&mut rng, 200, 30, 10);
            let expected = answer(&in_windows(&steps, kind, offset), keys);
            let job = Job::of(&with(firing, kind, offset, keys), rng.random_bool(0.6));
            let found = run(&job, &steps, 50, before, after, &mut rng);
            let what = format!("{kind:?} {firing:?} from {before} to {after}");
            same(&follow(&found, keys.len()), &expected, &what);
        }
    }
}

#[test]
fn what_was_given_goes_to_disk() {
    let mut files = 0;
    for seed in seeds(16) {
        let mut rng = rng("what_was_given_goes_to_disk", seed);
        let (before, after) = (
            PARALLELISMS[seed as usize % 4],
            PARALLELISMS[seed as usize / 4],
        );
        let (kind, offset) = random_kind(&mut rng);
        let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
        let mut firing = random_firing(&mut rng);
        firing.allowed_lateness = 100_000;
        let steps = random_steps(&mut rng, 400, 40, 40);
        let expected = answer(&in_windows(&steps, kind, offset), keys);
        let mut job = Job::of(&with(firing, kind, offset, keys), rng.random_bool(0.6));
        job.memory = [64 << 10, 160 << 10][rng.random_range(0..2)];
        let found = run(&job, &steps, 50, before, after, &mut rng);
        let what = format!("{kind:?} {firing:?} from {before} to {after}");
        same(&follow(&found, keys.len()), &expected, &what);
        files += job.files.get();
    }
    assert!(files > 0, "nothing was put on disk");
}

#[test]
fn windows_take_rows_as_long_as_they_are_allowed_to() {
    for seed in seeds(10) {
        let mut rng = rng("allowed_lateness", seed);
        let (kind, offset) = random_kind(&mut rng);
        let firing = random_firing(&mut rng);
        let spec = with(firing, kind, offset, &["key"]);
        let mut single = Node::new(&spec, Phase::Single, 64);
        let (mut local, mut last) = (
            Node::new(&spec, Phase::Local, 64),
            Node::new(&spec, Phase::Final, 64),
        );
        let (mut expected, mut late) = (Vec::new(), 0);
        let (mut now, mut watermark) = (0_i64, i64::MIN);
        for step in 0..60 {
            now += rng.random_range(0..150);
            let rows: Vec<Row> = (0..rng.random_range(1..20))
                .map(|_| {
                    let ts = now - rng.random_range(0..1_500);
                    random_row(&mut rng, ts, 4)
                })
                .collect();
            for row in &rows {
                let windows = windows_of(kind, offset, row.ts.unwrap());
                let kept = |end: i64| end.saturating_add(firing.allowed_lateness) > watermark;
                let open: Vec<_> = windows.into_iter().filter(|w| kept(w.1)).collect();
                late += u64::from(open.is_empty());
                expected.extend(open.into_iter().map(|window| (row.clone(), window)));
            }
            single.rows(batch(&rows));
            local.rows(batch(&rows));
            if rng.random_bool(0.2) {
                single.restart();
                local.snapshot();
                local.take().into_iter().for_each(|b| last.rows(b));
                last.restart();
            }
            for node in [&mut single, &mut local, &mut last] {
                node.operator.tick(step * 200_000, &mut node.out).unwrap();
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
        let what = format!("{kind:?} {firing:?}");
        same(&follow(&single.take(), 1), &expected, &what);
        assert_eq!(single.late(), late, "{what}");
        assert_eq!(local.late(), late, "{what}");
        same(
            &follow(&last.take(), 1),
            &expected,
            &format!("{what} in two phases"),
        );
        for node in [&single, &last] {
            assert_eq!(node.context.job.memory.reserved(), 0, "nothing is left");
        }
    }
}

#[test]
fn equal_results_give_nothing() {
    let kind = WindowKind::Tumble { size: 100 };
    let firing = Firing {
        emit: Emit::OnUpdate,
        allowed_lateness: 0,
    };
    let mut spec = with(firing, kind, 0, &["key"]);
    // max(value) alone: a smaller value changes nothing.
    spec.aggregates = vec![spec.aggregates.swap_remove(4)];
    let kept = spec_of(spec.assign, &["key"], spec.aggregates, vec![None]);
    let spec = AggregateSpec { firing, ..kept };
    let mut node = Node::new(&spec, Phase::Single, 64);
    let row = |ts, value| Row {
        ts: Some(ts),
        key: Some(1),
        name: "a",
        value: Some(value),
        flag: true,
    };
    let mut text = Vec::new();
    for (ts, value) in [(10, 5.0), (20, 3.0), (30, 8.0)] {
        node.rows(batch(&[row(ts, value)]));
        text.push(lines(&node.take()).join("\n"));
    }
    node.watermark(100);
    text.push(lines(&node.take()).join("\n"));
    expect![[r#"
        1970-01-01T00:00:00 | 1970-01-01T00:00:00.000100 | 1 | 5.0 | 0

        1970-01-01T00:00:00 | 1970-01-01T00:00:00.000100 | 1 | 5.0 | 1
        1970-01-01T00:00:00 | 1970-01-01T00:00:00.000100 | 1 | 8.0 | 2
    "#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn early_results_wait_for_their_time() {
    let firing = Firing {
        emit: Emit::Every(1_000),
        allowed_lateness: 0,
    };
    let spec = with(firing, WindowKind::Tumble { size: 100 }, 0, &["key"]);
    let mut node = Node::new(&spec, Phase::Single, 64);
    let row = |ts| Row {
        ts: Some(ts),
        key: Some(1),
        name: "a",
        value: Some(1.0),
        flag: true,
    };
    let mut given = Vec::new();
    for (now, ts) in [(5_000, 1), (5_500, 2), (5_999, 3), (6_000, 4), (6_001, 5)] {
        node.rows(batch(&[row(ts)]));
        node.operator.tick(now, &mut node.out).unwrap();
        given.push(node.take().iter().map(RecordBatch::num_rows).sum::<usize>());
    }
    assert_eq!(given, [1, 0, 0, 2, 0]);
    node.watermark(100);
    assert_eq!(
        node.take().iter().map(RecordBatch::num_rows).sum::<usize>(),
        2
    );
}
