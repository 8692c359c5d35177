//! Window functions that follow the watermark, and processing time.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use expect_test::expect;

use super::harness::*;
use crate::error::codes;
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Output};
use crate::window::{ExpandFactory, ProcTimeFactory, WindowSpec};

fn row(ts: i64, key: i64) -> Row {
    Row {
        ts: Some(ts),
        key: Some(key),
        name: "a",
        value: None,
        flag: true,
    }
}

fn expand() -> Node {
    expand_with(0)
}

fn expand_with(lateness: i64) -> Node {
    let mut fields: Vec<Field> = input()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    fields.push(Field::new("window_start", micros(), false));
    fields.push(Field::new("window_end", micros(), false));
    let spec = WindowSpec::hop(10, 20).unwrap();
    let factory = ExpandFactory::new(spec, 0, Arc::new(Schema::new(fields)));
    let factory = factory.with_lateness(lateness).with_sources("rows".into());
    Node::any(Arc::new(factory), 100)
}

#[test]
fn a_row_goes_into_the_windows_that_are_not_over() {
    let mut node = expand();
    let mut given = Vec::new();
    for watermark in [0, 20, 30] {
        node.watermark(watermark);
        node.rows(batch(&[row(15, watermark)]));
        node.restart();
        given.push(lines(&node.take()).join("\n"));
    }
    expect![[r#"
        1970-01-01T00:00:00.000015 | 0 | a |  | true | 1970-01-01T00:00:00 | 1970-01-01T00:00:00.000020
        1970-01-01T00:00:00.000015 | 0 | a |  | true | 1970-01-01T00:00:00.000010 | 1970-01-01T00:00:00.000030
        1970-01-01T00:00:00.000015 | 20 | a |  | true | 1970-01-01T00:00:00.000010 | 1970-01-01T00:00:00.000030
    "#]]
    .assert_eq(&given.join("\n"));
    assert_eq!(node.late(), 1, "its windows are over");
    node.context.job.dead_letters.flush().unwrap();
    assert_eq!(node.letters.letters().len(), 1);
}

#[test]
fn a_row_goes_into_windows_that_are_kept_for_it() {
    let mut node = expand_with(5);
    let mut given = Vec::new();
    for watermark in [24, 25, 34, 35] {
        node.watermark(watermark);
        node.rows(batch(&[row(15, watermark)]));
        let windows = node
            .take()
            .iter()
            .map(|batch| batch.num_rows())
            .sum::<usize>();
        given.push((windows, node.late()));
    }
    assert_eq!(given, [(2, 0), (1, 0), (1, 0), (0, 1)]);
}

#[test]
fn several_subtasks_go_on_from_the_one_furthest_behind() {
    let mut states = Vec::new();
    for watermark in [50, 20] {
        let mut node = expand();
        node.watermark(watermark);
        states.push(snapshot(&mut *node.operator));
    }
    let mut node = expand();
    for state in states {
        let mut state = state.into_iter().map(Ok);
        node.operator
            .restore(&mut state, &KeyGroups::all())
            .unwrap();
    }
    node.rows(batch(&[row(5, 1), row(25, 1)]));
    assert_eq!(node.late(), 1, "20 has passed the first row only");
    let mut foreign = std::iter::once(Ok(batch(&[])));
    let error = node.operator.restore(&mut foreign, &KeyGroups::all());
    assert_eq!(error.unwrap_err().code(), codes::CORRUPT);
}

#[test]
fn processing_time_gives_rows_and_watermarks_the_clocks_time() {
    let factory = ProcTimeFactory::try_new(input(), 0).unwrap();
    let mut node = Node::any(Arc::new(factory), 100);
    let before = node.context.job.env.clock().now_micros();
    node.rows(batch(&[row(5, 1), row(7, 2)]));
    let after = node.context.job.env.clock().now_micros();
    let given = node.take();
    let times = given[0]
        .column(0)
        .as_primitive::<TimestampMicrosecondType>();
    assert!(times.values().iter().all(|t| (before..=after).contains(t)));
    assert_eq!(
        given[0].columns()[1..],
        batch(&[row(5, 1), row(7, 2)]).columns()[1..]
    );
    // The event time of the input does not matter, and a clock that goes back neither.
    let stamped = times.value(0);
    let said = node.operator.output_watermark(EventTime(i64::MAX - 1));
    assert_eq!(said, EventTime(stamped));
    let mut out = Output::default();
    node.operator.tick(stamped - 1_000_000, &mut out).unwrap();
    assert_eq!(out.take_watermark(), Some(EventTime(stamped)));
    node.operator
        .tick(stamped + 5_000_000_000, &mut out)
        .unwrap();
    assert_eq!(
        out.take_watermark(),
        Some(EventTime(stamped + 5_000_000_000))
    );
    node.rows(batch(&[row(5, 1)]));
    let given = node.take();
    let times = given[0]
        .column(0)
        .as_primitive::<TimestampMicrosecondType>();
    assert_eq!(
        times.value(0),
        stamped + 5_000_000_000,
        "no row is behind the watermark"
    );
    let state = node.operator.snapshot(Extent::All, &mut out).unwrap();
    assert_eq!(state.count(), 0);
    assert!(
        ProcTimeFactory::try_new(input(), 1).is_err(),
        "a number is no time"
    );
}
