//! Encoded bytes on their way from an encoder to a file: cut into chunks of one size, so that
//! nothing is copied twice and all parts of an upload but the last are equal.

use std::io;

use bytes::Bytes;

/// Collects what an encoder writes. Bounded by its reader: the writer ships full chunks after each
/// batch.
#[derive(Debug)]
pub(super) struct Buffer {
    chunk_bytes: usize,
    full: Vec<Bytes>,
    current: Vec<u8>,
    total: u64,
}

impl Buffer {
    /// Makes an empty buffer that cuts at `chunk_bytes`.
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes: chunk_bytes.max(1),
            full: Vec::new(),
            current: Vec::new(),
            total: 0,
        }
    }

    /// Bytes held now.
    pub(super) fn held(&self) -> usize {
        self.full.len() * self.chunk_bytes + self.current.capacity()
    }

    /// Bytes that ever came.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes the chunks that are full.
    pub(super) fn take_full(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.full)
    }

    /// Takes all; the last chunk may be short.
    pub(super) fn take_all(&mut self) -> Vec<Bytes> {
        let mut chunks = self.take_full();
        if !self.current.is_empty() {
            chunks.push(Bytes::from(std::mem::take(&mut self.current)));
        }
        chunks
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.chunk_bytes - self.current.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.current.extend_from_slice(now);
            rest = later;
            if self.current.len() == self.chunk_bytes {
                // A file that filled one chunk fills more: the next is allocated at once.
                let next = Vec::with_capacity(self.chunk_bytes);
                self.full
                    .push(Bytes::from(std::mem::replace(&mut self.current, next)));
            }
        }
        self.total += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
