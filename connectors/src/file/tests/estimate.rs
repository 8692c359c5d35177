//! What is told of the rows before they are read.

use weir_engine::estimate::Estimate;

use super::*;

async fn estimate(case: &Case, names: &[&str]) -> Option<Estimate> {
    let source = case.open().await.unwrap();
    source.estimate(&projected(&source.schema(), names)).await
}

#[tokio::test]
async fn footers_tell_rows_nulls_and_ranges() {
    let case = Case::new("*.parquet");
    write_parquet(&case.path("a.parquet"), &[sample(70, 30)], 10);
    write_parquet(&case.path("b.parquet"), &[sample(20, 30)], 30);
    let estimate = estimate(&case, &["id", "ts"]).await.unwrap();
    assert_eq!(estimate.rows, 60);
    let id = &estimate.columns[0];
    assert_eq!(id.nulls, Some(0));
    assert_eq!(id.range, Some((20i64.into(), 99i64.into())));
}

#[tokio::test]
async fn a_sample_stands_for_many_files() {
    let case = Case::new("*.parquet");
    for file in 0..100 {
        write_parquet(
            &case.path(&format!("{file:03}.parquet")),
            &[sample(0, 10)],
            10,
        );
    }
    let estimate = estimate(&case, &["id"]).await.unwrap();
    assert_eq!(estimate.rows, 1_000);
}

#[tokio::test]
async fn files_that_tell_nothing_do_no_harm() {
    let case = Case::new("*.parquet").columns(&[("id", DataType::Utf8), ("gone", DataType::Int64)]);
    write_parquet(&case.path("a.parquet"), &[sample(0, 10)], 10);
    let case = case.file("b.parquet", "no Parquet");
    let estimate = estimate(&case, &["id", "gone"]).await.unwrap();
    assert!((10..100).contains(&estimate.rows), "{estimate:?}");
    assert_eq!(estimate.columns[0].range, None);
    assert_eq!(estimate.columns[1], Default::default());
    let case = Case::new("a.parquet").columns(&[("id", DataType::Int64)]);
    let case = case.file("a.parquet", "no Parquet");
    assert_eq!(self::estimate(&case, &["id"]).await, None);
    let case = Case::new("a.csv").file("a.csv", "id\n1\n");
    assert_eq!(self::estimate(&case, &["id"]).await, None);
}
