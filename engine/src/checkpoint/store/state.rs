//! State files in the store: written piece by piece, read from memory or from a file on disk.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetResult, GetResultPayload, MultipartUpload, ObjectStoreExt as _,
    PutPayload,
};

use super::failure::told;
use super::io::Attempts;
use super::{Store, missing, state_path};
use crate::checkpoint::manifest::{Manifest, StateFile};
use crate::checkpoint::state_file::{Content, Encoder, Merger, Pieces, Summary, decode};
use crate::error::{Error, Kind, Result, codes};
use crate::limits;
use crate::operator::StateBatches;

/// Bytes of a part of an upload. Stores want 5 MiB at least and all the same; two per writer are
/// in memory, of [`UPLOADS_MAX`] writers.
const PART_BYTES: usize = 8 << 20;
/// Bytes of a part of a local file, which is enough to hide the cost of a call; and bytes up to
/// which a file is written in one call.
const SMALL_BYTES: usize = 1 << 20;
/// Uploads in parts to one store at once.
pub(super) const UPLOADS_MAX: usize = 2;
/// Bytes of a file that is read into memory; a larger one that is not on a local disk goes through
/// a temporary file. A chain holds few files below it, so that restoring needs no memory in
/// proportion to the state.
const IN_MEMORY_BYTES_MAX: u64 = 1 << 20;
/// Bytes collected before they are written to a temporary file.
const SPOOL_BYTES: usize = 1 << 20;

impl Store {
    /// Writes what an operator gave. No batch at all gives no file. The file is durable when this
    /// returns, and nothing shows it until a manifest names it. `number` tells the files of one
    /// subtask and epoch apart, those of [`Store::merge`] included.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one name")]
    pub async fn write_state(
        &self,
        generation: u64,
        epoch: u64,
        node: &str,
        subtask: u32,
        number: u32,
        full: bool,
        batches: StateBatches,
    ) -> Result<Option<StateFile>> {
        let path = state_path(generation, epoch, node, subtask, number);
        let written = self.upload(&path, Encoder::new(batches)).await?;
        Ok(written.map(|summary| StateFile {
            path,
            epoch,
            bytes: summary.bytes,
            rows: summary.rows,
            checksum: summary.checksum,
            full,
        }))
    }

    /// Checks a whole file, then gives its batches lazily.
    pub async fn read_state(&self, file: &StateFile) -> Result<StateBatches> {
        let content = self.content(file).await?;
        let expected = summary_of(file);
        let path = file.path.clone();
        self.env
            .blocking(move || decode(content, expected))
            .await?
            .map_err(|error| match error.detail_text() {
                Some(detail) => {
                    let detail = format!("{path}: {detail}");
                    error.detail(detail)
                }
                None => error.detail(path),
            })
    }

    /// Writes one file that replays as these do in their order; they stay.
    pub async fn merge(
        &self,
        generation: u64,
        epoch: u64,
        node: &str,
        subtask: u32,
        number: u32,
        files: &[StateFile],
    ) -> Result<Option<StateFile>> {
        let mut contents = Vec::with_capacity(files.len());
        for file in files {
            contents.push((self.content(file).await?, summary_of(file)));
        }
        let path = state_path(generation, epoch, node, subtask, number);
        let written = self.upload(&path, Merger::new(contents)).await?;
        Ok(written.map(|summary| StateFile {
            path,
            epoch,
            bytes: summary.bytes,
            rows: summary.rows,
            checksum: summary.checksum,
            full: files.first().is_some_and(|file| file.full),
        }))
    }

    /// Reads every file that a manifest names and checks its checksum.
    pub async fn verify(&self, manifest: &Manifest) -> Result<()> {
        let files: Vec<StateFile> = manifest.files().cloned().collect();
        futures::stream::iter(files)
            .map(|file| async move { self.read_state(&file).await.map(drop) })
            .buffer_unordered(limits::STATE_WRITES_MAX)
            .try_collect::<()>()
            .await
    }

    fn part_bytes(&self) -> usize {
        if self.local_root.is_some() {
            SMALL_BYTES
        } else {
            PART_BYTES
        }
    }

    async fn upload<P: Pieces>(&self, path: &str, pieces: P) -> Result<Option<Summary>> {
        let place = self.place(path);
        let (mut pieces, first) = self.piece(pieces, SMALL_BYTES).await?;
        let Some(mut first) = first else {
            return Ok(None);
        };
        if let Some(summary) = pieces.summary() {
            self.put(&place, &first).await?;
            return Ok(Some(summary));
        }
        let mut permit = None;
        if self.part_bytes() > SMALL_BYTES {
            let free = self.uploads.acquire().await;
            permit = Some(free.map_err(|_| Error::internal("the uploads of a store are closed"))?);
            let (same, rest) = self.piece(pieces, self.part_bytes() - SMALL_BYTES).await?;
            pieces = same;
            first = [first, rest.unwrap_or_default()].concat().into();
        }
        let uploaded = self.upload_parts(&place, pieces, first).await;
        drop(permit);
        uploaded.map(Some)
    }

    async fn upload_parts<P: Pieces>(
        &self,
        place: &Path,
        pieces: P,
        first: Bytes,
    ) -> Result<Summary> {
        let mut upload = self
            .retry("began an upload", || self.inner.put_multipart(place))
            .await?;
        match self.parts(&mut *upload, place, pieces, first).await {
            Ok(summary) => {
                self.sync(place).await?;
                Ok(summary)
            }
            Err(error) => {
                // What cannot be aborted now is removed by the store's own rules for uploads.
                drop(upload.abort().await);
                Err(error)
            }
        }
    }

    /// Uploads a part while the next one is made.
    async fn parts<P: Pieces>(
        &self,
        upload: &mut dyn MultipartUpload,
        place: &Path,
        mut pieces: P,
        first: Bytes,
    ) -> Result<Summary> {
        let mut part = Some(first);
        while let Some(bytes) = part {
            let sent = upload.put_part(PutPayload::from(bytes));
            let (sent, made) = futures::join!(sent, self.piece(pieces, self.part_bytes()));
            sent.map_err(|error| told(error, "wrote state"))?;
            (pieces, part) = made?;
        }
        let summary = pieces
            .summary()
            .ok_or_else(|| Error::internal("a state file ended before its end"))?;
        match upload.complete().await {
            Ok(_) => Ok(summary),
            // The answer may have been lost; the place is ours alone.
            Err(error) => match self.inner.head(place).await {
                Ok(meta) if meta.size == summary.bytes => Ok(summary),
                _ => Err(told(error, "wrote state")),
            },
        }
    }

    async fn piece<P: Pieces>(&self, mut pieces: P, bytes: usize) -> Result<(P, Option<Bytes>)> {
        self.env
            .blocking(move || {
                let piece = pieces.next(bytes)?;
                Ok((pieces, piece))
            })
            .await?
    }

    async fn content(&self, file: &StateFile) -> Result<Content> {
        let place = self.place(&file.path);
        let mut attempts = Attempts::new(self);
        loop {
            let failure = match self.inner.get(&place).await {
                Ok(found) if found.meta.size != file.bytes => {
                    return Err(Error::new(
                        Kind::Data,
                        codes::CHECKPOINT_CORRUPT,
                        "a state file has another size than its manifest says",
                    )
                    .detail(file.path.clone()));
                }
                Ok(found) => match self.receive(found).await {
                    Ok(content) => return Ok(content),
                    Err(error) => error,
                },
                Err(StoreError::NotFound { .. }) => return Err(missing(file)),
                Err(error) => told(error, "read state"),
            };
            if failure.kind() != Kind::Unavailable || !attempts.again().await {
                return Err(failure);
            }
        }
    }

    async fn receive(&self, found: GetResult) -> Result<Content> {
        if let GetResultPayload::File(file, _) = found.payload {
            return Ok(Content::File(file));
        }
        if found.meta.size <= IN_MEMORY_BYTES_MAX {
            let bytes = found.bytes().await;
            return bytes
                .map(Content::Memory)
                .map_err(|error| told(error, "read state"));
        }
        let id = self.env.next_id();
        let mut file = self
            .env
            .blocking(move || temporary(&id))
            .await?
            .map_err(no_spool)?;
        let mut stream = found.into_stream();
        let mut waiting = BytesMut::new();
        loop {
            let chunk = stream.try_next().await;
            let chunk = chunk.map_err(|error| told(error, "read state"))?;
            if let Some(bytes) = &chunk {
                waiting.extend_from_slice(bytes);
            }
            if chunk.is_none() || waiting.len() >= SPOOL_BYTES {
                let part = waiting.split().freeze();
                let written = self.env.blocking(move || {
                    file.write_all(&part)?;
                    Ok(file)
                });
                file = written.await?.map_err(no_spool)?;
            }
            if chunk.is_none() {
                break;
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(no_spool)?;
        Ok(Content::File(file))
    }
}

fn summary_of(file: &StateFile) -> Summary {
    Summary {
        bytes: file.bytes,
        rows: file.rows,
        checksum: file.checksum,
    }
}

/// Opens a file that has no name any more, so that it is gone however the process ends.
fn temporary(id: &str) -> std::io::Result<File> {
    let name = format!("weir-state-{}-{id}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn no_spool(error: std::io::Error) -> Error {
    Error::new(
        Kind::Limit,
        codes::DISK,
        "state cannot be read through a temporary file",
    )
    .hint("free some room where TMPDIR is")
    .caused_by(error)
}
