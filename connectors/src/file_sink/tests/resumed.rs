//! A run that goes on after an epoch: what later epochs have left is removed, and nothing else.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::memory::InMemory;
use weir_engine::error::codes;
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, Owner, Sink, Start};

use super::objects::{keys, location};
use super::{Rig, rows};

fn small() -> RecordBatch {
    rows(0..10, |n| Some((n % 2).to_string()))
}

/// Prepares the same rows in each of the epochs, as one instance does.
async fn prepare(
    rig: &Rig,
    sink: &Arc<dyn Sink>,
    epochs: std::ops::RangeInclusive<u64>,
) -> Vec<(Epoch, Vec<CommitToken>)> {
    let mut writer = rig.writer(sink, &small().schema()).await;
    let mut prepared = Vec::new();
    for epoch in epochs.map(Epoch) {
        writer.begin(epoch);
        writer.write(small()).await.unwrap();
        prepared.push((epoch, writer.prepare().await.unwrap()));
    }
    prepared
}

async fn commit(sink: &Arc<dyn Sink>, prepared: &[(Epoch, Vec<CommitToken>)]) {
    for (epoch, tokens) in prepared {
        sink.commit(*epoch, tokens).await.unwrap();
    }
}

/// The epochs of visible files by their names, in order.
fn epochs(files: &[String]) -> Vec<u64> {
    let epoch = |file: &String| {
        let (_, name) = file.split_once("part-").unwrap();
        name.split('-').nth(1).unwrap().parse().unwrap()
    };
    let mut epochs: Vec<u64> = files.iter().map(epoch).collect();
    epochs.sort_unstable();
    epochs
}

#[tokio::test]
async fn files_of_epochs_that_do_not_count_are_removed() {
    let mut rig = Rig::new().by(&["k"]);
    let schema = small().schema();
    // An earlier run of the same pipeline, whose epochs had higher numbers.
    let before = rig.sink(&schema, &[]).await.unwrap();
    commit(&before, &prepare(&rig, &before, 8..=9).await).await;
    rig.origin = "run2".to_owned();

    let sink = rig.sink(&schema, &[]).await.unwrap();
    let prepared = prepare(&rig, &sink, 1..=4).await;
    let (shown, unseen) = prepared.split_at(3);
    commit(&sink, shown).await;
    let visible = |rig: &Rig| {
        let mut files = rig.files();
        files.retain(|file| !file.starts_with("_temporary/"));
        files
    };
    assert_eq!(epochs(&visible(&rig)), [1, 1, 2, 2, 3, 3, 8, 8, 9, 9]);
    assert_eq!(rig.files().len(), 12);

    rig.run_id = "later".to_owned();
    let again = rig.sink(&schema, &[]).await.unwrap();
    let resumed = Start::Resumed(Epoch(2));
    again.check(&schema, resumed).await.unwrap();
    let files = rig.files();
    assert_eq!(epochs(&files), [1, 1, 2, 2, 8, 8, 9, 9], "{files:?}");

    // The first instance wakes up: what counts is there already, the rest is gone for good.
    commit(&sink, shown.get(..2).unwrap()).await;
    for (epoch, tokens) in shown.iter().skip(2).chain(unseen) {
        let failure = sink.commit(*epoch, tokens).await.unwrap_err();
        assert_eq!(failure.code(), codes::NOT_FOUND);
    }
    for token in prepared.iter().flat_map(|(_, tokens)| tokens) {
        sink.abort(token).await.unwrap();
    }
    assert_eq!(rig.files(), files);

    // The same epoch again has other names, and a second sweep finds nothing.
    commit(&again, &prepare(&rig, &again, 3..=3).await).await;
    again
        .check(&schema, Start::Resumed(Epoch(3)))
        .await
        .unwrap();
    assert_eq!(epochs(&rig.files()), [1, 1, 2, 2, 3, 3, 8, 8, 9, 9]);
}

/// An instance that was frozen before it swept wakes up when a newer one has gone on.
#[tokio::test]
async fn what_newer_instances_have_shown_stays() {
    let rig = Rig::new();
    let schema = small().schema();
    let sink = rig.sink(&schema, &[]).await.unwrap();
    commit(&sink, &prepare(&rig, &sink, 1..=5).await).await;
    let frozen = rig.sink(&schema, &[]).await.unwrap();
    frozen.own(&Owner {
        pipeline: "test".into(),
        node: "lake/sink".into(),
        origin: rig.origin.as_str().into(),
        fence: Epoch(3),
        checkpoints: true,
    });
    let resumed = Start::Resumed(Epoch(2));
    frozen.check(&schema, resumed).await.unwrap();
    assert_eq!(epochs(&rig.files()), [1, 2, 4, 5]);
}

#[tokio::test]
async fn unfinished_files_that_a_checkpoint_needs_stay() {
    let rig = Rig::new();
    let schema = small().schema();
    let sink = rig.sink(&schema, &[]).await.unwrap();
    let prepared = prepare(&rig, &sink, 1..=3).await;
    // A batch job commits at its end: what its checkpoints have is not visible yet.
    let again = rig.sink(&schema, &[]).await.unwrap();
    again
        .check(&schema, Start::Resumed(Epoch(2)))
        .await
        .unwrap();
    assert_eq!(rig.files().len(), 2);
    commit(&again, prepared.get(..2).unwrap()).await;
    assert_eq!(epochs(&rig.files()), [1, 2]);
}

#[tokio::test]
async fn a_run_that_goes_on_does_not_take_its_own_files_for_old_ones() {
    let schema = small().schema();
    for (rule, streaming, left) in [
        ("replace", false, vec![1, 2]),
        ("replace", true, vec![1, 2, 5]),
        ("fail", false, vec![1, 2, 5]),
    ] {
        let mut rig = Rig::new();
        rig.streaming = streaming;
        rig.origin = "before".to_owned();
        let before = rig.sink(&schema, &[]).await.unwrap();
        commit(&before, &prepare(&rig, &before, 5..=5).await).await;
        rig.origin = "run2".to_owned();
        let first = rig.sink(&schema, &[]).await.unwrap();
        commit(&first, &prepare(&rig, &first, 1..=2).await).await;
        let given = [("on_existing", rule)];
        let again = rig.sink(&schema, &given).await.unwrap();
        again
            .check(&schema, Start::Resumed(Epoch(2)))
            .await
            .unwrap();
        again.complete().await.unwrap();
        assert_eq!(epochs(&rig.files()), left, "{rule}, streaming {streaming}");
    }
}

#[tokio::test]
async fn objects_of_epochs_that_do_not_count_are_removed() {
    let (mut rig, store) = (Rig::new().by(&["k"]), Arc::new(InMemory::new()));
    let schema = small().schema();
    let before = rig
        .sink_at(location(&store, "lake"), &schema, &[])
        .await
        .unwrap();
    commit(&before, &prepare(&rig, &before, 9..=9).await).await;
    rig.origin = "run2".to_owned();
    let at = || location(&store, "lake");
    let sink = rig.sink_at(at(), &schema, &[]).await.unwrap();
    let prepared = prepare(&rig, &sink, 1..=3).await;
    commit(&sink, &prepared).await;
    let again = rig.sink_at(at(), &schema, &[]).await.unwrap();
    again
        .check(&schema, Start::Resumed(Epoch(2)))
        .await
        .unwrap();
    let left = keys(&store).await;
    assert_eq!(epochs(&left), [1, 1, 2, 2, 9, 9]);
    commit(&sink, prepared.get(..2).unwrap()).await;
    for (_, tokens) in &prepared {
        for token in tokens {
            sink.abort(token).await.unwrap();
        }
    }
    assert_eq!(keys(&store).await, left);
}

#[tokio::test]
async fn hidden_objects_of_epochs_that_do_not_count_are_removed() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let schema = small().schema();
    let at = || location(&store, "lake");
    let sink = rig.sink_at(at(), &schema, &[]).await.unwrap();
    let prepared = prepare(&rig, &sink, 1..=3).await;
    let again = rig.sink_at(at(), &schema, &[]).await.unwrap();
    again
        .check(&schema, Start::Resumed(Epoch(2)))
        .await
        .unwrap();
    assert_eq!(keys(&store).await.len(), 2);
    commit(&again, prepared.get(..2).unwrap()).await;
    assert_eq!(epochs(&keys(&store).await), [1, 2]);
}
