//! The store over memory and over a disk: claims, the fence, damage, garbage, and lost answers.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

use super::*;
use crate::checkpoint::manifest::{Chain, ManifestKind, NodeState, SavedToken, SinkCommit};
use crate::env::{BoxFuture, Clock, TokioSpawner};
use crate::error::Result;
use crate::operator::StateBatches;

mod damage;
mod faults;
mod garbage;
mod takeover;

/// Time that passes only by sleeping, and then at once.
#[derive(Debug, Default)]
struct Jump(parking_lot::Mutex<Duration>);

impl Clock for Jump {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        *self.0.lock() += time;
        Box::pin(tokio::task::yield_now())
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// Must be called in a runtime.
fn store_on(inner: Arc<dyn ObjectStore>, root: Option<PathBuf>) -> Store {
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    let env = Env::new(Arc::new(Jump::default()), Arc::new(spawner), 7);
    Store::new(inner, Path::from("lake/pipelines/orders"), root, env)
}

fn memory() -> (Arc<InMemory>, Store) {
    let inner = Arc::new(InMemory::new());
    let shared: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&inner);
    (inner, store_on(shared, None))
}

fn batch(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn one(values: std::ops::Range<i64>) -> StateBatches {
    Box::new(std::iter::once(Ok(batch(values))))
}

async fn rows(store: &Store, file: &StateFile) -> Vec<RecordBatch> {
    let batches = store.read_state(file).await.unwrap();
    batches.collect::<Result<_>>().unwrap()
}

/// Makes the next manifest as a job does: one more change in a chain of one node, one token.
async fn following(store: &Store, claim: &Claim, last: &Manifest) -> Manifest {
    let epoch = last.epoch + 1;
    let values = i64::try_from(epoch).unwrap() * 10;
    let written = store
        .write_state(
            claim.generation,
            epoch,
            "agg/1",
            0,
            0,
            false,
            one(values..values + 10),
        )
        .await
        .unwrap();
    let outbox = store
        .write_state(claim.generation, epoch, "sink/1", 0, 0, true, one(0..3))
        .await
        .unwrap();
    let mut chain = last.nodes.first().map_or_else(
        || Chain {
            subtask: 0,
            files: vec![],
        },
        |node| node.chains[0].clone(),
    );
    chain.files.extend(written);
    Manifest {
        epoch,
        generation: claim.generation,
        writer: claim.writer.clone(),
        restored_from: None,
        kind: ManifestKind::Periodic,
        nodes: vec![NodeState {
            id: "agg/1".to_owned(),
            fingerprint: "f".to_owned(),
            chains: vec![chain],
        }],
        commits: vec![SinkCommit {
            node: "sink/1".to_owned(),
            epoch,
            tokens: vec![SavedToken {
                payload: format!("{}-{epoch}", claim.writer),
                rows: 3,
                bytes: 1,
                outbox,
            }],
        }],
        ..last.clone()
    }
}

/// Takes over and publishes so many epochs.
async fn start(store: &Store, writer: &str, epochs: usize) -> (Claim, Manifest) {
    let claim = store.claim(writer).await.unwrap();
    let mut last = store.fence(&claim, "orders").await.unwrap();
    for _ in 0..epochs {
        last = following(store, &claim, &last).await;
        assert_eq!(store.publish(&last).await.unwrap(), Published::Durable);
    }
    (claim, last)
}

#[test]
fn goes_on_where_the_last_instance_stopped() {
    run(async {
        let (_, store) = memory();
        let claim = store.claim("a").await.unwrap();
        assert_eq!((claim.generation, claim.next_epoch), (1, 1));
        assert_eq!(claim.latest, None);
        let (_, last) = start(&store, "b", 3).await;
        assert_eq!(last.epoch, 4);

        let claim = store.claim("c").await.unwrap();
        assert_eq!(claim.latest.as_ref(), Some(&last));
        assert_eq!(claim.rejected, []);
        assert_eq!(claim.generation, 3);
        store.verify(&last).await.unwrap();
        let files = &last.nodes[0].chains[0].files;
        assert_eq!(files.len(), 3);
        assert_eq!(rows(&store, &files[0]).await, [batch(20..30)]);

        let restored = store.fence(&claim, "orders").await.unwrap();
        assert_eq!(restored.epoch, 5);
        assert_eq!(restored.kind, ManifestKind::Restored);
        assert_eq!(restored.restored_from, Some(4));
        assert_eq!(restored.nodes, last.nodes);
        // They may not be committed yet, and keep the epoch under which they are.
        assert_eq!(restored.commits, last.commits);
        assert_eq!(store.list().await.unwrap().len(), 5);
        assert_eq!(store.inspect(5).await.unwrap(), restored);
    });
}

#[test]
fn goes_on_from_an_epoch_that_was_asked_for() {
    run(async {
        let (_, store) = memory();
        start(&store, "a", 3).await;
        let claim = store.claim_at("b", Some(2)).await.unwrap();
        let restored = store.fence(&claim, "orders").await.unwrap();
        assert_eq!((restored.epoch, restored.restored_from), (5, Some(2)));
        assert_eq!(restored.nodes[0].chains[0].files.len(), 1);
        assert!(store.claim_at("c", Some(77)).await.is_err());
    });
}

/// The same on a disk, where folders are made, synced and removed.
#[test]
fn works_on_a_disk() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let inner = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
        let store = store_on(inner, Some(root.clone()));
        let (claim, last) = start(&store, "a", 6).await;
        let collected = store.collect(2).await.unwrap();
        // The fence, epochs 2 to 5, and the outboxes of those; all state is still in the chain.
        assert_eq!((collected.manifests, collected.files), (5, 4));
        assert_eq!(store.claim("b").await.unwrap().latest, Some(last.clone()));
        store.verify(&last).await.unwrap();

        let files = last.nodes[0].chains[0].files.clone();
        let merged = store
            .merge(claim.generation, last.epoch + 1, "agg/1", 0, 1, &files)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rows(&store, &merged).await.len(), files.len());
        let mut next = following(&store, &claim, &last).await;
        next.nodes[0].chains[0].files = vec![merged];
        let claim = store.claim("b").await.unwrap();
        next.generation = claim.generation;
        assert_eq!(store.publish(&next).await.unwrap(), Published::Durable);
        store.collect(1).await.unwrap();
        let state = root.join("lake/pipelines/orders/state");
        let folders: Vec<_> = std::fs::read_dir(state).unwrap().flatten().collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        store.verify(&next).await.unwrap();
    });
}

/// Larger than a part and than what is read into memory.
#[test]
fn large_state_goes_through_parts() {
    run(async {
        let (_, store) = memory();
        let random = |n: i64| -> ArrayRef {
            let scatter = |i: i64| i.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ (i << 32);
            Arc::new(Int64Array::from_iter_values((n..n + 400_000).map(scatter)))
        };
        let batches: Vec<RecordBatch> = (0..8)
            .map(|n| RecordBatch::try_from_iter([("n", random(n << 40))]).unwrap())
            .collect();
        let given = batches.clone();
        let file = store
            .write_state(1, 1, "agg", 0, 0, true, Box::new(given.into_iter().map(Ok)))
            .await
            .unwrap()
            .unwrap();
        assert!(file.bytes > 16 << 20, "{} bytes", file.bytes);
        let whole = |batches: Vec<RecordBatch>| {
            arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
        };
        assert_eq!(whole(rows(&store, &file).await), whole(batches.clone()));
        let merged = store
            .merge(1, 2, "agg", 0, 1, &[file.clone(), file])
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            whole(rows(&store, &merged).await),
            whole([batches.clone(), batches].concat())
        );
    });
}

#[test]
fn nothing_to_write_is_no_file() {
    run(async {
        let (_, store) = memory();
        let written = store
            .write_state(1, 1, "agg", 0, 0, true, Box::new(std::iter::empty()))
            .await;
        assert_eq!(written.unwrap(), None);
        let failing = std::iter::once(Err(Error::internal("no state")));
        let written = store
            .write_state(1, 1, "agg", 0, 0, true, Box::new(failing))
            .await;
        assert_eq!(written.unwrap_err().message(), "no state");
    });
}
