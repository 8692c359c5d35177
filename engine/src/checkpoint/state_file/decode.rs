//! Reads state files: first the checksum of the whole file, then batch by batch.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::hash::Hasher as _;
use std::io::{Cursor, Read, Seek, SeekFrom};

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::{
    BEGINS, Counts, END, FOOT_BYTES, FRAME_HEAD_BYTES, GOES_ON, HEAD_BYTES, Summary, VERSION,
    corrupt, head,
};
use crate::error::{Error, Kind, Result, codes};
use crate::operator::StateBatches;

/// Bytes read at once to compute a checksum.
const READ_BYTES: usize = 256 << 10;

/// Where the bytes of a file are.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file that is read from its start.
    File(File),
}

/// Anything that can be read twice.
pub(super) trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// Checks the whole file, against what the manifest says of it, and gives its batches lazily.
pub fn decode(content: Content, expected: Summary) -> Result<StateBatches> {
    let mut source = open(content);
    let counts = verify(&mut *source, expected)?;
    let left = expected.bytes - HEAD_BYTES - FOOT_BYTES;
    Ok(Box::new(Batches {
        source,
        left,
        counts,
        decoder: None,
        ready: VecDeque::new(),
        done: false,
    }))
}

pub(super) fn open(content: Content) -> Box<dyn Source> {
    match content {
        Content::Memory(bytes) => Box::new(Cursor::new(bytes)),
        Content::File(file) => Box::new(file),
    }
}

/// Reads all and compares every claim; afterwards the source stands at the first frame.
pub(super) fn verify(source: &mut dyn Source, expected: Summary) -> Result<Counts> {
    let bytes = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
    if bytes != expected.bytes {
        return Err(corrupt(format!(
            "it has {bytes} bytes, its manifest says {}",
            expected.bytes
        )));
    }
    if bytes < HEAD_BYTES + FOOT_BYTES {
        return Err(corrupt("it is shorter than an empty one"));
    }
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut first = [0; HEAD_BYTES as usize];
    source.read_exact(&mut first).map_err(unreadable)?;
    let mut hasher = XxHash3_64::with_seed(0);
    hasher.write(&first);
    let mut buffer = vec![0; READ_BYTES];
    let mut left = bytes - HEAD_BYTES - FOOT_BYTES;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let part = buffer.get_mut(..want).unwrap_or_default();
        source.read_exact(part).map_err(unreadable)?;
        hasher.write(part);
        left -= part.len() as u64;
    }
    let mut foot = [[0; 8]; 4];
    for word in &mut foot {
        source.read_exact(word).map_err(unreadable)?;
    }
    let [rows, frames, checksum, end] = foot;
    hasher.write(&rows);
    hasher.write(&frames);
    let sum = hasher.finish();
    let rows = u64::from_le_bytes(rows);
    if sum != u64::from_le_bytes(checksum) || sum != expected.checksum || end != *END {
        return Err(corrupt("its checksum is not that of its content"));
    }
    if rows != expected.rows {
        return Err(corrupt(
            "it has another number of rows than its manifest says",
        ));
    }
    check_version(&first)?;
    source
        .seek(SeekFrom::Start(HEAD_BYTES))
        .map_err(unreadable)?;
    Ok(Counts {
        rows,
        frames: u64::from_le_bytes(frames),
    })
}

fn check_version(first: &[u8]) -> Result<()> {
    let own = head();
    if first == own {
        return Ok(());
    }
    if first.get(..8) != own.get(..8) {
        return Err(corrupt("it is not a state file"));
    }
    Err(Error::new(
        Kind::Invalid,
        codes::CHECKPOINT_FORMAT,
        format!("a state file has a newer format than this version's {VERSION}"),
    )
    .hint("run the pipeline with the version of Weir that wrote it, or a newer one"))
}

fn unreadable(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => corrupt("it ends before its end"),
        _ => Error::new(
            Kind::Unavailable,
            codes::UNAVAILABLE,
            "a checkpoint's state file cannot be read",
        )
        .caused_by(error),
    }
}

struct Batches {
    source: Box<dyn Source>,
    /// Bytes of frames that are not read yet.
    left: u64,
    /// Rows and frames that are still to come.
    counts: Counts,
    decoder: Option<StreamDecoder>,
    ready: VecDeque<RecordBatch>,
    done: bool,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            if self.done {
                return None;
            }
            let step = if self.left == 0 {
                self.done = true;
                self.finish()
            } else {
                self.frame()
            };
            if let Err(error) = step {
                self.done = true;
                self.ready.clear();
                return Some(Err(error));
            }
        }
    }
}

impl Batches {
    fn frame(&mut self) -> Result<()> {
        let mut frame_head = [0; FRAME_HEAD_BYTES];
        let (kind, length) = read_frame_head(&mut *self.source, &mut frame_head, &mut self.left)?;
        self.counts.frames = less(self.counts.frames, 1)?;
        let mut bytes = vec![0; length];
        self.source.read_exact(&mut bytes).map_err(unreadable)?;
        if kind == BEGINS {
            self.end_stream()?;
            self.decoder = Some(StreamDecoder::new());
        }
        let decoder = self
            .decoder
            .as_mut()
            .ok_or_else(|| corrupt("a stream goes on that has not begun"))?;
        let mut buffer = Buffer::from_vec(bytes);
        let not_ipc = |error: ArrowError| corrupt("its content is not Arrow IPC").caused_by(error);
        while !buffer.is_empty() {
            if let Some(batch) = decoder.decode(&mut buffer).map_err(not_ipc)? {
                self.counts.rows = less(self.counts.rows, batch.num_rows() as u64)?;
                self.ready.push_back(batch);
            }
        }
        Ok(())
    }

    fn end_stream(&mut self) -> Result<()> {
        match self.decoder.take() {
            Some(mut decoder) => decoder
                .finish()
                .map_err(|error| corrupt("a stream ends before its end").caused_by(error)),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.end_stream()?;
        if self.counts != (Counts { rows: 0, frames: 0 }) {
            return Err(corrupt("it has fewer rows than it says"));
        }
        Ok(())
    }
}

/// Reads what is before a frame's bytes; the frame must fit in what is left.
fn read_frame_head(
    source: &mut dyn Source,
    frame_head: &mut [u8; FRAME_HEAD_BYTES],
    left: &mut u64,
) -> Result<(u8, usize)> {
    *left = less(*left, FRAME_HEAD_BYTES as u64)?;
    source.read_exact(frame_head).map_err(unreadable)?;
    let [kind, length @ ..] = *frame_head;
    let length = u64::from_le_bytes(length);
    *left = less(*left, length)?;
    if kind != BEGINS && kind != GOES_ON {
        return Err(corrupt("it has a frame of an unknown kind"));
    }
    let length = usize::try_from(length).map_err(|_| corrupt("a frame is too large"))?;
    Ok((kind, length))
}

fn less(from: u64, by: u64) -> Result<u64> {
    from.checked_sub(by)
        .ok_or_else(|| corrupt("its frames do not add up"))
}
