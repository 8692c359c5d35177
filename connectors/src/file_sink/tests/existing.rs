//! Files that stand in the place before the job.

use std::fs;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use weir_engine::error::codes;
use weir_engine::message::Epoch;
use weir_engine::sink::Start;

use super::objects::{keys, location};
use super::{Rig, rows};

const REPLACE: (&str, &str) = ("on_existing", "replace");

fn small() -> RecordBatch {
    rows(0..10, |n| Some((n % 2).to_string()))
}

/// Files that are not the sink's to remove, though it writes Parquet to this folder.
const OTHERS: [&str; 6] = [
    "_metadata.parquet",
    ".hidden.parquet",
    "notes.txt",
    "other.csv",
    "elsewhere/deep.parquet",
    "_log/k=1/x.parquet",
];

fn put(rig: &Rig, files: &[&str]) {
    for file in files {
        let path = rig.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"old").unwrap();
    }
}

#[tokio::test]
async fn a_second_run_replaces_the_files_of_the_first_and_no_others() {
    let mut rig = Rig::new().by(&["k"]);
    put(&rig, &OTHERS);
    rig.run(&[REPLACE], &[small()]).await;
    put(
        &rig,
        &["k=7/old.parquet", "k=7/j=1/old.parquet", "old.parquet"],
    );
    let first = rig.files();
    rig.run_id = "run2".to_owned();
    let sink = rig.sink(&small().schema(), &[REPLACE]).await.unwrap();
    rig.run_sink(&sink, &[small()]).await;
    // All are visible until the job has ended.
    assert_eq!(rig.files().len(), first.len() + 2);
    sink.complete().await.unwrap();
    sink.complete().await.unwrap();
    let files = rig.files();
    assert_eq!(files.len(), OTHERS.len() + 2, "{files:?}");
    for other in OTHERS {
        assert!(files.iter().any(|file| file == other), "{other} is gone");
    }
    let new = files.iter().filter(|file| file.contains("run2-"));
    assert_eq!(new.count(), 2, "{files:?}");
}

#[tokio::test]
async fn a_job_that_fails_replaces_nothing_and_one_without_rows_leaves_none() {
    let mut rig = Rig::new();
    rig.run(&[REPLACE], &[small()]).await;
    rig.run_id = "run2".to_owned();
    let (schema, before) = (small().schema(), rig.files());
    let sink = rig.sink(&schema, &[REPLACE]).await.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    writer.write(small()).await.unwrap();
    writer.discard().await.unwrap();
    assert_eq!(rig.files(), before);
    sink.complete().await.unwrap();
    assert!(rig.files().is_empty());
}

#[tokio::test]
async fn a_stream_replaces_with_its_first_commit_which_can_be_repeated() {
    let mut rig = Rig::new();
    let csv = [("format", "csv"), REPLACE];
    put(&rig, &["a.csv", "b.csv.gz", "c.csv.zst", "d.json"]);
    rig.streaming = true;
    let schema = small().schema();
    let sink = rig.sink(&schema, &csv).await.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    writer.write(small()).await.unwrap();
    let [first] = writer.prepare().await.unwrap().try_into().unwrap();
    assert_eq!(rig.files().len(), 5);
    sink.commit(Epoch(1), std::slice::from_ref(&first))
        .await
        .unwrap();
    assert_eq!(rig.files().len(), 2);
    writer.write(small()).await.unwrap();
    let [second] = writer.prepare().await.unwrap().try_into().unwrap();
    sink.commit(Epoch(1), std::slice::from_ref(&second))
        .await
        .unwrap();
    sink.commit(Epoch(1), std::slice::from_ref(&first))
        .await
        .unwrap();
    assert_eq!(rig.files().len(), 3);

    // What was committed before the check and is committed again is new, though it was there.
    let again = rig.sink(&schema, &csv).await.unwrap();
    again.check(&schema, Start::Fresh).await.unwrap();
    again
        .commit(Epoch(1), std::slice::from_ref(&second))
        .await
        .unwrap();
    let files = rig.files();
    assert!(
        matches!(&files[..], [json, csv] if json == "d.json" && csv.ends_with(".csv")),
        "{files:?}"
    );
}

#[tokio::test]
async fn a_place_with_files_is_refused_when_asked_for() {
    let (rig, schema) = (Rig::new(), small().schema());
    let sink = rig.sink(&schema, &[("on_existing", "fail")]).await.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
    put(&rig, &["_SUCCESS", "_temporary/x.tmp", ".crc"]);
    sink.check(&schema, Start::Fresh).await.unwrap();
    put(&rig, &["k=1/part.csv"]);
    let error = sink.check(&schema, Start::Fresh).await.unwrap_err();
    assert_eq!(error.code(), codes::OPTION);
    assert!(error.to_string().contains("holds files already"), "{error}");
    // By default files are added.
    rig.run(&[], &[small()]).await;
    assert_eq!(rig.files().len(), 5);

    let unknown = rig.sink(&schema, &[("on_existing", "overwrite")]).await;
    assert_eq!(unknown.unwrap_err().code(), codes::OPTION);
}

#[tokio::test]
async fn objects_are_replaced_and_refused_as_files_are() {
    let (mut rig, store) = (Rig::new().by(&["k"]), Arc::new(InMemory::new()));
    let schema = small().schema();
    for other in OTHERS {
        let path = Path::parse(format!("lake/{other}")).unwrap();
        store
            .put(&path, PutPayload::from_static(b"old"))
            .await
            .unwrap();
    }
    let beside = Path::parse("lakes/k=1/old.parquet").unwrap();
    store
        .put(&beside, PutPayload::from_static(b"old"))
        .await
        .unwrap();
    for run in ["run1", "run2"] {
        rig.run_id = run.to_owned();
        let at = location(&store, "lake");
        let sink = rig.sink_at(at, &schema, &[REPLACE]).await.unwrap();
        rig.run_sink(&sink, &[small()]).await;
        sink.complete().await.unwrap();
        let keys = keys(&store).await;
        assert_eq!(keys.len(), OTHERS.len() + 3, "{keys:?}");
        assert_eq!(
            keys.iter().filter(|key| key.contains(run)).count(),
            2,
            "{keys:?}"
        );
    }
    let fail = [("on_existing", "fail")];
    let at = location(&store, "lake");
    let sink = rig.sink_at(at, &schema, &fail).await.unwrap();
    assert_eq!(
        sink.check(&schema, Start::Fresh).await.unwrap_err().code(),
        codes::OPTION
    );
    let at = location(&store, "la");
    let sink = rig.sink_at(at, &schema, &fail).await.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
}
