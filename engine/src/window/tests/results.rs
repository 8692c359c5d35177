//! Random rows through one phase and two, in every kind of window, with and without keys, with
//! batches of 1, 7 and 8192 rows.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use rand::Rng;

use super::harness::*;
use crate::window::{Assign, Phase, WindowKind, WindowSpec};

const KEYS: [&[&str]; 4] = [&[], &["key"], &["name"], &["name", "key"]];

/// Windows come out in order of their ends, in batches that are full or the last of a watermark.
fn check_shape(batches: &[RecordBatch], batch_rows: usize) {
    let mut last = i64::MIN;
    for batch in batches {
        assert!(batch.num_rows() <= batch_rows);
        for end in batch
            .column(1)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
        {
            assert!(last <= *end, "windows are out of order");
            last = *end;
        }
    }
}

#[test]
fn one_phase_and_two_give_what_a_naive_sum_gives() {
    for seed in seeds(24) {
        let mut rng = rng("one_phase_and_two", seed);
        let (kind, offset) = random_kind(&mut rng);
        let keys = KEYS[rng.random_range(0..KEYS.len())];
        let batch_rows = [1, 7, 8_192][rng.random_range(0..3)];
        let key_count = [2, 30, 100_000][rng.random_range(0..3)];
        let steps = random_steps(&mut rng, 900, batch_rows.min(200), key_count);
        let expected = answer(&in_windows(&steps, kind, offset), keys);
        let assign = Assign::Time {
            column: 0,
            spec: WindowSpec::new(kind, offset).unwrap(),
        };
        let spec = usual(assign, keys);

        let single = run_single(&spec, &steps, batch_rows, None);
        check_shape(&single, batch_rows);
        same(&lines(&single), &expected, &format!("{kind:?}"));
        let disturbed = run_single(&spec, &steps, batch_rows, Some(&mut rng));
        same(
            &lines(&disturbed),
            &expected,
            &format!("{kind:?} with restarts"),
        );

        let locals = rng.random_range(1..4);
        let phases = run_phases(&spec, &steps, batch_rows, locals, &mut rng, false);
        check_shape(&phases, batch_rows);
        same(
            &lines(&phases),
            &expected,
            &format!("{kind:?} in two phases"),
        );
        let disturbed = run_phases(&spec, &steps, batch_rows, locals, &mut rng, true);
        same(
            &lines(&disturbed),
            &expected,
            &format!("{kind:?} in two phases with restarts"),
        );
    }
}

#[test]
fn long_hops_of_few_and_of_many_keys() {
    // Few keys: blocks of slices are merged and used again. Many: they are not kept.
    for (seed, keys) in [(1, 3), (2, 1_000_000)] {
        let mut rng = rng("long_hops", seed);
        let steps = random_steps(&mut rng, 2_000, 300, keys);
        for kind in [
            WindowKind::Hop {
                slide: 25,
                size: 2_500,
            },
            WindowKind::Hop {
                slide: 40,
                size: 2_510,
            },
            WindowKind::Cumulate {
                step: 30,
                size: 3_000,
            },
        ] {
            let spec = WindowSpec::new(kind, 11).unwrap();
            let spec = usual(Assign::Time { column: 0, spec }, &["key"]);
            let expected = answer(&in_windows(&steps, kind, 11), &["key"]);
            let found = run_single(&spec, &steps, 1_000, Some(&mut rng));
            same(&lines(&found), &expected, &format!("{kind:?}"));
        }
    }
}

#[test]
fn a_second_aggregation_by_the_windows_of_the_first() {
    // The first: count per key. The second, over its results: rows per window.
    let mut rng = rng("second_aggregation", 3);
    let kind = WindowKind::Hop {
        slide: 50,
        size: 200,
    };
    let steps = random_steps(&mut rng, 2_000, 50, 9);
    let first = usual(
        Assign::Time {
            column: 0,
            spec: WindowSpec::new(kind, 0).unwrap(),
        },
        &["key"],
    );
    let mut second = first.clone();
    second.input = Arc::clone(&first.schema);
    second.keys.clear();
    second.assign = Assign::Columns {
        start: Some(0),
        end: Some(1),
    };
    second.aggregates.truncate(1);
    second.filters.truncate(1);
    second.output.remove(2);
    second.output.truncate(3);
    second.schema = Arc::new(first.schema.project(&[0, 1, 3]).unwrap());

    for phases in [false, true] {
        let mut upper = Node::new(&first, Phase::Single, 100);
        let mut local = Node::new(&second, Phase::Local, 100);
        let mut lower = Node::new(
            &second,
            if phases { Phase::Final } else { Phase::Single },
            100,
        );
        let feed = |upper: &mut Node, local: &mut Node, lower: &mut Node, wm: i64| {
            for batch in upper.take() {
                if phases {
                    local.rows(batch)
                } else {
                    lower.rows(batch)
                }
            }
            local.watermark(wm);
            local.take().into_iter().for_each(|b| lower.rows(b));
            lower.watermark(wm);
        };
        for step in &steps {
            match step {
                Step::Rows(rows) => upper.rows(batch(rows)),
                Step::Watermark(time) => {
                    upper.watermark(*time);
                    feed(&mut upper, &mut local, &mut lower, *time);
                }
            }
        }
        upper.watermark(i64::MAX);
        feed(&mut upper, &mut local, &mut lower, i64::MAX);
        let found = lines(&lower.take());
        assert_eq!(lower.late() + local.late(), 0);

        let groups = answer(&in_windows(&steps, kind, 0), &["key"]);
        let mut expected = std::collections::BTreeMap::<String, usize>::new();
        for group in groups {
            let window: Vec<&str> = group.splitn(3, " | ").take(2).collect();
            *expected.entry(window.join(" | ")).or_default() += 1;
        }
        let expected: Vec<String> = expected
            .into_iter()
            .map(|(window, count)| format!("{window} | {count}"))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn windows_by_start_alone_close_at_the_end_of_the_input() {
    let kind = WindowKind::Tumble { size: 100 };
    let mut spec = usual(
        Assign::Columns {
            start: Some(0),
            end: None,
        },
        &[],
    );
    // Each row's own time serves as the start of its window.
    spec.output.remove(1);
    spec.schema = Arc::new({
        let fields: Vec<usize> = (0..spec.schema.fields().len())
            .filter(|i| *i != 1)
            .collect();
        spec.schema.project(&fields).unwrap()
    });
    let mut rng = rng("start_alone", 1);
    let rows: Vec<Row> = (0..40)
        .map(|i| random_row(&mut rng, i % 4 * 100, 3))
        .collect();
    let expected = answer(
        &rows
            .iter()
            .map(|r| (r.clone(), (r.ts.unwrap(), i64::from(r.ts.is_none()))))
            .collect::<Vec<_>>(),
        &[],
    );
    let mut node = Node::new(&spec, Phase::Single, 10);
    node.rows(batch(&rows[..20]));
    node.watermark(1_000_000);
    assert!(
        node.take().is_empty(),
        "{kind:?}: nothing says that a window is over"
    );
    node.rows(batch(&rows[20..]));
    node.end();
    assert_eq!(node.late(), 0);
    let without_end: Vec<String> = expected
        .iter()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, " | ").collect();
            format!("{} | {}", parts[0], parts[2])
        })
        .collect();
    same(&lines(&node.take()), &without_end, "by start alone");
}
