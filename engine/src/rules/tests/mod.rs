//! Rules against an independent answer: each row by itself, in plain code, for random rows in batches
//! of random sizes.

mod checks;
mod fused;
pub(super) mod harness;

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::dead_letter::MemoryStore;
use crate::error::codes;
use harness::{Row, batch, column, greater, rule, schema, task};

/// What becomes of a row, as its rules say.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Published(Row),
    Dropped,
    Quarantined(&'static str, Vec<&'static str>),
}

/// The rules of the tests: `a > 0` quarantines, `b > a` (where `a > 2`) drops, `a > 5` sets `b` to `a`,
/// `b > 3` warns and takes null for a violation, `a > 1` quarantines elsewhere. `b > 4` would end the job and
/// only counts, `b > 9` is not asked.
fn rules() -> Vec<Rule> {
    vec![
        rule(
            "positive",
            greater("a", 0),
            Action::Quarantine("bad".into()),
        ),
        Rule {
            when: Some(greater("a", 2)),
            ..rule("ordered", harness::more("b", "a"), Action::Drop)
        },
        rule(
            "large",
            greater("a", 5),
            Action::Set(vec![("b".into(), column("a"))]),
        ),
        Rule {
            unknown_violates: true,
            ..rule("known", greater("b", 3), Action::Warn)
        },
        rule("more", greater("a", 1), Action::Quarantine("few".into())),
        Rule {
            switch: Switch::DryRun,
            ..rule("tried", greater("b", 4), Action::Fail)
        },
        Rule {
            switch: Switch::Off,
            ..rule("off", greater("b", 9), Action::Fail)
        },
    ]
}

fn above(value: Option<i64>, bound: i64) -> Option<bool> {
    value.map(|value| value > bound)
}

/// The same rules in plain code; counts evaluated, violated and unknown rows.
fn judged(row: &Row, counts: &mut BTreeMap<&'static str, [u64; 3]>) -> Expected {
    let mut broken = Vec::new();
    let mut ask = |name, answer: Option<bool>, unknown_violates: bool| {
        let [evaluated, violated, unknown] = counts.entry(name).or_default();
        let bad = answer.map_or(unknown_violates, |answer| !answer);
        *evaluated += u64::from(answer.is_some() || unknown_violates);
        *violated += u64::from(bad);
        *unknown += u64::from(answer.is_none());
        if bad {
            broken.push(name);
        }
    };
    ask("positive", above(row.a, 0), false);
    if above(row.a, 2) == Some(true) {
        ask("ordered", row.a.zip(row.b).map(|(a, b)| b > a), false);
    }
    ask("large", above(row.a, 5), false);
    ask("known", above(row.b, 3), true);
    ask("more", above(row.a, 1), false);
    ask("tried", above(row.b, 4), false);
    broken.retain(|name| *name != "tried");
    match broken.as_slice() {
        names if names.contains(&"positive") => Expected::Quarantined("bad", broken),
        names if names.contains(&"more") => Expected::Quarantined("few", broken),
        names if names.contains(&"ordered") => Expected::Dropped,
        names if names.contains(&"large") => Expected::Published(Row {
            b: row.a,
            ..row.clone()
        }),
        _ => Expected::Published(row.clone()),
    }
}

fn rows_of(batches: &[RecordBatch]) -> Vec<Row> {
    let rows = batches.iter().flat_map(|batch| {
        let of = |name: &str| {
            let array = batch.column_by_name(name).unwrap();
            array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
        };
        let (id, a, b) = (of("id"), of("a"), of("b"));
        id.into_iter().zip(a).zip(b).map(|((id, a), b)| Row {
            id: id.unwrap(),
            a,
            b,
        })
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by_key(|row| row.id);
    rows
}

fn names_of(rows: &RecordBatch, row: usize) -> Vec<String> {
    let names = rows
        .column_by_name("_rules")
        .unwrap()
        .as_list::<i32>()
        .value(row);
    let names = names.as_string::<i32>().iter();
    names.map(|name| name.unwrap().to_owned()).collect()
}

#[test]
fn rows_meet_the_fate_that_plain_code_gives_them() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let rows: Vec<Row> = (0..rng.random_range(0..200))
            .map(|id| Row::random(&mut rng, id))
            .collect();
        let mut counts = BTreeMap::new();
        let expected: Vec<_> = rows.iter().map(|row| judged(row, &mut counts)).collect();

        let store = std::sync::Arc::new(MemoryStore::default());
        let (task, letters) = task(&store);
        let judge = Judge::try_new("t", &rules(), &schema(), None).unwrap();
        let mut published = Vec::new();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rng.random_range(1..=rest.len()));
            let judged = judge.judge(batch(some), &Origin::of("file"), &task);
            published.push(judged.unwrap().rows);
            rest = others;
        }
        letters.commit(&letters.prepare_all().unwrap()).unwrap();

        let good = expected.iter().filter_map(|fate| match fate {
            Expected::Published(row) => Some(row.clone()),
            _ => None,
        });
        assert_eq!(rows_of(&published), good.collect::<Vec<_>>(), "seed {seed}");
        for into in ["bad", "few"] {
            let kept = store.rows(into);
            let bad: Vec<_> = rows
                .iter()
                .zip(&expected)
                .filter_map(|(row, fate)| match fate {
                    Expected::Quarantined(table, names) if *table == into => Some((row, names)),
                    _ => None,
                })
                .collect();
            let found = rows_of(&kept);
            assert!(
                found.iter().eq(bad.iter().map(|(row, _)| *row)),
                "seed {seed}"
            );
            let Some(first) = kept.first() else { continue };
            let all = concat_batches(first.schema_ref(), &kept).unwrap();
            for (at, (_, names)) in bad.iter().enumerate() {
                assert_eq!(names_of(&all, at), **names, "seed {seed}");
            }
        }
        if rows.is_empty() {
            assert!(letters.tallies().is_empty());
            continue;
        }
        let tally = letters.tallies().remove(0);
        assert!(tally.adds_up());
        assert_eq!(tally.rows_in, rows.len() as u64);
        let of = |fate: fn(&Expected) -> bool| expected.iter().filter(|e| fate(e)).count() as u64;
        assert_eq!(tally.dropped, of(|fate| *fate == Expected::Dropped));
        assert_eq!(
            tally.quarantined,
            of(|fate| matches!(fate, Expected::Quarantined(..)))
        );
        for rule in &tally.rules {
            let known = counts.get(rule.name.as_str()).copied().unwrap_or_default();
            let found = [rule.evaluated, rule.violated, rule.unknown];
            assert_eq!(found, known, "seed {seed}: {}", rule.name);
        }
    }
}

#[test]
fn a_batch_without_bad_rows_is_not_copied() {
    let (task, _) = task(&std::sync::Arc::default());
    let judge = Judge::try_new("t", &rules(), &schema(), None).unwrap();
    let good = batch(&[
        Row {
            id: 1,
            a: Some(7),
            b: Some(9),
        },
        Row {
            id: 2,
            a: Some(8),
            b: Some(9),
        },
    ]);
    let judged = judge
        .judge(good.clone(), &Origin::default(), &task)
        .unwrap();
    assert!(judged.published.is_none());
    let same = good.columns().iter().zip(judged.rows.columns());
    assert!({ same }.all(|(before, after)| std::sync::Arc::ptr_eq(before, after)));
}

#[test]
fn a_quarantined_row_says_why_it_is_there() {
    let store = std::sync::Arc::new(MemoryStore::default());
    let (task, letters) = task(&store);
    let judge = Judge::try_new("t", &rules(), &schema(), None).unwrap();
    let bad = Row {
        id: 1,
        a: Some(-3),
        b: None,
    };
    let origin = Origin {
        offset: Some(&|row| Some(row as u64 + 7)),
        raw: Some(&|row| (row == 0).then_some(b"1,-3,".as_slice())),
        ..Origin::of("a.csv")
    };
    judge
        .judge(batch(std::slice::from_ref(&bad)), &origin, &task)
        .unwrap();
    letters.commit(&letters.prepare_all().unwrap()).unwrap();
    let rows = store.rows("bad").remove(0);
    let text = |name: &str| {
        let column = rows.column_by_name(name).unwrap();
        column.as_string::<i32>().value(0).to_owned()
    };
    assert_eq!(rows.schema(), kept_schema(&schema()));
    assert_eq!(
        (text("_table"), text("_origin")),
        ("t".to_owned(), "a.csv".to_owned())
    );
    assert_eq!(
        (text("_status"), text("_pipeline")),
        ("open".to_owned(), "test".to_owned())
    );
    let number = |rows: &RecordBatch| {
        let attempt = rows.column_by_name("_attempt").unwrap();
        let offset = rows.column_by_name("_offset").unwrap();
        let attempt = attempt.as_primitive::<Int32Type>().value(0);
        (attempt, offset.as_primitive::<Int64Type>().value(0))
    };
    assert_eq!(number(&rows), (0, 7));
    let raw = rows.column_by_name("_raw").unwrap();
    assert_eq!(raw.as_binary::<i32>().value(0), b"1,-3,");
    assert_eq!(text("_observed"), r#"{"a":-3,"b":null}"#);
    assert_eq!(names_of(&rows, 0), ["positive", "large", "known", "more"]);
    assert!(rows.column_by_name("_event_time").unwrap().is_null(0));

    // Judged once more, it keeps its name and where it came from.
    let again = Origin {
        again: Some(&rows),
        ..Origin::default()
    };
    judge
        .judge(batch(std::slice::from_ref(&bad)), &again, &task)
        .unwrap();
    letters.commit(&letters.prepare_all().unwrap()).unwrap();
    let later = store.rows("bad").remove(1);
    assert_eq!(number(&later), (1, 7));
    for column in ["_id", "_origin", "_raw", "_first_seen", "_rules"] {
        assert_eq!(later.column_by_name(column), rows.column_by_name(column));
    }
}

#[test]
fn a_rule_that_fails_the_update_names_itself_and_the_row() {
    let store = std::sync::Arc::new(MemoryStore::default());
    let (task, letters) = task(&store);
    let fails = [rule("strict", greater("a", 0), Action::Fail)];
    let judge = Judge::try_new("t", &fails, &schema(), None).unwrap();
    let rows = [
        Row {
            id: 1,
            a: Some(1),
            b: None,
        },
        Row {
            id: 2,
            a: Some(0),
            b: None,
        },
    ];
    let error = judge
        .judge(batch(&rows), &Origin::default(), &task)
        .unwrap_err();
    assert_eq!(error.code(), codes::RULE_BROKEN);
    assert_eq!(error.message(), "a row of \"t\" breaks rule \"strict\"");
    assert_eq!(
        error.detail_text(),
        Some(r#"the row is {"a":0,"b":null,"id":2}"#)
    );
    // A reader whose counts another one keeps fails as well.
    let muted = harness::muted(&task);
    assert!(
        judge
            .judge(batch(&rows), &Origin::default(), &muted)
            .is_err()
    );
    assert!(letters.tallies().is_empty());
}

#[test]
fn versions_differ_where_the_text_does() {
    assert_eq!(version_of("EXPECT (a > 0)"), version_of("EXPECT (a > 0)"));
    assert_ne!(version_of("EXPECT (a > 0)"), version_of("EXPECT (a > 1)"));
}
