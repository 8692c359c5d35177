//! The same over an object store: listing, ranges, prefetching.

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;

async fn open(case: &Case, path: &str) -> Result<FileSource> {
    let store = InMemory::new();
    for entry in std::fs::read_dir(case.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let key = Key::from(format!("lake/{}", entry.file_name().to_str().unwrap()));
        store
            .put(&key, std::fs::read(entry.path()).unwrap().into())
            .await
            .unwrap();
    }
    let location = Location {
        store: Arc::new(store) as Arc<dyn ObjectStore>,
        multipart: None,
        path: Key::parse(path).unwrap(),
        scheme: Scheme::S3,
        url: format!("s3://bucket/{path}"),
        base: "s3://bucket".to_owned(),
        local_root: None,
    };
    let specs = [store::options(Scheme::S3), OPTIONS];
    let options = Options::check("connector 's3'", &specs, case.options.clone())?;
    case.open_at(location, &options).await
}

#[tokio::test]
async fn texts_come_in_ranges() {
    let rows = 400_000;
    let text = format!("id,name\n{}", csv_lines(rows));
    assert!(text.len() > 6 << 20, "more than one request");
    let case = Case::new("")
        .file("a.csv", &text)
        .file("b.csv.gz", gzip(text.as_bytes()));
    let source = open(&case, "lake").await.unwrap();
    let outcome = case.read_all(&source).await.unwrap();
    assert_eq!(outcome.batch.num_rows(), rows * 2);
    assert_eq!(outcome.ints(0)[rows..], outcome.ints(0)[..rows]);
    let mut split = open(&case, "lake/*.csv")
        .await
        .unwrap()
        .discover()
        .await
        .unwrap()
        .remove(0);
    split.position = Some(weir_engine::source::Position(
        (text.len() - "399999,name 399999\n".len()).to_string(),
    ));
    let rest = case.read_splits(&source, &[split], &[0]).await.unwrap();
    assert_eq!(rest.ints(0), [399_999]);
}

#[tokio::test]
async fn row_groups_are_fetched() {
    let case = Case::new("").rows(1_000);
    write_parquet(&case.path("a.parquet"), &[sample(0, 10_000)], 1_000);
    let source = open(&case, "lake/*.parquet").await.unwrap();
    let splits = source.discover().await.unwrap();
    let projection = projected(&source.schema(), &["ts", "id"]);
    let outcome = case
        .read_splits(&source, &splits, &projection)
        .await
        .unwrap();
    assert_eq!(outcome.ints(1), (0..10_000).collect::<Vec<_>>());
    let mut split = splits[0].clone();
    split.position = Some(weir_engine::source::Position("9500".to_owned()));
    let rest = case
        .read_splits(&source, &[split], &projection)
        .await
        .unwrap();
    assert_eq!(rest.ints(1), (9_500..10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let case = Case::new("").file("orders.csv", "id\n1\n");
    let error = open(&case, "lake/order.csv").await.unwrap_err();
    assert_eq!(error.code().0, "E0204");
    assert_eq!(error.hint_text(), Some("did you mean \"orders.csv\"?"));
    let source = open(&case, "lake/orders.csv").await.unwrap();
    assert_eq!(case.read_all(&source).await.unwrap().ints(0), [1]);
}
