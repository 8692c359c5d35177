//! The folder of a sink: on the local disk or in an object store. Checks it, and makes finished
//! files visible or throws them away.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_engine::env::Env;
use weir_engine::error::{Error, Result};
use weir_engine::sink::CommitToken;

use super::local::LocalPlace;
use super::object::ObjectPlace;
use super::transfer::Pending;
use crate::store::{Location, Scheme};

/// The folder under the sink's own where files are until they are whole. Readers skip names that
/// begin with `_`, as they do for Hive and Spark.
pub(super) const TEMPORARY: &str = "_temporary";

/// Where the files go.
#[derive(Debug)]
pub(super) enum Place {
    /// A folder on the local disk.
    Local(Arc<LocalPlace>),
    /// A prefix in a bucket.
    Object(Arc<ObjectPlace>),
}

/// A finished file that is durable and not yet visible: the payload of a token. Paths are relative
/// to the sink's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Finished {
    /// A synced file that waits for its rename.
    Local { temporary: String, path: String },
    /// An object under a hidden name that waits for its copy.
    Staged { temporary: String, path: String },
    /// An upload whose parts are all there.
    Upload {
        path: String,
        upload: String,
        parts: Vec<String>,
    },
}

impl Finished {
    /// Makes the token.
    pub(super) fn token(&self, rows: u64, bytes: u64) -> Result<CommitToken> {
        let payload = serde_json::to_string(self)
            .map_err(|e| Error::internal("a commit token cannot be written").caused_by(e))?;
        Ok(CommitToken::new(payload, rows, bytes))
    }

    /// Where the file is once it is visible.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Local { path, .. } | Self::Staged { path, .. } | Self::Upload { path, .. } => {
                path
            }
        }
    }

    fn of(token: &CommitToken) -> Result<Self> {
        serde_json::from_str(&token.payload)
            .map_err(|e| Error::internal("a commit token cannot be read").caused_by(e))
    }
}

impl Place {
    /// Takes a location.
    pub(super) fn of(location: Location, env: &Env) -> Result<Self> {
        let env = env.clone();
        if let Some(root) = location.local_root {
            return Ok(Self::Local(Arc::new(LocalPlace::new(
                root,
                location.url,
                env,
            ))));
        }
        let multipart = location.multipart.ok_or_else(|| {
            Error::internal(format!(
                "the store of {} has no multipart uploads",
                location.url
            ))
        })?;
        let (store, prefix) = (location.store, location.path);
        // Elsewhere a copy may go on behind its answer, or it is not needed.
        let copies = location.scheme == Scheme::S3;
        let place = ObjectPlace::new(store, multipart.0, prefix, location.url, env, copies);
        Ok(Self::Object(Arc::new(place)))
    }

    /// The place as the script has it.
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Local(place) => place.url(),
            Self::Object(place) => place.url(),
        }
    }

    /// Checks that files can be written.
    pub(super) async fn check(&self) -> Result<()> {
        match self {
            Self::Local(place) => place.check().await,
            Self::Object(place) => place.check().await,
        }
    }

    /// Makes a finished file visible, and gives its path.
    pub(super) async fn commit(&self, token: &CommitToken) -> Result<String> {
        let finished = Finished::of(token)?;
        let visible = finished.path().to_owned();
        match (self, finished) {
            (Self::Local(place), Finished::Local { temporary, path }) => {
                place.commit(temporary, path, token.bytes).await?;
            }
            (Self::Object(place), Finished::Staged { temporary, path }) => {
                place.commit_staged(temporary, path, token.bytes).await?;
            }
            (
                Self::Object(place),
                Finished::Upload {
                    path,
                    upload,
                    parts,
                },
            ) => place.commit(path, upload, parts, token.bytes).await?,
            _ => return Err(elsewhere(self.url())),
        }
        Ok(visible)
    }

    /// Waits for work that throws files away.
    pub(super) async fn patient(&self, away: Pending<()>) -> Result<()> {
        match self {
            Self::Local(_) => away.wait().await,
            Self::Object(place) => place.patient(away).await,
        }
    }

    /// Throws a finished file away.
    pub(super) async fn abort(&self, token: &CommitToken) -> Result<()> {
        match (self, Finished::of(token)?) {
            (Self::Local(place), Finished::Local { temporary, .. }) => {
                place.remove(temporary).await
            }
            (Self::Object(place), Finished::Staged { temporary, .. }) => {
                place.remove_staged(temporary).await
            }
            (Self::Object(place), Finished::Upload { path, upload, .. }) => {
                place.abort(path, upload).await
            }
            _ => Err(elsewhere(self.url())),
        }
    }
}

fn elsewhere(url: &str) -> Error {
    Error::internal(format!(
        "a commit token of another kind of store came to {url}"
    ))
}
