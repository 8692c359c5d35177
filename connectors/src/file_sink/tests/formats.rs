//! Each format and compression gives the rows back.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int64Array, IntervalMonthDayNanoArray, ListArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use weir_engine::error::codes;

use super::{Rig, rows};

fn all_types() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let decimal = Decimal128Array::from(vec![Some(12_345), None, Some(-1)]);
    let times = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_001), None, Some(0)]);
    let words: DictionaryArray<Int32Type> = [Some("a"), None, Some("b")].into_iter().collect();
    let view = StringViewArray::from(vec![
        Some("a text longer than twelve bytes"),
        None,
        Some(""),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "decimal",
            Arc::new(decimal.with_precision_and_scale(12, 2).unwrap()),
        ),
        ("time", Arc::new(times.with_timezone("Europe/Berlin"))),
        ("list", Arc::new(list)),
        ("word", Arc::new(words)),
        ("view", Arc::new(view)),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "float",
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(19_000), None, Some(-1)])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

#[tokio::test]
async fn parquet_gives_back_all_types_with_each_compression() {
    for compression in ["zstd", "snappy", "lz4", "gzip", "none"] {
        let rig = Rig::new();
        let batch = all_types();
        rig.run(
            &[("compression", compression)],
            &[batch.clone(), batch.clone()],
        )
        .await;
        let [file] = rig.files().try_into().unwrap();
        assert!(file.ends_with("-0-000000.parquet"), "{file}");
        let read = rig.read_parquet(&file);
        assert_eq!(read.slice(0, 3), batch, "{compression}");
        assert_eq!(read.slice(3, 3), batch, "{compression}");
    }
}

#[tokio::test]
async fn parquet_has_the_row_groups_that_are_asked_for() {
    let rig = Rig::new();
    rig.run(
        &[("row_group_rows", "40")],
        &[rows(0..100, |n| Some(n.to_string()))],
    )
    .await;
    let [file] = rig.files().try_into().unwrap();
    let bytes = bytes::Bytes::from(std::fs::read(rig.root().join(file)).unwrap());
    let builder =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let groups = builder.metadata().row_groups();
    assert_eq!(
        groups.iter().map(|g| g.num_rows()).collect::<Vec<_>>(),
        [40, 40, 20]
    );
}

#[tokio::test]
async fn csv_and_json_are_written_line_by_line() {
    let batches = [
        rows(0..2, |n| (n == 0).then(|| "a,\"b\"".to_owned())),
        rows(2..3, |_| Some("é\n".to_owned())),
    ];
    for (compression, suffix) in [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")] {
        let cases: [(&[(&str, &str)], _, _); 3] = [
            (
                &[("format", "csv")],
                "csv",
                "n,k\n0,\"a,\"\"b\"\"\"\n1,\n2,\"é\n\"\n",
            ),
            (
                &[("format", "csv"), ("header", "false"), ("delimiter", ";")],
                "csv",
                "0;\"a,\"\"b\"\"\"\n1;\n2;\"é\n\"\n",
            ),
            (
                &[("format", "json")],
                "json",
                "{\"n\":0,\"k\":\"a,\\\"b\\\"\"}\n{\"n\":1}\n{\"n\":2,\"k\":\"é\\n\"}\n",
            ),
        ];
        for (options, extension, expected) in cases {
            let rig = Rig::new();
            let options = [options, &[("compression", compression)]].concat();
            rig.run(&options, &batches).await;
            let [file] = rig.files().try_into().unwrap();
            assert!(file.ends_with(&format!(".{extension}{suffix}")), "{file}");
            assert_eq!(rig.read_text(&file), expected);
        }
    }
}

#[tokio::test]
async fn no_rows_write_no_file() {
    let rig = Rig::new();
    rig.run(&[], &[rows(0..0, |_| None)]).await;
    assert!(rig.files().is_empty());
}

#[tokio::test]
async fn what_a_format_cannot_take_is_refused_at_once() {
    let rig = Rig::new();
    let list = all_types().project(&[2]).unwrap().schema();
    let error = rig.sink(&list, &[("format", "csv")]).await.unwrap_err();
    assert_eq!(error.code(), codes::SCHEMA);
    let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::new_null(1));
    let interval = RecordBatch::try_from_iter([("i", interval)])
        .unwrap()
        .schema();
    let error = rig.sink(&interval, &[]).await.unwrap_err();
    assert_eq!(error.code(), codes::SCHEMA);
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let rig = Rig::new();
    let schema = rows(0..0, |_| None).schema();
    let cases: &[&[(&str, &str)]] = &[
        &[("format", "csv"), ("compression", "snappy")],
        &[("format", "json"), ("header", "false")],
        &[("format", "csv"), ("row_group_rows", "5")],
        &[("format", "csv"), ("delimiter", "ab")],
        &[("roll_size", "0")],
        &[("roll_rows", "0")],
        &[("roll_interval", "0 seconds")],
        &[("row_group_rows", "0")],
        &[("format", "parket")],
    ];
    for case in cases {
        let error = rig.sink(&schema, case).await.unwrap_err();
        assert_eq!(error.code(), codes::OPTION, "{case:?}");
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_the_schema_are_an_error() {
    let rig = Rig::new();
    let schema = rows(0..0, |_| None).schema();
    let sink = rig.sink(&schema, &[]).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    let other: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("n", Arc::clone(&other)), ("k", other)]).unwrap();
    assert_eq!(writer.write(other).await.unwrap_err().code(), codes::SCHEMA);
    writer.discard().await.unwrap();
    assert!(rig.files().is_empty());
}
