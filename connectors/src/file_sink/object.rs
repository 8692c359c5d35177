//! A folder in an object store. Its files are multipart uploads (`upload`), which show nothing before
//! they are completed, or, when they are small, objects under a hidden name (`staged`).
//!
//! Uploads that a killed run left open cost room until the bucket's own rule
//! (`AbortIncompleteMultipartUpload`) ends them: stores have no way to list only our own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use super::place::TEMPORARY;
use super::transfer::{Pending, spawn};
use crate::store::error;

/// Longest time that a task or a job waits for uploads to be thrown away.
const ABORT_TIME_MAX: Duration = Duration::from_secs(5);

/// Attempts to complete an upload that the store refuses to complete and whose object is not there.
const COMPLETE_TRIES_MAX: u32 = 15;
/// The time between them.
const COMPLETE_PAUSE: Duration = Duration::from_millis(200);

/// A prefix in a bucket.
pub(super) struct ObjectPlace {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) multipart: Arc<dyn MultipartStore>,
    pub(super) prefix: Path,
    url: String,
    pub(super) env: Env,
    /// Whether small files are staged; until the check it is what the store can do, then whether
    /// this user may.
    copies: AtomicBool,
}

impl fmt::Debug for ObjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectPlace")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl ObjectPlace {
    /// Takes both views of one store, and the place in it.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        multipart: Arc<dyn MultipartStore>,
        prefix: Path,
        url: String,
        env: Env,
        copies: bool,
    ) -> Self {
        Self {
            store,
            multipart,
            prefix,
            url,
            env,
            copies: AtomicBool::new(copies),
        }
    }

    /// The place as the script has it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether small files are staged.
    pub(super) fn copies(&self) -> bool {
        self.copies.load(Ordering::Relaxed)
    }

    /// Begins and aborts an upload, which needs the bucket and the right to write and leaves
    /// nothing, then lists, for stores that check nothing at the beginning of an upload.
    pub(super) async fn check(&self) -> Result<()> {
        let path = self.path(&format!("{TEMPORARY}/probe-{}", self.env.next_id()))?;
        let (store, multipart) = (Arc::clone(&self.store), Arc::clone(&self.multipart));
        let (prefix, url) = (self.prefix.clone(), self.url.clone());
        let check = async move {
            let failed = |e| error(e, &url);
            let upload = multipart.create_multipart(&path).await.map_err(failed)?;
            multipart
                .abort_multipart(&path, &upload)
                .await
                .map_err(failed)?;
            match store.list(Some(&prefix)).next().await {
                // Who may write need not be allowed to list.
                Some(Err(e)) if error_code(&e, &url) != codes::PERMISSION => Err(failed(e)),
                _ => Ok(()),
            }
        };
        spawn(&self.env, check).wait().await?;
        if self.copies() {
            self.copies.store(self.may_copy().await?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Completes an upload. When that fails and the object is there with the same size, it was
    /// completed before: names are never used twice. When it is not there, the store may be at it
    /// still, for an instance that died while it waited for the answer: that is given some time.
    pub(super) async fn commit(
        &self,
        path: String,
        upload: String,
        parts: Vec<String>,
        bytes: u64,
    ) -> Result<()> {
        let path = self.path(&path)?;
        let (store, multipart) = (Arc::clone(&self.store), Arc::clone(&self.multipart));
        let (url, clock) = (self.show(&path), self.env.clock_arc());
        let work = async move {
            let parts: Vec<_> = parts
                .into_iter()
                .map(|content_id| PartId { content_id })
                .collect();
            let mut tries = 0;
            loop {
                let done = multipart.complete_multipart(&path, &upload, Vec::clone(&parts));
                let Err(failure) = done.await else {
                    return Ok(());
                };
                tries += 1;
                match store.head(&path).await {
                    Ok(found) if found.size == bytes => return Ok(()),
                    Ok(found) => return Err(another(&url, found.size, bytes, failure)),
                    Err(StoreError::NotFound { .. }) if tries < COMPLETE_TRIES_MAX => {
                        clock.sleep(COMPLETE_PAUSE).await;
                    }
                    Err(_) => return Err(error(failure, &url)),
                }
            }
        };
        spawn(&self.env, work).wait().await
    }

    /// Aborts an upload; one that is gone already is success.
    pub(super) async fn abort(&self, path: String, upload: String) -> Result<()> {
        let path = self.path(&path)?;
        let multipart = Arc::clone(&self.multipart);
        let url = self.show(&path);
        let work = async move {
            match multipart.abort_multipart(&path, &upload).await {
                Ok(()) => Ok(()),
                Err(e) if error_code(&e, &url) == codes::NOT_FOUND || is_gone(&e) => Ok(()),
                Err(e) => Err(error(e, &url)),
            }
        };
        self.patient(spawn(&self.env, work)).await
    }

    /// Waits for work that throws uploads away, but not long: a stop must not wait for a store
    /// that is gone. The work goes on as long as the process does.
    pub(super) async fn patient(&self, away: Pending<()>) -> Result<()> {
        let waited = self.env.timeout(ABORT_TIME_MAX, away.wait()).await;
        waited.unwrap_or_else(|| {
            tracing::warn!(place = %self.url, "unfinished uploads could not be ended in time");
            Ok(())
        })
    }

    /// The key of what has this path in the sink's folder.
    pub(super) fn path(&self, relative: &str) -> Result<Path> {
        let text = match self.prefix.as_ref() {
            "" => relative.to_owned(),
            prefix => format!("{prefix}/{relative}"),
        };
        Path::parse(&text).map_err(|e| {
            Error::new(
                Kind::Invalid,
                codes::OPTION,
                format!("the path {text} cannot be used"),
            )
            .detail(e.to_string())
        })
    }

    pub(super) fn show(&self, path: &Path) -> String {
        format!("{path} of {}", self.url)
    }
}

/// The error of a name that another file has.
pub(super) fn another(url: &str, found: u64, bytes: u64, failure: StoreError) -> Error {
    Error::new(
        Kind::Conflict,
        codes::EXECUTION,
        format!("{url} exists already and is another file"),
    )
    .detail(format!("it has {found} bytes, the finished one {bytes}"))
    .caused_by(failure)
}

fn error_code(failure: &object_store::Error, url: &str) -> weir_engine::error::Code {
    let text = failure.to_string();
    match failure {
        object_store::Error::NotFound { .. } => codes::NOT_FOUND,
        object_store::Error::PermissionDenied { .. } => codes::PERMISSION,
        _ => {
            // The error itself goes on to the user, so the class is read from a copy of its text.
            let copy = object_store::Error::Generic {
                store: "copy",
                source: text.into(),
            };
            error(copy, url).code()
        }
    }
}

/// Stores without a word of their own for it say in their text that an upload is unknown.
fn is_gone(failure: &object_store::Error) -> bool {
    let text = failure.to_string();
    text.contains("NoSuchUpload") || text.contains("No upload") || text.contains("not found")
}
