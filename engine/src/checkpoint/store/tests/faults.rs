//! A store whose answers get lost: before the call is carried out, and after.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutResult,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::checkpoint::manifest::tests::seed;

type Answer<T> = object_store::Result<T>;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It is not carried out.
    Before,
    /// It is carried out, and the answer is lost.
    After,
}

/// Decides by the number of the call.
type Plan = Box<dyn Fn(usize, &str) -> Fault + Send + Sync>;

struct Faulty {
    inner: Arc<InMemory>,
    calls: AtomicUsize,
    plan: Plan,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "connection reset".into(),
    }
}

impl Faulty {
    async fn call<T>(&self, what: &str, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        match (self.plan)(number, what) {
            Fault::None => call.await,
            Fault::Before => Err(lost()),
            Fault::After => {
                drop(call.await);
                Err(lost())
            }
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<PutResult> {
        self.call("put", self.inner.put_opts(at, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        self.call("upload", self.inner.put_multipart_opts(at, options))
            .await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Answer<GetResult> {
        self.call("get", self.inner.get_opts(at, options)).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Answer<Vec<Bytes>> {
        self.call("get", self.inner.get_ranges(at, ranges)).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Answer<Path>>,
    ) -> BoxStream<'static, Answer<Path>> {
        self.inner.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        match (self.plan)(number, "list") {
            Fault::None => self.inner.list(prefix),
            _ => Box::pin(futures::stream::once(async { Err(lost()) })),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        self.call("list", self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        self.call("put", self.inner.copy_opts(from, to, options))
            .await
    }
}

fn faulty(inner: &Arc<InMemory>, plan: Plan) -> (Arc<Faulty>, Store) {
    let faulty = Arc::new(Faulty {
        inner: Arc::clone(inner),
        calls: AtomicUsize::new(0),
        plan,
    });
    let shared: Arc<dyn ObjectStore> = Arc::<Faulty>::clone(&faulty);
    (faulty, store_on(shared, None))
}

/// Every call of a run fails once, in both ways: the run goes on, and its log is the same.
#[test]
fn a_single_lost_answer_changes_nothing() {
    run(async {
        let clean = Arc::new(InMemory::new());
        let (counter, store) = faulty(&clean, Box::new(|_, _| Fault::None));
        let (_, expected) = start(&store, "a", 2).await;
        store.collect(1).await.unwrap();
        let calls = counter.calls.load(Ordering::Relaxed);
        println!("{calls} calls");
        assert!(calls > 20);
        for fault in [Fault::Before, Fault::After] {
            for failing in 0..calls {
                let inner = Arc::new(InMemory::new());
                let plan = move |number, _: &str| match number == failing {
                    true => fault,
                    false => Fault::None,
                };
                let (_, store) = faulty(&inner, Box::new(plan));
                let (_, last) = start(&store, "a", 2).await;
                store.collect(1).await.unwrap();
                assert_eq!(last, expected, "{fault:?} at {failing}");
                store.verify(&last).await.unwrap();
                assert_eq!(store.claim("b").await.unwrap().latest, Some(last));
            }
        }
    });
}

/// A store that stops answering in the middle of a publication leaves its outcome unknown, and
/// the next instance finds out.
#[test]
fn what_cannot_be_settled_is_unknown_and_found_out_later() {
    run(async {
        for (fault, there) in [(Fault::After, true), (Fault::Before, false)] {
            let inner = Arc::new(InMemory::new());
            let (_, healthy) = faulty(&inner, Box::new(|_, _| Fault::None));
            let (claim, last) = start(&healthy, "a", 1).await;
            let next = following(&healthy, &claim, &last).await;
            let plan = move |number, _: &str| match number {
                0 => fault,
                _ => Fault::Before,
            };
            let (_, dead) = faulty(&inner, Box::new(plan));
            let error = dead.publish(&next).await.unwrap_err();
            assert!(is_unknown(&error), "{error:?}");
            let latest = healthy.claim("b").await.unwrap().latest;
            assert_eq!(latest, Some(if there { next } else { last }));
        }
    });
}

/// A place that is taken is found out through lost answers.
#[test]
fn fenced_is_told_through_lost_answers() {
    run(async {
        let inner = Arc::new(InMemory::new());
        let (_, healthy) = faulty(&inner, Box::new(|_, _| Fault::None));
        let (claim, last) = start(&healthy, "a", 1).await;
        let next = following(&healthy, &claim, &last).await;
        // Another one holds the place: the first answer is lost, the second one tells.
        let other = Manifest {
            writer: "other".to_owned(),
            generation: 9,
            ..next.clone()
        };
        assert_eq!(healthy.publish(&other).await.unwrap(), Published::Durable);
        let plan = |number, _: &str| match number {
            0..3 => Fault::After,
            _ => Fault::None,
        };
        let (_, store) = faulty(&inner, Box::new(plan));
        assert_eq!(
            store.publish(&next).await.unwrap(),
            Published::Fenced { by: 9 }
        );
    });
}

/// Two instances over a store that loses a third of all answers: whatever each was told is true.
#[test]
fn two_instances_over_a_bad_network() {
    run(async {
        let seed = seed();
        let (mut durable, mut fenced, mut unknown) = (0, 0, 0);
        for round in 0..60 {
            let inner = Arc::new(InMemory::new());
            let chance = parking_lot::Mutex::new(StdRng::seed_from_u64(seed + round));
            let plan = move |_, _: &str| match chance.lock().random_range(0..6) {
                0 => Fault::Before,
                1 => Fault::After,
                _ => Fault::None,
            };
            let (_, store) = faulty(&inner, Box::new(plan));
            let (_, healthy) = faulty(&inner, Box::new(|_, _| Fault::None));
            let (old, last) = start(&healthy, "old", 1).await;
            let late = following(&healthy, &old, &last).await;
            let claim = store.claim("new").await.unwrap();
            let (published, fence) =
                futures::join!(store.publish(&late), store.fence(&claim, "orders"));
            let log = healthy.inspect(late.epoch).await.unwrap();
            match published {
                Ok(Published::Durable) => {
                    durable += 1;
                    assert_eq!(log, late, "round {round}");
                }
                Ok(Published::Fenced { .. }) => {
                    fenced += 1;
                    assert_ne!(log, late, "round {round}");
                }
                Err(error) => {
                    unknown += 1;
                    assert!(is_unknown(&error), "round {round}: {error:?}");
                }
            }
            if let Ok(fence) = fence {
                assert_eq!(healthy.inspect(fence.epoch).await.unwrap(), fence);
                let restored_from = fence.restored_from.unwrap();
                assert_eq!(restored_from + 1, fence.epoch, "round {round}");
                if log == late {
                    assert_eq!(fence.commits, late.commits, "round {round}");
                }
            }
        }
        println!("durable {durable}, fenced {fenced}, unknown {unknown}");
        assert!(durable > 5 && fenced > 5);
    });
}
