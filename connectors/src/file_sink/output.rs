//! One file on its way out, wherever it goes.

use std::sync::Arc;

use bytes::Bytes;
use weir_engine::error::Result;
use weir_engine::sink::CommitToken;

use super::local::LocalFile;
use super::place::Place;
use super::transfer::Lanes;
use super::upload::Upload;

/// Takes the bytes of one file.
#[derive(Debug)]
pub(super) enum Output {
    /// A file on the local disk.
    Local(LocalFile),
    /// An upload to an object store.
    Upload(Upload),
}

impl Output {
    /// Begins a file; nothing is written before the first chunk.
    pub(super) fn new(place: &Place, lanes: &Lanes, folder: &str, name: &str) -> Self {
        let lanes = lanes.clone();
        match place {
            Place::Local(place) => {
                Self::Local(LocalFile::new(Arc::clone(place), lanes, folder, name))
            }
            Place::Object(place) => {
                Self::Upload(Upload::new(Arc::clone(place), lanes, folder, name))
            }
        }
    }

    /// Whether chunks of any size may be sent; parts of an upload have a least size.
    pub(super) fn takes_any_size(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Sends chunks; waits only when too much is on its way.
    pub(super) async fn send(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        match self {
            Self::Local(file) => file.send(chunks).await,
            Self::Upload(upload) => upload.send(chunks).await,
        }
    }

    /// Sends the last chunks and makes the file durable.
    pub(super) async fn finish(self, rest: Vec<Bytes>, rows: u64) -> Result<CommitToken> {
        let (finished, bytes) = match self {
            Self::Local(file) => file.finish(rest).await?,
            Self::Upload(upload) => upload.finish(rest).await?,
        };
        finished.token(rows, bytes)
    }

    /// Throws the file away.
    pub(super) async fn abort(self) -> Result<()> {
        match self {
            Self::Local(file) => file.abort().await,
            Self::Upload(upload) => upload.abort().await,
        }
    }
}

/// A node's id as a part of a file name. Ids that had to be changed are told apart by a hash.
pub(super) fn plain(node: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut name: String = node
        .chars()
        .map(|c| if keep(c) { c } else { '_' })
        .collect();
    if name != node {
        let hash = node.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        name.push_str(&format!("-{hash:08x}"));
    }
    name
}
