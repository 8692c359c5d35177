//! The same over a store of objects, in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt as _, PutPayload, PutResult};
use weir_engine::error::Kind;
use weir_engine::message::Epoch;
use weir_engine::sink::Start;

use super::{Rig, noise, read_parquet, rows};
use crate::store::{Location, Multipart, Scheme};

pub(super) fn location(store: &Arc<InMemory>, prefix: &str) -> Location {
    Location {
        store: Arc::<InMemory>::clone(store),
        path: Path::parse(prefix).unwrap(),
        scheme: Scheme::S3,
        url: format!("s3://lake/{prefix}"),
        base: "s3://lake".to_owned(),
        local_root: None,
        multipart: Some(Multipart(Arc::<InMemory>::clone(store))),
    }
}

pub(super) async fn keys(store: &InMemory) -> Vec<String> {
    let found: Vec<_> = store.list(None).try_collect().await.unwrap();
    found
        .into_iter()
        .map(|meta| meta.location.to_string())
        .collect()
}

#[tokio::test]
async fn a_large_file_is_uploaded_in_parts_and_appears_with_its_commit() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let schema = noise(0..0).schema();
    let sink = rig
        .sink_at(location(&store, "a/b"), &schema, &[("compression", "none")])
        .await;
    let sink = sink.unwrap();
    sink.check(&schema, Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    for b in 0..30 {
        writer.write(noise(b * 8192..(b + 1) * 8192)).await.unwrap();
    }
    let [token] = writer.prepare().await.unwrap().try_into().unwrap();
    assert!(
        token.bytes > 3 * (8 << 20),
        "more than three parts: {}",
        token.bytes
    );
    assert!(keys(&store).await.is_empty());
    sink.commit(Epoch(1), std::slice::from_ref(&token))
        .await
        .unwrap();
    sink.commit(Epoch(1), std::slice::from_ref(&token))
        .await
        .unwrap();
    sink.abort(&token).await.unwrap();
    let [key] = keys(&store).await.try_into().unwrap();
    assert!(key.starts_with("a/b/run1-"), "{key}");
    let bytes = store
        .get(&Path::from(key.as_str()))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(bytes.len() as u64, token.bytes);
    let read = read_parquet(bytes.to_vec());
    assert_eq!(read.num_rows(), 30 * 8192);
    assert_eq!(read.slice(8192, 8192), noise(8192..2 * 8192));
}

#[tokio::test]
async fn small_partitions_are_one_part_each() {
    let (rig, store) = (Rig::new().by(&["k"]), Arc::new(InMemory::new()));
    let batch = rows(0..100, |n| (n % 10 != 0).then(|| format!("{}/%", n % 10)));
    let sink = rig
        .sink_at(location(&store, ""), &batch.schema(), &[])
        .await
        .unwrap();
    rig.run_sink(&sink, &[batch]).await;
    let keys = keys(&store).await;
    assert_eq!(keys.len(), 10);
    assert!(
        keys.iter().any(|key| key.starts_with("k=3%2F%25/run1-")),
        "{keys:?}"
    );
    assert!(
        keys.iter()
            .any(|key| key.starts_with("k=__HIVE_DEFAULT_PARTITION__/")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn what_is_not_committed_is_never_seen() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let schema = noise(0..0).schema();
    let options = [("compression", "none"), ("roll_size", "9MB")];
    let sink = rig
        .sink_at(location(&store, "p"), &schema, &options)
        .await
        .unwrap();
    let mut writer = rig.writer(&sink, &schema).await;
    for b in 0..15 {
        writer.write(noise(b * 8192..(b + 1) * 8192)).await.unwrap();
    }
    let tokens = writer.prepare().await.unwrap();
    assert_eq!(tokens.len(), 2);
    for token in &tokens {
        sink.abort(token).await.unwrap();
        sink.abort(token).await.unwrap();
        let gone = sink.commit(Epoch(1), std::slice::from_ref(token)).await;
        // An upload that is not known, and a hidden object that is not there.
        let gone = gone.unwrap_err().kind();
        assert!([Kind::Unavailable, Kind::Data].contains(&gone), "{gone:?}");
    }
    for b in 0..15 {
        writer.write(noise(b * 8192..(b + 1) * 8192)).await.unwrap();
    }
    writer.discard().await.unwrap();
    drop(writer);
    assert!(keys(&store).await.is_empty());
}

/// A store that is still completing an upload for an instance that is dead: to others it says that
/// the parts are not there any more, and the object appears a little later.
#[derive(Debug)]
struct StillAtIt {
    inner: Arc<InMemory>,
    refusals: AtomicU32,
}

#[async_trait::async_trait]
impl MultipartStore for StillAtIt {
    async fn create_multipart(&self, path: &Path) -> object_store::Result<MultipartId> {
        self.inner.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part: usize,
        data: PutPayload,
    ) -> object_store::Result<PartId> {
        self.inner.put_part(path, id, part, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        if self.refusals.fetch_add(1, Ordering::Relaxed) == 2 {
            self.inner.complete_multipart(path, id, parts).await?;
        }
        Err(object_store::Error::Generic {
            store: "S3",
            source: "400 Bad Request: InvalidPart".into(),
        })
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> object_store::Result<()> {
        self.inner.abort_multipart(path, id).await
    }
}

#[tokio::test]
async fn a_completion_that_the_store_is_still_at_is_waited_for() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let batch = noise(0..100);
    let slow = Arc::new(StillAtIt {
        inner: Arc::clone(&store),
        refusals: AtomicU32::new(0),
    });
    let mut at = location(&store, "p");
    // Where files of one part are uploads as well.
    at.scheme = Scheme::Gcs;
    at.multipart = Some(Multipart(Arc::<StillAtIt>::clone(&slow)));
    let sink = rig.sink_at(at, &batch.schema(), &[]).await.unwrap();
    let mut writer = rig.writer(&sink, &batch.schema()).await;
    writer.write(batch).await.unwrap();
    let tokens = writer.prepare().await.unwrap();
    sink.commit(Epoch(1), &tokens).await.unwrap();
    assert_eq!(keys(&store).await.len(), 1);
    assert_eq!(slow.refusals.load(Ordering::Relaxed), 3);
}
