//! Conditions in many forms; the bounds that are read from them, and what is left.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::{Expr, cast, col, lit};
use expect_test::{Expect, expect};

use super::*;

fn schema(unit: TimeUnit) -> DFSchema {
    let time = |name: &str| Field::new(name, DataType::Timestamp(unit, None), true);
    let side = |name: &str| {
        let fields = vec![
            Field::new("id", DataType::Int64, true),
            time("ts"),
            time("other"),
        ];
        DFSchema::try_from_qualified_schema(TableReference::bare(name), &Schema::new(fields))
            .unwrap()
    };
    side("a").join(&side("b")).unwrap()
}

fn seconds(seconds: i64) -> Expr {
    interval(0, 0, seconds * 1_000_000_000)
}

fn interval(months: i32, days: i32, nanos: i64) -> Expr {
    let value = IntervalMonthDayNano::new(months, days, nanos);
    lit(ScalarValue::IntervalMonthDayNano(Some(value)))
}

fn read(unit: TimeUnit, equal: &[(usize, usize)], conditions: &[Expr]) -> String {
    let schema = schema(unit);
    let time = |column| Time {
        column,
        base: column,
        more: 0,
    };
    let times = Times {
        schema: &schema,
        left: 3,
        times: &[time(1), time(4)],
    };
    match times.bounds(equal, conditions) {
        Some((bounds, more)) => {
            let more: Vec<_> = more.iter().map(ToString::to_string).collect();
            let Bounds { lower, upper, .. } = bounds;
            assert_eq!((bounds.left, bounds.right), (1, 4));
            format!("{lower} to {upper} [{}]", more.join(", "))
        }
        None => "none".to_owned(),
    }
}

fn check(conditions: &[Expr], expected: Expect) {
    expected.assert_eq(&read(TimeUnit::Microsecond, &[], conditions));
}

#[test]
fn both_ways_in_any_form() {
    let (a, b) = (|| col("a.ts"), || col("b.ts"));
    check(
        &[a().gt_eq(b() - seconds(5)), a().lt_eq(b() + seconds(9))],
        expect!["-5000000 to 9000000 []"],
    );
    check(
        &[(a() - seconds(5)).lt(b()), b().lt(a() + seconds(1))],
        expect!["-999999 to 4999999 []"],
    );
    check(
        &[(seconds(1) + b()).eq(a()), col("a.id").gt(col("b.id"))],
        expect!["1000000 to 1000000 [a.id > b.id]"],
    );
    check(
        &[(a() - b()).lt_eq(seconds(3)), a().gt_eq(b())],
        expect!["0 to 3000000 []"],
    );
    let duration = lit(ScalarValue::DurationMillisecond(Some(20)));
    check(
        &[duration.gt_eq(b() - a()), b().gt_eq(a())],
        expect!["-20000 to 0 []"],
    );
    check(
        &[a().gt_eq(b() - interval(0, 1, 0)), a().lt_eq(b())],
        expect!["-86400000000 to 0 []"],
    );
    check(
        &[
            a().gt_eq(b()),
            a().lt(b() + seconds(9)),
            a().lt(b() + seconds(4)),
        ],
        expect!["0 to 3999999 []"],
    );
}

#[test]
fn not_enough() {
    let (a, b) = (|| col("a.ts"), || col("b.ts"));
    check(&[a().gt_eq(b())], expect!["none"]);
    check(
        &[a().gt_eq(b()), a().lt_eq(b() + interval(1, 0, 0))],
        expect!["none"],
    );
    check(
        &[a().gt_eq(b()), a().lt_eq(col("b.other") + seconds(1))],
        expect!["none"],
    );
    check(
        &[a().gt_eq(b()), a().lt_eq(lit("2024-01-01"))],
        expect!["none"],
    );
    check(
        &[a().gt_eq(b()), a().lt_eq(b()).or(col("a.id").eq(lit(1)))],
        expect!["none"],
    );
    // A cast to whole seconds moves the time.
    let second = DataType::Timestamp(TimeUnit::Second, None);
    check(
        &[
            cast(a(), second.clone()).gt_eq(cast(b(), second)),
            a().lt_eq(b()),
        ],
        expect!["none"],
    );
}

#[test]
fn equal_times_are_bounds() {
    let equal = &[(0, 3), (1, 4)];
    assert_eq!(read(TimeUnit::Microsecond, equal, &[]), "0 to 0 []");
}

#[test]
fn nanoseconds_are_decided_by_the_condition() {
    let (a, b) = (|| col("a.ts"), || col("b.ts"));
    let conditions = [a().gt(b()), a().lt_eq(b() + seconds(1))];
    let found = read(TimeUnit::Nanosecond, &[], &conditions);
    assert!(
        found.starts_with("-1 to 1000001 [a.ts > b.ts, a.ts <= b.ts"),
        "{found}"
    );
}
