//! One file on its way to an object store: its parts go behind the task's back, and nothing is seen of
//! it before its commit.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use weir_engine::error::{Error, Result};

use super::object::ObjectPlace;
use super::place::Finished;
use super::staged::hidden;
use super::transfer::{Lanes, Pending, spawn};
use crate::store::error;

/// An upload that grows by parts; a file of one part is staged.
#[derive(Debug)]
pub(super) struct Upload {
    place: Arc<ObjectPlace>,
    lanes: Lanes,
    relative: String,
    beginning: Option<Pending<MultipartId>>,
    id: Option<Arc<MultipartId>>,
    parts: Vec<Part>,
    staged: Option<Staged>,
    bytes: u64,
    armed: bool,
}

/// A small file under its hidden name, or on its way there.
#[derive(Debug)]
struct Staged {
    temporary: String,
    put: Option<Pending<()>>,
}

#[derive(Debug)]
enum Part {
    Sent(Pending<PartId>),
    Done(PartId),
}

impl Upload {
    /// Begins a file of this name in this folder; the store hears of it with the first part.
    pub(super) fn new(place: Arc<ObjectPlace>, lanes: Lanes, folder: &str, name: &str) -> Self {
        let relative = if folder.is_empty() {
            name.to_owned()
        } else {
            format!("{folder}/{name}")
        };
        Self {
            place,
            lanes,
            relative,
            beginning: None,
            id: None,
            parts: Vec::new(),
            staged: None,
            bytes: 0,
            armed: true,
        }
    }

    /// Uploads each chunk as a part behind the task's back; waits only for a free lane.
    pub(super) async fn send(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.look()?;
        let path = self.place.path(&self.relative)?;
        let id = self.begin(&path).await?;
        for chunk in chunks {
            let multipart = Arc::clone(&self.place.multipart);
            let (path, id, url) = (path.clone(), Arc::clone(&id), self.place.show(&path));
            let (number, size) = (self.parts.len(), chunk.len());
            let work = async move {
                let put = multipart.put_part(&path, &id, number, PutPayload::from_bytes(chunk));
                put.await.map_err(|e| error(e, &url))
            };
            self.parts
                .push(Part::Sent(self.lanes.start(size, work).await?));
            self.bytes += size as u64;
        }
        Ok(())
    }

    /// Uploads the last part and waits for all.
    pub(super) async fn finish(mut self, rest: Vec<Bytes>) -> Result<(Finished, u64)> {
        match self.finish_parts(rest).await {
            Ok(finished) => Ok((finished, self.bytes)),
            Err(failure) => {
                // The failure is what matters; an abort that fails as well adds nothing.
                drop(self.abort().await);
                Err(failure)
            }
        }
    }

    async fn finish_parts(&mut self, rest: Vec<Bytes>) -> Result<Finished> {
        if self.id.is_none() && rest.len() == 1 && self.place.copies() {
            return self.stage(rest).await;
        }
        self.send(rest).await?;
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            if let Part::Sent(pending) = part {
                *part = Part::Done(pending.join().await?);
            }
            if let Part::Done(id) = part {
                parts.push(id.content_id.clone());
            }
        }
        let Some(id) = self.id.as_deref() else {
            return Err(Error::internal("a file without bytes cannot be uploaded"));
        };
        let (path, upload) = (self.relative.clone(), id.clone());
        self.armed = false;
        Ok(Finished::Upload {
            path,
            upload,
            parts,
        })
    }

    async fn stage(&mut self, rest: Vec<Bytes>) -> Result<Finished> {
        let size = rest.iter().map(Bytes::len).sum();
        let temporary = hidden(&self.relative);
        let work = self.place.stage(&temporary, rest)?;
        let put = self.lanes.start(size, work).await?;
        self.bytes = size as u64;
        let staged = self.staged.insert(Staged {
            temporary: temporary.clone(),
            put: Some(put),
        });
        if let Some(put) = &mut staged.put {
            // A stop may end this wait: the object that is on its way stays known.
            let done = put.join().await;
            staged.put = None;
            done?;
        }
        self.armed = false;
        let path = self.relative.clone();
        Ok(Finished::Staged { temporary, path })
    }

    /// Ends the upload and what it holds in the store.
    pub(super) async fn abort(mut self) -> Result<()> {
        self.armed = false;
        self.end().await
    }

    /// Takes what is under way, and gives what ends it. A part that came after the abort would
    /// stay, so all of them are awaited.
    fn end(&mut self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (place, relative) = (Arc::clone(&self.place), self.relative.clone());
        let (beginning, mut id) = (self.beginning.take(), self.id.take());
        let parts = std::mem::take(&mut self.parts);
        let staged = self.staged.take();
        async move {
            if let Some(staged) = staged {
                if let Some(put) = staged.put {
                    drop(put.wait().await);
                }
                place.remove_staged(staged.temporary).await?;
            }
            if let Some(beginning) = beginning {
                id = beginning.wait().await.ok().map(Arc::new);
            }
            for part in parts {
                if let Part::Sent(pending) = part {
                    drop(pending.wait().await);
                }
            }
            match id {
                Some(id) => place.abort(relative, (*id).clone()).await,
                None => Ok(()),
            }
        }
    }

    async fn begin(&mut self, path: &Path) -> Result<Arc<MultipartId>> {
        if let Some(id) = &self.id {
            return Ok(Arc::clone(id));
        }
        let multipart = Arc::clone(&self.place.multipart);
        let (path, url) = (path.clone(), self.place.show(path));
        let create = async move {
            multipart
                .create_multipart(&path)
                .await
                .map_err(|e| error(e, &url))
        };
        // A stop may end this wait: the upload that begins stays known, and can be ended.
        let created = self
            .beginning
            .insert(spawn(self.lanes.env(), create))
            .join()
            .await;
        self.beginning = None;
        let id = Arc::new(created?);
        self.id = Some(Arc::clone(&id));
        Ok(id)
    }

    /// Takes the parts that are there, so that a failure ends the file soon and not at its end.
    fn look(&mut self) -> Result<()> {
        for part in &mut self.parts {
            if let Part::Sent(pending) = part
                && let Some(result) = pending.ready()
            {
                *part = Part::Done(result?);
            }
        }
        Ok(())
    }
}

impl Drop for Upload {
    /// A task that ends without a word, by a panic or a stop, leaves no upload either.
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if self.id.is_some() || self.beginning.is_some() || self.staged.is_some() {
            let end = self.end();
            drop(spawn(self.lanes.env(), end));
        }
    }
}
