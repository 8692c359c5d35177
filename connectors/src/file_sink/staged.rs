//! Small files in an object store: put whole under a hidden name, and copied to their own name when
//! they are committed.
//!
//! An upload can be completed once, and a store may lose its parts when the connection breaks at
//! that moment (MinIO does). A copy can be repeated as long as what is copied is there, which it is
//! until the file is seen under its name. What a killed run leaves there is swept by the next one.
//! Large files stay uploads: copying them takes time.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload};
use weir_engine::error::{Error, Kind, Result, codes};

use super::existing::Wanted;
use super::object::{ObjectPlace, another};
use super::place::TEMPORARY;
use super::transfer::spawn;
use crate::store::error;

/// The hidden name of a file, relative to the sink's folder.
pub(super) fn hidden(relative: &str) -> String {
    let name = relative.rsplit('/').next().unwrap_or(relative);
    format!("{TEMPORARY}/{name}.tmp")
}

impl ObjectPlace {
    /// Tries whether this user may write, copy and remove. Who may only write goes on with uploads.
    pub(super) async fn may_copy(&self) -> Result<bool> {
        let id = self.env.next_id();
        let path = |end| self.path(&format!("{TEMPORARY}/probe-{id}.{end}"));
        let (from, to) = (path("tmp")?, path("copy")?);
        let store = Arc::clone(&self.store);
        let probe = async move { Ok(probe(&*store, &from, &to).await.is_ok()) };
        spawn(&self.env, probe).wait().await
    }

    /// Puts a file under its hidden name.
    pub(super) fn stage(
        &self,
        temporary: &str,
        chunks: Vec<Bytes>,
    ) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let path = self.path(temporary)?;
        let (store, url) = (Arc::clone(&self.store), self.show(&path));
        Ok(async move {
            let payload = PutPayload::from_iter(chunks);
            let put = store.put(&path, payload).await;
            put.map(drop).map_err(|e| error(e, &url))
        })
    }

    /// Copies a file to its name and removes it under the hidden one. When that is gone and the
    /// file is there with the same size, it was committed before.
    pub(super) async fn commit_staged(
        &self,
        temporary: String,
        path: String,
        bytes: u64,
    ) -> Result<()> {
        let (from, to) = (self.path(&temporary)?, self.path(&path)?);
        let (store, url) = (Arc::clone(&self.store), self.show(&to));
        let work = async move {
            match store.copy(&from, &to).await {
                Ok(()) => {}
                Err(failure @ StoreError::NotFound { .. }) => {
                    return match store.head(&to).await {
                        Ok(found) if found.size == bytes => Ok(()),
                        Ok(found) => Err(another(&url, found.size, bytes, failure)),
                        Err(StoreError::NotFound { .. }) => Err(gone(&url, &from, failure)),
                        Err(e) => Err(error(e, &url)),
                    };
                }
                Err(e) => return Err(error(e, &url)),
            }
            if let Err(failure) = remove(&*store, &from).await {
                tracing::warn!(%failure, "{from} is not needed any more and could not be removed");
            }
            Ok(())
        };
        spawn(&self.env, work).wait().await
    }

    /// Removes the files under hidden names that nobody will commit.
    pub(super) async fn sweep_staged(&self, is_left: Wanted) -> Result<()> {
        let folder = self.path(TEMPORARY)?;
        let (store, url) = (Arc::clone(&self.store), self.url().to_owned());
        let work = async move {
            let mut objects = store.list(Some(&folder));
            while let Some(object) = objects.next().await {
                let location = match object {
                    Ok(object) => object.location,
                    // Who may write need not be allowed to list.
                    Err(StoreError::PermissionDenied { .. }) => return Ok(()),
                    Err(e) => return Err(error(e, &url)),
                };
                if location.filename().is_some_and(|name| is_left(name)) {
                    let removed = remove(&*store, &location).await;
                    removed.map_err(|e| error(e, &url))?;
                }
            }
            Ok(())
        };
        spawn(&self.env, work).wait().await
    }

    /// Removes a file under its hidden name; one that is gone already is success.
    pub(super) async fn remove_staged(&self, temporary: String) -> Result<()> {
        let path = self.path(&temporary)?;
        let (store, url) = (Arc::clone(&self.store), self.show(&path));
        let work = async move {
            let removed = remove(&*store, &path).await;
            removed.map_err(|e| error(e, &url))
        };
        self.patient(spawn(&self.env, work)).await
    }
}

async fn probe(store: &dyn ObjectStore, from: &Path, to: &Path) -> object_store::Result<()> {
    // First what would leave something behind if it were not allowed at the end.
    remove(store, from).await?;
    store.put(from, PutPayload::from_static(b"weir")).await?;
    let copied = store.copy(from, to).await;
    remove(store, from).await?;
    remove(store, to).await?;
    copied
}

async fn remove(store: &dyn ObjectStore, path: &Path) -> object_store::Result<()> {
    match store.delete(path).await {
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn gone(url: &str, from: &Path, failure: StoreError) -> Error {
    Error::new(
        Kind::Data,
        codes::NOT_FOUND,
        format!("the finished file for {url} is gone"),
    )
    .detail(format!("{from} does not exist"))
    .hint("were objects removed by hand or by a rule of the bucket while the job was stopped?")
    .caused_by(failure)
}
