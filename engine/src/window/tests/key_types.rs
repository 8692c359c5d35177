//! Time columns of every timestamp type, in and out; expansion; descriptions and schemas.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use expect_test::expect;

use super::harness::*;
use crate::error::codes;
use crate::operator::{OperatorFactory, Output};
use crate::window::{
    Assign, ExpandFactory, OutputColumn, Phase, WindowAggregateFactory, WindowSpec, expand,
};

const S: i64 = 1_000_000;

fn all_types() -> Vec<DataType> {
    let units = [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ];
    let zones = [None, Some(Arc::from("Europe/Madrid"))];
    units
        .into_iter()
        .flat_map(|unit| zones.clone().map(|zone| DataType::Timestamp(unit, zone)))
        .collect()
}

fn times(seconds: &[Option<i64>], data_type: &DataType) -> ArrayRef {
    let micros: arrow::array::TimestampMicrosecondArray =
        seconds.iter().map(|s| s.map(|s| s * S)).collect();
    let DataType::Timestamp(unit, zone) = data_type else {
        panic!()
    };
    let plain = cast(&micros, &DataType::Timestamp(*unit, None)).unwrap();
    let ints = cast(&plain, &DataType::Int64).unwrap();
    cast(&ints, &DataType::Timestamp(*unit, zone.clone())).unwrap()
}

fn expanded(time: &DataType, window: &DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", time.clone(), true),
        Field::new("window_start", window.clone(), false),
        Field::new("window_end", window.clone(), false),
    ]))
}

fn seconds(column: &dyn Array) -> Vec<Option<i64>> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        panic!()
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => S,
        TimeUnit::Nanosecond => S * 1_000,
    };
    let ints = cast(column, &DataType::Int64).unwrap();
    ints.as_primitive::<Int64Type>()
        .iter()
        .map(|v| v.map(|v| v / per_second))
        .collect()
}

#[test]
fn every_timestamp_type_in_and_out() {
    let spec = WindowSpec::hop(10 * S, 20 * S).unwrap();
    let given = [Some(-3), None, Some(5), Some(10)];
    for time in all_types() {
        for window in all_types() {
            let schema = expanded(&time, &window);
            let input = Arc::new(schema.project(&[0]).unwrap());
            let batch = RecordBatch::try_new(input, vec![times(&given, &time)]).unwrap();
            let found = expand(&batch, 0, &spec, &schema).unwrap();
            let some = |values: [i64; 6]| values.map(Some).to_vec();
            assert_eq!(
                seconds(found.column(0)),
                some([-3, -3, 5, 5, 10, 10]),
                "{time}"
            );
            assert_eq!(
                seconds(found.column(1)),
                some([-20, -10, -10, 0, 0, 10]),
                "{time} {window}"
            );
            assert_eq!(
                seconds(found.column(2)),
                some([0, 10, 10, 20, 20, 30]),
                "{time} {window}"
            );

            let mut aggregate = usual(Assign::Time { column: 0, spec }, &[]);
            aggregate.output = vec![OutputColumn::WindowEnd, OutputColumn::WindowStart];
            aggregate.schema = Arc::new(schema.project(&[2, 1]).unwrap());
            let mut fields = input_fields();
            fields[0] = Arc::new(Field::new("ts", time.clone(), true));
            aggregate.input = Arc::new(Schema::new(fields));
            let rows: Vec<Row> = given
                .iter()
                .map(|_| Row {
                    ts: None,
                    key: None,
                    name: "",
                    value: None,
                    flag: true,
                })
                .collect();
            let mut columns = super::harness::batch(&rows).columns().to_vec();
            columns[0] = times(&given, &time);
            let rows = RecordBatch::try_new(Arc::clone(&aggregate.input), columns).unwrap();
            let mut node = Node::new(&aggregate, Phase::Single, 100);
            node.rows(rows);
            node.end();
            let found = node.take();
            assert_eq!(found.len(), 1);
            assert_eq!(
                seconds(found[0].column(0)),
                [0, 10, 20, 30].map(Some).to_vec()
            );
            assert_eq!(
                seconds(found[0].column(1)),
                [-20, -10, 0, 10].map(Some).to_vec()
            );
            assert_eq!(node.late(), 1);
        }
    }
}

fn input_fields() -> Vec<Arc<Field>> {
    input().fields().iter().map(Arc::clone).collect()
}

#[test]
fn nanoseconds_are_rounded_down_into_their_window() {
    let schema = expanded(
        &DataType::Timestamp(TimeUnit::Nanosecond, None),
        &DataType::Timestamp(TimeUnit::Nanosecond, None),
    );
    let column = Arc::new(TimestampNanosecondArray::from(vec![-1, 0, 999, i64::MAX]));
    let batch =
        RecordBatch::try_new(Arc::new(schema.project(&[0]).unwrap()), vec![column]).unwrap();
    let found = expand(&batch, 0, &WindowSpec::tumble(1).unwrap(), &schema).unwrap();
    let starts = cast(found.column(1), &DataType::Int64).unwrap();
    assert_eq!(
        starts.as_primitive::<Int64Type>().values().to_vec(),
        [-1_000, 0, 0, i64::MAX / 1_000 * 1_000]
    );
}

#[test]
fn expansion_as_an_operator() {
    let schema = expanded(&micros(), &micros());
    let factory = ExpandFactory::new(
        WindowSpec::cumulate(10, 30).unwrap(),
        0,
        Arc::clone(&schema),
    );
    expect!["Window CUMULATE(10µs, 30µs) on ts"].assert_eq(&factory.describe());
    let node = Node::new(
        &usual(
            Assign::Time {
                column: 0,
                spec: WindowSpec::tumble(1).unwrap(),
            },
            &[],
        ),
        Phase::Single,
        4,
    );
    let mut operator = factory.create(&node.context).unwrap();
    let input = Arc::new(schema.project(&[0]).unwrap());
    let column = arrow::array::TimestampMicrosecondArray::from(vec![
        Some(5),
        Some(25),
        None,
        Some(i64::MAX),
        Some(30),
    ]);
    let mut out = Output::default();
    operator
        .process(
            0,
            RecordBatch::try_new(input, vec![Arc::new(column)]).unwrap(),
            &mut out,
        )
        .unwrap();
    let batches = out.take();
    assert_eq!(node.late(), 2);
    assert_eq!(
        batches
            .iter()
            .map(RecordBatch::num_rows)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    expect![[r#"
        +----------------------------+----------------------------+----------------------------+
        | ts                         | window_start               | window_end                 |
        +----------------------------+----------------------------+----------------------------+
        | 1970-01-01T00:00:00.000005 | 1970-01-01T00:00:00        | 1970-01-01T00:00:00.000010 |
        | 1970-01-01T00:00:00.000005 | 1970-01-01T00:00:00        | 1970-01-01T00:00:00.000020 |
        | 1970-01-01T00:00:00.000005 | 1970-01-01T00:00:00        | 1970-01-01T00:00:00.000030 |
        | 1970-01-01T00:00:00.000025 | 1970-01-01T00:00:00        | 1970-01-01T00:00:00.000030 |
        | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000040 |
        | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000050 |
        | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000030 | 1970-01-01T00:00:00.000060 |
        +----------------------------+----------------------------+----------------------------+"#]]
    .assert_eq(&pretty_format_batches(&batches).unwrap().to_string());
}

#[test]
fn an_expansion_that_would_fill_memory_is_refused() {
    let schema = expanded(&micros(), &micros());
    let spec = WindowSpec::hop(1, 100_000).unwrap();
    let batch = RecordBatch::try_new(
        Arc::new(schema.project(&[0]).unwrap()),
        vec![Arc::new(arrow::array::TimestampMicrosecondArray::from(
            vec![0; 8_192],
        ))],
    )
    .unwrap();
    let error = expand(&batch, 0, &spec, &schema).unwrap_err();
    assert_eq!(error.code(), codes::LIMIT);
}

#[test]
fn descriptions_schemas_and_shuffle_keys() {
    let spec = WindowSpec::hop(10 * S, 60 * S).unwrap();
    let spec = usual(Assign::Time { column: 0, spec }, &["name", "key"]);
    let local = WindowAggregateFactory::try_new(spec.clone(), Phase::Local).unwrap();
    expect!["WindowAggregate local HOP(10s, 1min) on ts keys [name, key] aggregates [count_false, count_false, sum_false, min_false, max_false, avg_false, count_true, sum_false FILTER (flag@4)]"]
        .assert_eq(&local.describe());
    let names: Vec<_> = local
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names[..3], ["_slice", "name", "key"]);
    let keys: Vec<_> = local
        .shuffle_keys()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(keys, ["name@1", "key@2"]);

    let mut wrong = spec.clone();
    wrong.assign = Assign::Time {
        column: 2,
        spec: WindowSpec::tumble(1).unwrap(),
    };
    let error = WindowAggregateFactory::try_new(wrong, Phase::Single).unwrap_err();
    assert_eq!(error.code(), codes::WINDOW);
    let mut wrong = spec;
    wrong.assign = Assign::Columns {
        start: None,
        end: Some(0),
    };
    let error = WindowAggregateFactory::try_new(wrong, Phase::Single).unwrap_err();
    assert_eq!(error.code(), codes::WINDOW);
}
