//! Nothing is visible before it is committed, and nothing is left of what is not.

use std::fs;

use arrow::record_batch::RecordBatch;
use weir_engine::error::{Kind, codes};
use weir_engine::message::Epoch;
use weir_engine::sink::Start;

use super::{Rig, noise, rows};

fn visible(rig: &Rig) -> Vec<String> {
    rig.files()
        .into_iter()
        .filter(|file| !file.starts_with("_temporary/"))
        .collect()
}

fn small() -> RecordBatch {
    rows(0..10, |n| Some(n.to_string()))
}

#[tokio::test]
async fn a_file_appears_with_its_commit_which_can_be_repeated() {
    let rig = Rig::new();
    let schema = small().schema();
    let sink = rig.sink(&schema, &[]).await.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
    assert!(rig.root().is_dir() && rig.files().is_empty());
    let mut writer = rig.writer(&sink, &schema).await;
    for b in 0..100 {
        writer.write(noise(b * 1000..(b + 1) * 1000)).await.unwrap();
    }
    let [token] = writer.prepare().await.unwrap().try_into().unwrap();
    assert!(visible(&rig).is_empty());
    assert_eq!(rig.files().len(), 1);

    sink.commit(Epoch(1), std::slice::from_ref(&token))
        .await
        .unwrap();
    sink.commit(Epoch(1), std::slice::from_ref(&token))
        .await
        .unwrap();
    let [file] = rig.files().try_into().unwrap();
    assert_eq!(
        fs::metadata(rig.root().join(&file)).unwrap().len(),
        token.bytes
    );
    assert_eq!(rig.read_parquet(&file).num_rows(), 100_000);
    assert!(!rig.root().join("_temporary").exists());

    // Another sink of a later process commits it as well, from the token alone.
    let later = rig.sink(&schema, &[]).await.unwrap();
    later
        .commit(Epoch(1), std::slice::from_ref(&token))
        .await
        .unwrap();
    // After the commit there is nothing to abort, and the file stays.
    later.abort(&token).await.unwrap();
    assert_eq!(rig.files(), [file]);
}

#[tokio::test]
async fn what_is_aborted_or_discarded_leaves_nothing() {
    let rig = Rig::new().by(&["k"]);
    let schema = small().schema();
    let sink = rig.sink(&schema, &[("roll_rows", "1000")]).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    writer.write(small()).await.unwrap();
    let tokens = writer.prepare().await.unwrap();
    assert_eq!(tokens.len(), 10);
    for token in &tokens {
        sink.abort(token).await.unwrap();
        sink.abort(token).await.unwrap();
    }
    assert!(rig.files().is_empty() && !rig.root().join("_temporary").exists());
    let gone = sink
        .commit(Epoch(1), std::slice::from_ref(tokens.first().unwrap()))
        .await
        .unwrap_err();
    assert_eq!((gone.kind(), gone.code()), (Kind::Data, codes::NOT_FOUND));

    // Some finished by rolling, some open with bytes on the disk.
    writer
        .write(rows(0..2500, |_| Some("k".to_owned())))
        .await
        .unwrap();
    writer.write(noise(0..900)).await.unwrap();
    writer.discard().await.unwrap();
    assert!(rig.files().is_empty() && !rig.root().join("_temporary").exists());
    assert_eq!(fs::read_dir(rig.root()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let rig = Rig::new();
    let schema = small().schema();
    let sink = rig
        .sink(&schema, &[("row_group_rows", "1000")])
        .await
        .unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    for b in 0..20 {
        writer.write(noise(b * 1000..(b + 1) * 1000)).await.unwrap();
    }
    while rig.files().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(writer);
    while !rig.files().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_file_of_that_name_is_never_overwritten() {
    let rig = Rig::new();
    rig.run(&[], &[small()]).await;
    let [file] = rig.files().try_into().unwrap();
    let before = fs::read(rig.root().join(&file)).unwrap();
    // The same run id again: its first file has the same name.
    let sink = rig.sink(&small().schema(), &[]).await.unwrap();
    let mut writer = rig.writer(&sink, &small().schema()).await;
    writer.write(noise(0..10)).await.unwrap();
    let [token] = writer.prepare().await.unwrap().try_into().unwrap();
    assert_eq!(
        sink.commit(Epoch(1), std::slice::from_ref(&token))
            .await
            .unwrap_err()
            .kind(),
        Kind::Conflict
    );
    assert_eq!(fs::read(rig.root().join(&file)).unwrap(), before);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_is_found_before_the_first_row() {
    let rig = Rig::new();
    fs::write(rig.root(), b"a file").unwrap();
    let sink = rig.sink(&small().schema(), &[]).await.unwrap();
    assert_eq!(
        sink.check(&small().schema(), Start::Fresh)
            .await
            .unwrap_err()
            .code(),
        codes::OPTION
    );
}

#[tokio::test]
async fn only_old_leftovers_are_swept() {
    let rig = Rig::new();
    let folder = rig.root().join("_temporary");
    fs::create_dir_all(&folder).unwrap();
    for (name, days) in [("young.tmp", 1), ("old.tmp", 31), ("old.txt", 31)] {
        let file = fs::File::create(folder.join(name)).unwrap();
        // The fake clock stands at this second.
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        file.set_modified(now - std::time::Duration::from_secs(days * 86_400))
            .unwrap();
    }
    let sink = rig.sink(&small().schema(), &[]).await.unwrap();
    sink.check(&small().schema(), Start::Fresh).await.unwrap();
    assert_eq!(rig.files(), ["_temporary/old.txt", "_temporary/young.tmp"]);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_file_with_its_error() {
    let rig = Rig::new();
    let sink = rig.sink(&small().schema(), &[]).await.unwrap();
    let mut writer = rig.writer(&sink, &small().schema()).await;
    fs::create_dir_all(rig.root()).unwrap();
    fs::write(rig.root().join("_temporary"), b"in the way").unwrap();
    writer.write(small()).await.unwrap();
    let error = writer.prepare().await.unwrap_err();
    assert!(
        matches!(error.code(), codes::NOT_FOUND | codes::UNAVAILABLE),
        "{error:?}"
    );
    writer.discard().await.unwrap();
    assert_eq!(rig.files(), ["_temporary"]);
}
