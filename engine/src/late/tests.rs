//! What becomes of late rows: letters that hold the whole row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, StringArray};
use arrow::datatypes::IntervalMonthDayNanoType;
use arrow::record_batch::RecordBatch;
use expect_test::expect;

use super::*;

fn text(rows: &RecordBatch) -> String {
    let rows = json_rows(rows).unwrap();
    let lines = rows.into_iter().map(|row| String::from_utf8(row).unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_row_is_one_object_with_its_nulls() {
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a\nb"), None, Some("c")]));
    let value: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
    let rows = RecordBatch::try_from_iter([("name", name), ("value", value)]).unwrap();
    expect![[r#"
        {"name":"a\nb","value":1}
        {"name":null,"value":2}
        {"name":"c","value":null}"#]]
    .assert_eq(&text(&rows));
}

#[test]
fn what_json_has_no_form_for_is_text() {
    let span = IntervalMonthDayNanoType::make_value(0, 1, 0);
    let spans: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![Some(span), None]));
    let rows = RecordBatch::try_from_iter([("span", spans)]).unwrap();
    let text = text(&as_text(&rows).unwrap());
    expect![[r#"
        {"span":"1 days"}
        {"span":null}"#]]
    .assert_eq(&text);
}

#[test]
fn the_detail_says_when() {
    let over = Why::Over {
        time: Some(EventTime(1_000_000)),
        end: EventTime(2_000_000),
    };
    let detail = |why: Why| why.detail(EventTime(3_000_000)).to_string();
    expect![[r#"
        the row's time is 1970-01-01T00:00:01.000Z, its window ended at 1970-01-01T00:00:02.000Z; the watermark was at 1970-01-01T00:00:03.000Z
        the row has no event time that can be used; the watermark was at 1970-01-01T00:00:03.000Z"#]]
    .assert_eq(&[detail(over), detail(Why::NoTime)].join("\n"));
}
