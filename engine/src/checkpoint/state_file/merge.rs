//! Makes one state file of several: their frames one after the other, as they are. Replaying the
//! merged file is replaying the files in order.

use std::collections::VecDeque;
use std::fmt;
use std::io::Read as _;

use bytes::Bytes;

use super::decode::{Content, Source, open, verify};
use super::encode::Writer;
use super::{FOOT_BYTES, HEAD_BYTES, Pieces, Summary, corrupt};
use crate::error::Result;

/// Bytes copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Copies the frames of files into a new one. A file is verified before its first frame is
/// copied.
pub struct Merger {
    files: VecDeque<(Content, Summary)>,
    current: Option<(Box<dyn Source>, u64)>,
    out: Writer,
}

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merger").field("out", &self.out).finish()
    }
}

impl Merger {
    /// Takes the files in order, with what the manifest says of them.
    pub fn new(files: Vec<(Content, Summary)>) -> Self {
        Self {
            files: files.into(),
            current: None,
            out: Writer::default(),
        }
    }

    fn copy(&mut self) -> Result<()> {
        let Some((source, left)) = &mut self.current else {
            return Ok(());
        };
        let mut buffer = vec![0; COPY_BYTES];
        let want = usize::try_from(*left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let part = buffer.get_mut(..want).unwrap_or_default();
        source
            .read_exact(part)
            .map_err(|error| corrupt("it changed while it was read").caused_by(error))?;
        self.out.put(part);
        *left -= part.len() as u64;
        if *left == 0 {
            self.current = None;
        }
        Ok(())
    }
}

impl Pieces for Merger {
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>> {
        while self.out.pending_bytes() < bytes && !self.out.is_finished() {
            if self.current.is_some() {
                self.copy()?;
            } else if let Some((content, expected)) = self.files.pop_front() {
                let mut source = open(content);
                let counts = verify(&mut *source, expected)?;
                self.out.count(counts.rows, counts.frames);
                self.current = Some((source, expected.bytes - HEAD_BYTES - FOOT_BYTES));
            } else if !self.out.finish() {
                break;
            }
        }
        Ok(self.out.take(bytes))
    }

    fn summary(&self) -> Option<Summary> {
        self.out.summary()
    }
}
