//! Parquet: row groups, statistics, damage, schemas that change.

use weir_engine::source::Low;

use super::super::split::{Part, Payload};
use super::*;

#[tokio::test]
async fn reads_projected_columns_and_parts() {
    let case = Case::new("a.parquet").rows(64);
    write_parquet(&case.path("a.parquet"), &[sample(0, 1_000)], 100);
    let source = case.open().await.unwrap();
    let schema = source.schema();
    let projection = projected(&schema, &["ts", "id"]);
    let whole = source.discover().await.unwrap().remove(0);
    let outcome = case
        .read_splits(&source, std::slice::from_ref(&whole), &projection)
        .await
        .unwrap();
    assert_eq!(outcome.ints(1), (0..1_000).collect::<Vec<_>>());
    assert_eq!(outcome.batch.schema().field(0).name(), "ts");
    let mut payload = Payload::of(&whole).unwrap();
    payload.part = Part::Groups(3, 5);
    let part = Split {
        payload: serde_json::to_string(&payload).unwrap(),
        ..whole.clone()
    };
    let outcome = case
        .read_splits(&source, &[part], &projection)
        .await
        .unwrap();
    assert_eq!(outcome.ints(1), (300..500).collect::<Vec<_>>());
    let none = case.read_splits(&source, &[whole], &[]).await.unwrap();
    assert_eq!(none.batch.num_rows(), 1_000);
}

#[tokio::test]
async fn goes_on_where_a_reader_stopped() {
    let case = Case::new("a.parquet").rows(64);
    write_parquet(&case.path("a.parquet"), &[sample(0, 500)], 100);
    let source = case.open().await.unwrap();
    let mut split = source.discover().await.unwrap().remove(0);
    let mut found = Vec::new();
    loop {
        let mut reader = source.open(&split, &[0], &case.context()).await.unwrap();
        let Read::Rows { batch, .. } = reader.next().await.unwrap() else {
            break;
        };
        found.extend(
            Outcome {
                batch,
                letters: vec![],
            }
            .ints(0),
        );
        split.position = Some(reader.position());
    }
    assert_eq!(found, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn statistics_tell_the_exact_minimum() {
    let case = Case::new("a.parquet");
    write_parquet(
        &case.path("a.parquet"),
        &[sample(70, 30), sample(20, 30)],
        30,
    );
    let source = case.open().await.unwrap();
    let split = source.discover().await.unwrap().remove(0);
    let ts = projected(&source.schema(), &["ts"]);
    let Low::Exact(batch) = source.low(&split, &ts).await.unwrap() else {
        panic!("not exact")
    };
    let least = batch
        .column(0)
        .as_any()
        .downcast_ref::<TimestampMicrosecondArray>()
        .unwrap();
    assert_eq!(least.value(0), 20_000_000);
    let text = Case::new("a.csv")
        .file("a.csv", "id\n3\nx\n1\n")
        .columns(&[("id", DataType::Int64)]);
    let source = text.open().await.unwrap();
    let split = source.discover().await.unwrap().remove(0);
    let Low::First(batch) = source.low(&split, &[0]).await.unwrap() else {
        panic!("not first")
    };
    assert_eq!(batch.num_rows(), 2);
    assert!(text.letters().is_empty(), "a look is not a read");
}

#[tokio::test]
async fn cut_files_are_dead_letters() {
    let case = Case::new("*.parquet")
        .file("b.parquet", "")
        .file("c.parquet", "PAR1 no PAR1");
    write_parquet(&case.path("a.parquet"), &[sample(0, 10)], 10);
    let bytes = std::fs::read(case.path("a.parquet")).unwrap();
    let case = case.file("d.parquet", &bytes[..bytes.len() - 20]);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), (0..10).collect::<Vec<_>>());
    assert_eq!(outcome.reasons(), ["corrupt", "corrupt", "corrupt"]);
    assert_eq!(case.failing().error().await.code().0, "E0301");
}

#[tokio::test]
async fn rows_before_damage_are_kept() {
    let case = Case::new("a.parquet").rows(100);
    write_parquet(&case.path("a.parquet"), &[sample(0, 4_000)], 1_000);
    let path = case.path("a.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let footer = ::parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::from(bytes.clone()))
        .unwrap();
    let page = footer.row_group(2).column(1).byte_range().0 as usize;
    bytes[page..page + 16].fill(0xff);
    let case = case.file("a.parquet", &bytes);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), (0..2_000).collect::<Vec<_>>());
    assert_eq!(outcome.reasons(), ["corrupt"]);
    assert_eq!(outcome.letters[0].offset, Some(2_000));
}

#[tokio::test]
async fn a_file_that_changes_its_schema() {
    let case = Case::new("*.parquet");
    write_parquet(&case.path("a.parquet"), &[sample(0, 2)], 10);
    let narrow: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![7]));
    let fits = RecordBatch::try_from_iter([("id", narrow)]).unwrap();
    write_parquet(&case.path("b.parquet"), &[fits], 10);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["8"]));
    let other = RecordBatch::try_from_iter([("id", text)]).unwrap();
    write_parquet(&case.path("c.parquet"), &[other], 10);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.ints(0), [0, 1, 7]);
    assert_eq!(outcome.reasons(), ["schema"]);
    assert!(
        outcome.letters[0]
            .detail
            .contains("is Utf8 in the file, not Int64")
    );
    assert_eq!(case.failing().error().await.code().0, "E0207");
}

#[tokio::test]
async fn declared_types_are_cast_and_checked() {
    let case = Case::new("a.parquet").columns(&[("id", DataType::Int8), ("gone", DataType::Utf8)]);
    write_parquet(&case.path("a.parquet"), &[sample(126, 4)], 10);
    let outcome = case.read().await.unwrap();
    assert_eq!(outcome.batch.num_rows(), 2);
    assert_eq!(outcome.batch.column(1).null_count(), 2);
    assert_eq!(outcome.reasons(), ["value", "value"]);
    assert_eq!(outcome.letters[0].offset, Some(2));
    assert!(String::from_utf8_lossy(&outcome.letters[0].raw).contains("128"));
}
