//! Partitions: folders as Hive names them, many at once, within memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Date32Array, Int64Array, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::GreedyMemoryPool;
use weir_engine::error::codes;

use super::{Rig, noise, rows};
use crate::file_sink::escape;

fn folders(rig: &Rig) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for file in rig.files() {
        let (folder, _) = file.rsplit_once('/').unwrap();
        let rows = rig.read_parquet(&file).num_rows();
        *found.entry(folder.to_owned()).or_default() += rows as i64;
    }
    found
}

#[test]
fn escapes_what_has_a_meaning_in_paths() {
    assert_eq!(escape("a/b=c%d\n'é .."), "a%2Fb%3Dc%25d%0A%27é ..");
}

#[tokio::test]
async fn weird_values_become_one_folder_each() {
    let rig = Rig::new().by(&["k"]);
    let values = [
        Some("a/b"),
        None,
        Some("a=b"),
        Some(""),
        Some(".."),
        Some("ü %"),
        Some("a/b"),
    ];
    let text = |n: i64| values.get(n as usize).unwrap().map(str::to_owned);
    rig.run(&[], &[rows(0..7, text)]).await;
    let expected = [
        ("k=", 1),
        ("k=..", 1),
        ("k=__HIVE_DEFAULT_PARTITION__", 1),
        ("k=a%2Fb", 2),
        ("k=a%3Db", 1),
        ("k=ü %25", 1),
    ];
    assert_eq!(
        folders(&rig),
        expected.map(|(k, n)| (k.to_owned(), n)).into()
    );
    let first = rig
        .files()
        .into_iter()
        .find(|file| file.starts_with("k=a%2Fb"))
        .unwrap();
    let batch = rig.read_parquet(&first);
    assert_eq!(
        batch.num_columns(),
        1,
        "the partition column is in the path alone"
    );
    let numbers = batch
        .column(0)
        .as_any()
        .downcast_ref::<Int64Array>()
        .unwrap();
    assert_eq!(
        numbers.values().to_vec(),
        [0, 6],
        "rows of a partition keep their order"
    );
}

#[tokio::test]
async fn dates_and_times_are_readable_in_the_path() {
    let day: ArrayRef = Arc::new(Date32Array::from(vec![Some(19_675), Some(19_675), None]));
    let hour: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
        1_700_000_000_000_000,
        0,
        1,
    ]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let columns = [("n", n), ("day", day), ("hour", hour)];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
    let rig = Rig::new().by(&["day", "hour"]);
    rig.run(&[], &[batch]).await;
    let found: Vec<_> = folders(&rig).into_keys().collect();
    assert_eq!(
        found,
        [
            "day=2023-11-14/hour=1970-01-01 00%3A00%3A00",
            "day=2023-11-14/hour=2023-11-14 22%3A13%3A20",
            "day=__HIVE_DEFAULT_PARTITION__/hour=1970-01-01 00%3A00%3A00.000001",
        ]
    );
}

#[tokio::test]
async fn more_partitions_than_files_may_be_open_lose_nothing() {
    let rig = Rig::new().by(&["k"]);
    let batches: Vec<_> = (0..4)
        .map(|b| rows(b * 1000..(b + 1) * 1000, |n| Some((n % 200).to_string())))
        .collect();
    rig.run(&[("roll_rows", "7")], &batches).await;
    let found = folders(&rig);
    assert_eq!(found.len(), 200);
    assert!(found.values().all(|rows| *rows == 20));
}

#[tokio::test]
async fn partitions_that_are_larger_than_the_memory_are_written() {
    for format in ["parquet", "csv"] {
        let mut rig = Rig::new().by(&["k"]);
        rig.memory = Arc::new(GreedyMemoryPool::new(6 << 20));
        let batches: Vec<_> = (0..40)
            .map(|b| {
                let noise = noise(b * 5000..(b + 1) * 5000);
                let keys = rows(b * 5000..(b + 1) * 5000, |n| Some((n % 20).to_string()));
                RecordBatch::try_from_iter_with_nullable([
                    ("t", ArrayRef::clone(noise.column(1)), true),
                    ("k", ArrayRef::clone(keys.column(1)), true),
                ])
                .unwrap()
            })
            .collect();
        rig.run(&[("format", format)], &batches).await;
        assert!(rig.files().len() >= 20);
    }
}

#[tokio::test]
async fn wrong_partition_columns_are_refused() {
    let schema = rows(0..0, |_| None).schema();
    let error = Rig::new().by(&["kk"]).sink(&schema, &[]).await.unwrap_err();
    assert_eq!(error.code(), codes::UNKNOWN_COLUMN);
    let error = Rig::new()
        .by(&["n", "k"])
        .sink(&schema, &[])
        .await
        .unwrap_err();
    assert_eq!(error.code(), codes::OPTION);
}
