//! A sink with two phases over an object store, as those for files are: what is finished is staged,
//! what is committed is moved where readers look.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;

use super::data::{Line, lines};
use super::fault::FaultStore;
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::message::Epoch;
use crate::sink::{CommitToken, Owner, Sink, SinkWriter, Start};

/// Rows at which a writer finishes an object before the barrier comes.
const ROLL_ROWS: usize = 25;

/// Mistakes that a check of the whole must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// What is finished is shown before the checkpoint is durable.
    ShowsEarly,
    /// A repeated commit shows the rows again.
    CommitsTwice,
    /// A new instance does not commit what the last checkpoint holds.
    ForgetsTokens,
    /// Finished work that waits for its checkpoint is swept away by the next instance too early.
    SweepsFirst,
    /// Conditional creates overwrite: nobody is ever fenced.
    NoFence,
    /// An instance that wakes up late removes what newer ones have shown.
    SweepsNewer,
    /// A source goes on one batch too late.
    SkipsBatch,
}

/// What the world sees of all instances of a sink, whatever they do.
#[derive(Default)]
pub(super) struct Seen {
    /// The epoch under which each object was committed.
    pub(super) epochs: BTreeMap<String, u64>,
    pub(super) wrong: Vec<String>,
}

type Look = Arc<dyn Fn() -> bool + Send + Sync>;

/// The sink of one instance.
#[derive(Clone)]
pub(super) struct SimSink {
    pub(super) store: FaultStore,
    pub(super) run: String,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) bug: Option<Bug>,
    /// Called when the instance has committed what was open, before it reads; says whether it has
    /// the pipeline for itself.
    pub(super) look: Look,
    /// Whether the sink was checked: before that, commits are those of recovery.
    pub(super) checked: Arc<Mutex<bool>>,
    /// The epoch by which the instance took the pipeline over.
    pub(super) fence: Arc<Mutex<u64>>,
}

impl fmt::Debug for SimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimSink({})", self.run)
    }
}

#[derive(Debug)]
struct Writer {
    sink: SimSink,
    name: String,
    objects: u32,
    rows: Vec<Line>,
    finished: Vec<CommitToken>,
}

fn failed(error: StoreError) -> Error {
    Error::new(
        Kind::Unavailable,
        codes::UNAVAILABLE,
        "the sink's store does not answer",
    )
    .caused_by(error)
}

fn staged(name: &str) -> Path {
    Path::from(format!("staged/{name}"))
}

fn visible(name: &str) -> Path {
    Path::from(format!("visible/{name}"))
}

impl SimSink {
    async fn get(&self, place: &Path) -> Result<Option<Bytes>> {
        match self.again(|| self.store.get(place)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn put(&self, place: &Path, bytes: &Bytes) -> Result<()> {
        let put = || self.store.put(place, PutPayload::from(bytes.clone()));
        self.again(put).await.map(drop).map_err(failed)
    }

    async fn delete(&self, place: &Path) -> Result<()> {
        match self.again(|| self.store.delete(place)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// An answer that was lost is asked for once more.
    async fn again<T, F>(&self, call: impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        match call().await {
            Err(StoreError::Generic { .. }) => call().await,
            answer => answer,
        }
    }

    async fn show(&self, epoch: Epoch, name: &str) -> Result<()> {
        let before = self.seen.lock().epochs.insert(name.to_owned(), epoch.0);
        if let Some(before) = before.filter(|before| *before != epoch.0) {
            let text = format!("{name} was committed in epoch {before} and in {}", epoch.0);
            self.seen.lock().wrong.push(text);
        }
        let place = visible(name);
        if self.get(&place).await?.is_some() {
            // An earlier attempt may have ended between the two steps.
            return self.delete(&staged(name)).await;
        }
        let Some(rows) = self.get(&staged(name)).await? else {
            // Another instance may have been faster, just now.
            if self.get(&place).await?.is_some() {
                return Ok(());
            }
            let text = format!("{name} is committed, and neither staged nor visible");
            self.seen.lock().wrong.push(text.clone());
            return Err(Error::internal(text));
        };
        self.put(&place, &rows).await?;
        self.delete(&staged(name)).await
    }

    /// Sinks for files remove what later epochs than the one that is gone on from have shown.
    fn later(&self, start: Start) {
        let last = match start {
            Start::Fresh => 0,
            Start::Resumed(Epoch(last)) => last,
        };
        let mut seen = self.seen.lock();
        let later = seen.epochs.iter().find(|(_, epoch)| **epoch > last);
        if let Some((name, epoch)) = later {
            let text = format!(
                "{} starts after epoch {last}, {name} is of {epoch}",
                self.run
            );
            seen.wrong.push(text);
        }
    }

    /// Removes what does not count any more, as sinks for files do.
    async fn sweep_later(&self, start: Start) -> Result<()> {
        let Start::Resumed(Epoch(last)) = start else {
            return Ok(());
        };
        let fence = match self.bug {
            Some(Bug::SweepsNewer) => u64::MAX,
            _ => *self.fence.lock(),
        };
        let folder = Path::from("visible");
        let list = || self.store.list(Some(&folder)).try_collect::<Vec<_>>();
        for meta in self.again(list).await.map_err(failed)? {
            let name = meta.location.filename().unwrap_or_default();
            let epoch = self.seen.lock().epochs.get(name).copied();
            if epoch.is_some_and(|epoch| epoch > last && epoch <= fence) {
                self.delete(&meta.location).await?;
            }
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<()> {
        let folder = Path::from("staged");
        let list = || self.store.list(Some(&folder)).try_collect::<Vec<_>>();
        for meta in self.again(list).await.map_err(failed)? {
            // What a newer process has finished is not left over.
            let name = meta.location.filename().unwrap_or_default();
            if name.split('-').next().is_some_and(|run| *run < *self.run) {
                self.delete(&meta.location).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for SimSink {
    fn own(&self, owner: &Owner) {
        *self.fence.lock() = owner.fence.0;
    }

    async fn check(&self, _schema: &SchemaRef, start: Start) -> Result<()> {
        if (self.look)() {
            self.later(start);
        }
        *self.checked.lock() = true;
        self.sweep_later(start).await?;
        self.sweep().await
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer {
            sink: self.clone(),
            name: format!("{}-{}", self.run, context.subtask),
            objects: 0,
            rows: Vec::new(),
            finished: Vec::new(),
        }))
    }

    async fn commit(&self, epoch: Epoch, tokens: &[CommitToken]) -> Result<()> {
        let recovers = !*self.checked.lock();
        if self.bug == Some(Bug::ForgetsTokens) && recovers {
            return Ok(());
        }
        if self.bug == Some(Bug::SweepsFirst) && recovers {
            self.sweep().await?;
        }
        for token in tokens {
            let twice = self.bug == Some(Bug::CommitsTwice) && recovers;
            if twice && let Some(shown) = self.get(&visible(&token.payload)).await? {
                let again = visible(&format!("{}-{}", token.payload, self.run));
                self.put(&again, &shown).await?;
            }
            self.show(epoch, &token.payload).await?;
        }
        Ok(())
    }

    async fn abort(&self, token: &CommitToken) -> Result<()> {
        self.delete(&staged(&token.payload)).await
    }

    fn takes_changelog(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }
}

impl Writer {
    async fn finish(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let name = format!("{}-{}", self.name, self.objects);
        self.objects += 1;
        let rows = std::mem::take(&mut self.rows);
        let bytes = Bytes::from(serde_json::to_vec(&rows).unwrap());
        self.sink.put(&staged(&name), &bytes).await?;
        if self.sink.bug == Some(Bug::ShowsEarly) {
            self.sink.put(&visible(&name), &bytes).await?;
        }
        let (count, size) = (rows.len() as u64, bytes.len() as u64);
        self.finished.push(CommitToken::new(name, count, size));
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for Writer {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows.extend(lines(&batch));
        if self.rows.len() >= ROLL_ROWS {
            self.finish().await?;
        }
        Ok(())
    }

    fn finished(&mut self) -> Vec<CommitToken> {
        std::mem::take(&mut self.finished)
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        self.finish().await?;
        Ok(self.finished())
    }

    async fn discard(&mut self) -> Result<()> {
        self.rows.clear();
        Ok(())
    }
}
