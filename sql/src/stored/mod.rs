//! The materialized views of other pipelines, read from their checkpoints; and quarantine tables.
//!
//! A pipeline keeps the rows of its views in its checkpoints; nobody asks the running process. So
//! what is read is what the last committed epoch has, and all views that one statement reads are
//! of the same epoch of their pipeline. The stores are only read: a pipeline may remove an epoch
//! while it is read here, which the reader sees as a missing file and answers with a newer epoch.

mod changes;
mod follow;
mod parts;
mod quarantine;
mod stateless;
mod table;

use std::sync::Arc;

use parking_lot::RwLock;
use weir_engine::checkpoint::{Chain, Manifest, StateFile, Store, ViewInfo};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::operator::StateBatches;
use weir_engine::view::{Room, Rows, Snapshot};

pub(crate) use follow::Follower;
pub(crate) use parts::Parts;
pub(crate) use quarantine::{QuarantineRows, QuarantineTable, SCHEMA as QUARANTINE};
pub(crate) use stateless::Stateless;
pub(crate) use table::StoredView;

/// A pipeline whose views can be read.
#[derive(Debug)]
pub(crate) struct StoredPipeline {
    /// Where its state is, as people write it.
    place: String,
    store: Store,
    env: Env,
    room: Room,
    newest: RwLock<Option<Arc<Manifest>>>,
}

impl StoredPipeline {
    /// Makes the reader of a store; nothing is read yet.
    pub(crate) fn new(place: String, store: Store, env: Env, room: Room) -> Self {
        Self {
            place,
            store,
            env,
            room,
            newest: RwLock::default(),
        }
    }

    /// Where its state is.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The epoch that is read now; `None` when there is none yet.
    pub(crate) fn newest(&self) -> Option<Arc<Manifest>> {
        self.newest.read().as_ref().map(Arc::clone)
    }

    /// Goes on to the newest epoch that can be read.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let epochs = self.store.epochs().await?;
        let known = self.newest().map(|manifest| manifest.epoch);
        for epoch in epochs.into_iter().rev() {
            if known == Some(epoch) {
                return Ok(());
            }
            match self.store.inspect(epoch).await {
                Ok(manifest) => {
                    *self.newest.write() = Some(Arc::new(manifest));
                    return Ok(());
                }
                // It is damaged, or was removed since.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        *self.newest.write() = None;
        Ok(())
    }

    /// Reads the rows of a view at an epoch; what does not fit in memory is on disk.
    async fn rows(&self, manifest: &Manifest, view: &ViewInfo) -> Result<Rows> {
        let mut snapshot = Snapshot::try_new(&view.schema.0, &self.room)?;
        let node = manifest.nodes.iter().find(|node| node.id == view.node);
        let chains: &[Chain] = node.map_or(&[], |node| &node.chains);
        for chain in chains {
            let batches = self.batches(&chain.files).await?;
            let applied = self.env.blocking(move || {
                snapshot.apply(batches)?;
                Ok::<_, Error>(snapshot)
            });
            snapshot = applied.await??;
        }
        self.env.blocking(move || snapshot.finish()).await?
    }

    /// Gives the batches of files, one after the other.
    async fn batches(&self, files: &[StateFile]) -> Result<StateBatches> {
        let mut all: Vec<StateBatches> = Vec::with_capacity(files.len());
        for file in files {
            all.push(self.store.read_state(file).await?);
        }
        Ok(Box::new(all.into_iter().flatten()))
    }
}

/// Whether a checkpoint, or a file of it, is not there any more.
pub(crate) fn is_gone(error: &Error) -> bool {
    error.code() == codes::CHECKPOINT_CORRUPT
}

/// Finds a view in a manifest.
fn find<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m ViewInfo> {
    let found = manifest.views.iter().find(|view| view.name == name);
    found.ok_or_else(|| changed(name, "it is no longer there"))
}

/// The error for a view that is not what it was when the statement was planned.
fn changed(name: &str, why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        codes::UNKNOWN_TABLE,
        format!("the materialized view \"{name}\" has changed"),
    )
    .detail(why)
    .hint("run the statement again")
}
