//! Object stores whose every operation has a number, and what happens at one of them.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;

use super::executor::{Instance, Sim};
use crate::checkpoint::Manifest;
use crate::env::Env;

type Answer<T> = object_store::Result<T>;

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flavour {
    /// The instance dies, and the operation was not carried out.
    Before,
    /// The instance dies after it was carried out, and does not learn of it.
    After,
    /// It is carried out, and its answer comes after a new instance has started.
    Slow,
    /// It is carried out, its answer is lost, and the old instance tries again beside a new one.
    Lost,
    /// It is carried out when a new instance has been running for a while.
    Held,
}

impl Flavour {
    /// Whether the old instance lives on beside the new one.
    pub(super) fn is_zombie(self) -> bool {
        matches!(self, Self::Slow | Self::Lost | Self::Held)
    }
}

/// What happens to one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The number of the operation, counted from 1 over all stores of the instance.
    pub(super) at: u64,
    pub(super) flavour: Flavour,
}

/// The way of one instance to all of its stores.
pub(super) struct Gate {
    sim: Sim,
    env: Env,
    instance: Instance,
    plan: Option<Plan>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: u64,
    fired: bool,
    trace: Vec<String>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.instance)
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "simulated",
        source: "the answer was lost".into(),
    }
}

impl Gate {
    pub(super) fn new(sim: &Sim, env: Env, instance: Instance, plan: Option<Plan>) -> Arc<Self> {
        Arc::new(Self {
            sim: sim.clone(),
            env,
            instance,
            plan,
            state: Mutex::default(),
        })
    }

    /// Operations so far.
    pub(super) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Whether the planned operation has come.
    pub(super) fn has_fired(&self) -> bool {
        self.state.lock().fired
    }

    /// What the instance has done, in order.
    pub(super) fn trace(&self) -> Vec<String> {
        self.state.lock().trace.clone()
    }

    async fn pause(&self, micros_max: u64) {
        let time = Duration::from_micros(self.sim.draw(micros_max));
        self.env.clock().sleep(time).await;
    }

    async fn die(&self) -> ! {
        self.state.lock().fired = true;
        self.sim.kill(self.instance);
        std::future::pending::<()>().await;
        unreachable!("the instance is dead")
    }

    async fn call<T>(&self, what: String, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let flavour = {
            let mut state = self.state.lock();
            state.calls += 1;
            state.trace.push(what);
            let plan = self.plan.filter(|plan| plan.at == state.calls);
            plan.map(|plan| plan.flavour)
        };
        self.pause(600).await;
        let Some(flavour) = flavour else {
            let answer = call.await;
            self.pause(300).await;
            return answer;
        };
        match flavour {
            Flavour::Before => self.die().await,
            Flavour::After => {
                drop(call.await);
                self.die().await
            }
            Flavour::Slow | Flavour::Lost => {
                let answer = call.await;
                self.state.lock().fired = true;
                self.pause(40_000).await;
                if flavour == Flavour::Lost {
                    return Err(lost());
                }
                answer
            }
            Flavour::Held => {
                self.state.lock().fired = true;
                self.pause(80_000).await;
                call.await
            }
        }
    }
}

/// A store behind a gate.
#[derive(Debug, Clone)]
pub(super) struct FaultStore {
    inner: Arc<InMemory>,
    gate: Arc<Gate>,
    /// A seeded mistake: the store overwrites where it should refuse.
    pub(super) overwrites: bool,
    /// Every manifest that was put into the log, as it happened.
    pub(super) log: Log,
}

/// Manifests in the order in which they became durable.
pub(super) type Log = Arc<Mutex<Vec<Manifest>>>;

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

impl FaultStore {
    pub(super) fn new(inner: &Arc<InMemory>, gate: &Arc<Gate>) -> Self {
        Self {
            inner: Arc::clone(inner),
            gate: Arc::clone(gate),
            overwrites: false,
            log: Log::default(),
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Answer<PutResult> {
        let what = match options.mode {
            PutMode::Create => format!("create {at}"),
            _ => format!("put {at}"),
        };
        if self.overwrites {
            options.mode = PutMode::Overwrite;
        }
        let content = payload.clone();
        let put = async {
            let answer = self.inner.put_opts(at, payload, options).await;
            let is_new = answer.is_ok() && what.contains("create ");
            if is_new && what.contains("/manifests/") {
                let manifest = Manifest::decode(&Bytes::from(content)).unwrap();
                self.log.lock().push(manifest);
            }
            answer
        };
        self.gate.call(what.clone(), put).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        self.gate
            .call(
                format!("upload {at}"),
                self.inner.put_multipart_opts(at, options),
            )
            .await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Answer<GetResult> {
        self.gate
            .call(format!("get {at}"), self.inner.get_opts(at, options))
            .await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Answer<Vec<Bytes>> {
        self.gate
            .call(format!("get {at}"), self.inner.get_ranges(at, ranges))
            .await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Answer<Path>>,
    ) -> BoxStream<'static, Answer<Path>> {
        let store = self.clone();
        let delete = move |place: Answer<Path>| {
            let store = store.clone();
            async move {
                let place = place?;
                let what = format!("delete {place}");
                store.gate.call(what, store.inner.delete(&place)).await?;
                Ok(place)
            }
        };
        places.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        self.gate
            .call("list".to_owned(), self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        self.gate
            .call(
                format!("copy {from} {to}"),
                self.inner.copy_opts(from, to, options),
            )
            .await
    }
}

impl FaultStore {
    fn listing(
        &self,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Answer<ObjectMeta>> {
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.cloned());
        let all = async move {
            let what = format!("list {}", prefix.clone().unwrap_or_default());
            let found = async {
                match &offset {
                    Some(offset) => store.inner.list_with_offset(prefix.as_ref(), offset),
                    None => store.inner.list(prefix.as_ref()),
                }
                .try_collect::<Vec<_>>()
                .await
            };
            store.gate.call(what, found).await
        };
        futures::stream::once(all)
            .map_ok(|found| futures::stream::iter(found.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}
