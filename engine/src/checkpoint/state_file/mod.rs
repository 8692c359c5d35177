//! The container of state: Arrow IPC streams with zstd bodies, in frames, behind one checksum.
//!
//! ```text
//! "WEIRSTAT"  version u32  reserved u32                            head
//! [ kind u8  length u64  bytes ]*                                  frames
//! rows u64  frames u64  xxh3-64 of all before u64  "TATSRIEW"      foot
//! ```
//!
//! A frame of kind 1 begins an IPC stream (its schema, then a batch), one of kind 2 goes on with
//! it; a stream is begun whenever the schema or its metadata changes. Frames stand for
//! themselves, so files are merged by copying them. Nothing is given out before the checksum of
//! the whole file is known to be right: damage is an error ([`codes::CHECKPOINT_CORRUPT`]), never
//! a wrong row. The checksum detects damage, not forgery: who can write to the store can change
//! the results anyway.

use bytes::Bytes;

use crate::error::{Error, Kind, Result, codes};

mod decode;
mod encode;
mod merge;
#[cfg(test)]
mod tests;

pub use decode::{Content, decode};
pub use encode::Encoder;
pub use merge::Merger;

/// The first bytes.
const MAGIC: &[u8; 8] = b"WEIRSTAT";
/// The last bytes.
const END: &[u8; 8] = b"TATSRIEW";
/// The version that is written.
const VERSION: u32 = 1;
/// Bytes before the first frame.
const HEAD_BYTES: u64 = 16;
/// Bytes after the last frame.
const FOOT_BYTES: u64 = 32;
/// Bytes before a frame's own.
const FRAME_HEAD_BYTES: usize = 9;

/// A frame that begins a stream.
const BEGINS: u8 = 1;
/// A frame that goes on with the stream.
const GOES_ON: u8 = 2;

/// What a finished file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its checksum.
    pub checksum: u64,
}

/// A file that is made piece by piece, on a thread that may block.
pub trait Pieces: Send + 'static {
    /// Gives the next piece, of exactly so many bytes unless it is the last; `None` after it.
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>>;

    /// What was written; `None` before the last piece was given, or when there is no file.
    fn summary(&self) -> Option<Summary>;
}

/// The last bytes of a file, but for the checksum and the magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    rows: u64,
    frames: u64,
}

fn head() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend(0_u32.to_le_bytes());
    head
}

fn corrupt(detail: impl Into<String>) -> Error {
    Error::new(
        Kind::Data,
        codes::CHECKPOINT_CORRUPT,
        "a checkpoint's state file is damaged",
    )
    .detail(detail)
}
