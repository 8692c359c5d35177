//! The store of a pipeline's checkpoints: a folder on any object store.
//!
//! ```text
//! generations/{generation}.json      who took the pipeline over, by conditional create
//! manifests/{epoch}.json             the log, by conditional create: this is the fence
//! manifests/{epoch}.copy.json        the same again, for when a bit of the first one flips
//! state/{generation}-{epoch}/*.state what the manifests name
//! ```
//!
//! It promises: a manifest that was told to be durable is found by every later
//! [`Store::claim`], or it is told as rejected; of two instances one extends the log and the
//! other is told that it is fenced; what a kept manifest names is never deleted. On a local disk
//! that holds through loss of power: files and their folders are synced, which
//! `object_store` itself does not do.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Semaphore;

use super::manifest::{Manifest, StateFile};
use crate::env::Env;
use crate::error::{Error, Kind, codes};

mod claim;
mod collect;
mod disk;
mod failure;
mod io;
mod publish;
mod state;
#[cfg(test)]
mod tests;

pub use publish::Published;

/// The file of a manifest.
const MANIFEST: &str = "json";
/// The file of its mirror.
const COPY: &str = "copy.json";

/// The checkpoints of one pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    local_root: Option<PathBuf>,
    env: Env,
    /// Who uploads in parts.
    uploads: Arc<Semaphore>,
}

/// A pipeline that an instance has taken over, and what it goes on from.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The number of the claim: above all earlier ones.
    pub generation: u64,
    /// The instance.
    pub writer: String,
    /// The newest manifest that is whole; `None` when there is none.
    pub latest: Option<Manifest>,
    /// The newer epochs that are not, from the newest. Sinks may have shown their rows already,
    /// and they come again: the caller has to tell the user.
    pub rejected: Vec<Rejected>,
    /// The epoch above all that were ever seen.
    pub next_epoch: u64,
    /// Whether [`Claim::latest`] is the epoch that was asked for rather than the newest.
    pub pinned: bool,
}

/// An epoch that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The epoch.
    pub epoch: u64,
    /// What is wrong with it.
    pub why: String,
}

/// What [`Store::collect`] has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Manifests.
    pub manifests: usize,
    /// State files.
    pub files: usize,
    /// Bytes of state files.
    pub bytes: u64,
}

/// An epoch in the store.
#[derive(Debug)]
pub struct Listed {
    /// The epoch.
    pub epoch: u64,
    /// Its manifest, or why it cannot be read.
    pub manifest: crate::Result<Manifest>,
}

impl Store {
    /// Takes the folder `prefix` of a store. `local_root` is the folder on disk that the store's
    /// paths are relative to, when it is a local one.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        prefix: Path,
        local_root: Option<PathBuf>,
        env: Env,
    ) -> Self {
        Self {
            inner,
            prefix,
            local_root,
            env,
            uploads: Arc::new(Semaphore::new(state::UPLOADS_MAX)),
        }
    }

    fn place(&self, relative: &str) -> Path {
        relative
            .split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn generation_place(&self, generation: u64) -> Path {
        self.place(&format!("generations/{generation:010}.json"))
    }

    fn manifest_place(&self, epoch: u64, ending: &str) -> Path {
        self.place(&format!("manifests/{epoch:020}.{ending}"))
    }
}

/// Gives the place of a state file below the pipeline's folder.
fn state_path(generation: u64, epoch: u64, node: &str, subtask: u32, number: u32) -> String {
    let name = slug(node);
    format!("state/{generation:010}-{epoch:020}/{name}-{subtask}-{number}.state")
}

/// Gives a file name for a node's id: readable, short, and different for different ids.
fn slug(node: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let readable: String = node.chars().take(48).map(plain).collect();
    let hash = twox_hash::XxHash3_64::oneshot(node.as_bytes());
    format!("{readable}-{hash:016x}")
}

/// Gives the epoch in the place of a state file.
fn state_epoch(relative: &str) -> Option<u64> {
    let (_, rest) = relative.split_once("state/")?;
    let (folder, _) = rest.split_once('/')?;
    folder.split_once('-')?.1.parse().ok()
}

/// Whether an error of [`Store::publish`] leaves open if the manifest is in the log: then none of
/// its tokens may be aborted, and none committed.
pub fn is_unknown(error: &Error) -> bool {
    [codes::CHECKPOINT_UNKNOWN, codes::FENCED].contains(&error.code())
}

fn missing(file: &StateFile) -> Error {
    Error::new(
        Kind::Data,
        codes::CHECKPOINT_CORRUPT,
        "a checkpoint's state file is missing",
    )
    .detail(file.path.clone())
}
