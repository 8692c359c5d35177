//! The bytes of one file, decompressed, from the disk or from an object store ahead of need.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::mpsc;
use weir_engine::Result;
use weir_engine::env::{Env, TaskHandle, Work};

use crate::store::{self, Location};

use super::config::Compression;
use super::inflate::{Inflate, Pulled};
use super::listing::Entry;

/// Bytes read from a disk, or decompressed, at once: a few batches of usual rows.
const CHUNK_BYTES: usize = 512 << 10;
/// Bytes of one request to a store: large enough to hide its latency.
const REQUEST_BYTES: u64 = 4 << 20;
/// Answers of a store that wait to be decoded.
const REQUESTS_AHEAD_MAX: usize = 2;

/// What a fill did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filled {
    /// Bytes were appended.
    Bytes,
    /// The file is read to its end.
    End,
    /// The compressed stream is damaged or cut short here.
    Damaged(String),
}

/// The bytes of one file from an offset on.
#[derive(Debug)]
pub(super) struct Input {
    raw: Raw,
    inflate: Option<Inflate>,
    /// Decompressed bytes that are still to be thrown away: compression cannot be seeked in.
    skip: u64,
    shown: String,
    taken: u64,
    pushed: bool,
}

#[derive(Debug)]
enum Raw {
    Local(File),
    Remote {
        answers: mpsc::Receiver<Result<Bytes>>,
        task: TaskHandle,
    },
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Self::Remote { task, .. } = self {
            task.abort();
        }
    }
}

impl Input {
    /// Opens a file at an offset of its decompressed bytes.
    pub(super) fn open(
        location: &Location,
        entry: &Entry,
        compression: Compression,
        start: u64,
        env: &Env,
    ) -> Result<Self> {
        let fail = |error| store::io_error(error, &entry.shown);
        let inflate = Inflate::new(compression).map_err(fail)?;
        let (seek, skip) = if inflate.is_some() {
            (0, start)
        } else {
            (start, 0)
        };
        let raw = if location.local_root.is_some() {
            let mut file = open_local(entry)?;
            if seek > 0 {
                file.seek(SeekFrom::Start(seek)).map_err(fail)?;
            }
            Raw::Local(file)
        } else {
            fetch(location, entry, seek, env)?
        };
        Ok(Self {
            raw,
            inflate,
            skip,
            shown: entry.shown.clone(),
            taken: 0,
            pushed: false,
        })
    }

    /// Appends the next bytes. Cancel-safe: nothing is taken before the only wait is over.
    pub(super) async fn fill(&mut self, out: &mut Vec<u8>) -> Result<Filled> {
        loop {
            let start = out.len();
            if let Some(inflate) = &mut self.inflate {
                match inflate.pull(out, CHUNK_BYTES) {
                    Ok(Pulled::Bytes) => {}
                    Ok(Pulled::End) => return Ok(Filled::End),
                    Ok(Pulled::NeedsInput) => {
                        match self.raw.next(&self.shown).await? {
                            Some(chunk) => {
                                self.taken += chunk.len() as u64;
                                self.pushed = true;
                                inflate.push(chunk);
                            }
                            // A file without any byte is empty, not cut short.
                            None if !self.pushed => return Ok(Filled::End),
                            None => inflate.close(),
                        }
                        continue;
                    }
                    Err(error) => return Ok(Filled::Damaged(damage(&error))),
                }
            } else {
                let count = self.raw.append(out, &self.shown).await?;
                self.taken += count as u64;
                if count == 0 {
                    return Ok(Filled::End);
                }
            }
            let fresh = out.len() - start;
            let dropped = fresh.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            out.drain(start..start + dropped);
            self.skip -= dropped as u64;
            if out.len() > start {
                return Ok(Filled::Bytes);
            }
        }
    }

    /// Gives the bytes taken from the disk or store since the last call.
    pub(super) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }
}

/// Opens a local file.
pub(super) fn open_local(entry: &Entry) -> Result<File> {
    let path = std::path::Path::new("/").join(&entry.key);
    File::open(path).map_err(|error| store::io_error(error, &entry.shown))
}

fn damage(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "the compressed file ends in the middle".to_owned(),
        _ => format!("the compressed data is damaged: {error}"),
    }
}

impl Raw {
    async fn next(&mut self, shown: &str) -> Result<Option<Bytes>> {
        match self {
            Self::Local(file) => {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let count = read_local(file, &mut chunk, shown)?;
                Ok((count > 0).then(|| Bytes::from(chunk)))
            }
            Self::Remote { answers, .. } => answers.recv().await.transpose(),
        }
    }

    async fn append(&mut self, out: &mut Vec<u8>, shown: &str) -> Result<usize> {
        match self {
            Self::Local(file) => read_local(file, out, shown),
            Self::Remote { answers, .. } => {
                let Some(chunk) = answers.recv().await.transpose()? else {
                    return Ok(0);
                };
                out.extend_from_slice(&chunk);
                Ok(chunk.len())
            }
        }
    }
}

fn read_local(file: &mut File, out: &mut Vec<u8>, shown: &str) -> Result<usize> {
    let read = file.take(CHUNK_BYTES as u64).read_to_end(out);
    read.map_err(|error| store::io_error(error, shown))
}

/// Asks for the ranges of an object one after the other on an I/O task, a few ahead of need.
fn fetch(location: &Location, entry: &Entry, start: u64, env: &Env) -> Result<Raw> {
    let (give, answers) = mpsc::channel(REQUESTS_AHEAD_MAX);
    let store = Arc::clone(&location.store);
    let path = key(entry)?;
    let (size, shown) = (entry.size, entry.shown.clone());
    let task = env.spawn(Work::Io, async move {
        let mut at = start;
        while at < size {
            let end = size.min(at + REQUEST_BYTES);
            let answer = store.get_range(&path, at..end).await;
            let answer = answer.map_err(|error| store::error(error, &shown));
            let failed = answer.is_err();
            if give.send(answer).await.is_err() || failed {
                return;
            }
            at = end;
        }
    });
    Ok(Raw::Remote { answers, task })
}

/// The key of a file in its store.
pub(super) fn key(entry: &Entry) -> Result<Path> {
    Path::parse(&entry.key)
        .map_err(|error| store::error(object_store::Error::from(error), &entry.shown))
}
