//! Decompresses gzip and zstd from chunks as they come, without a thread and in bounded memory.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::config::Compression;

/// What a pull gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulled {
    /// Some bytes were appended.
    Bytes,
    /// The chunk is used up: another is needed, or the end.
    NeedsInput,
    /// The compressed stream is complete.
    End,
}

/// A decompressor that is pushed chunks.
pub(super) struct Inflate {
    codec: Codec,
    /// Damage that was met after some bytes: told once they are given.
    damage: Option<io::Error>,
}

enum Codec {
    Gzip(Box<MultiGzDecoder<Feed>>),
    Zstd(ZstdDecoder<'static, Feed>),
}

/// The chunk at hand. Both decoders keep their state when it says that more must come.
#[derive(Debug, Default)]
struct Feed {
    chunk: Bytes,
    closed: bool,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.codec {
            Codec::Gzip(_) => "Inflate(gzip)",
            Codec::Zstd(_) => "Inflate(zstd)",
        })
    }
}

impl Inflate {
    /// Makes a decompressor; `None` when there is nothing to decompress.
    pub(super) fn new(compression: Compression) -> io::Result<Option<Self>> {
        let codec = match compression {
            Compression::None => return Ok(None),
            Compression::Gzip => Codec::Gzip(Box::new(MultiGzDecoder::new(Feed::default()))),
            Compression::Zstd => Codec::Zstd(ZstdDecoder::with_buffer(Feed::default())?),
        };
        Ok(Some(Self {
            codec,
            damage: None,
        }))
    }

    /// Gives the next chunk. The last must be used up.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.feed().chunk = chunk;
    }

    /// Says that no chunk follows.
    pub(super) fn close(&mut self) {
        self.feed().closed = true;
    }

    /// Appends at most `max` bytes; an error means that the stream is damaged or cut short.
    pub(super) fn pull(&mut self, out: &mut Vec<u8>, max: usize) -> io::Result<Pulled> {
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        let start = out.len();
        out.resize(start + max, 0);
        let mut filled = start;
        let result = loop {
            let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) else {
                break Ok(Pulled::Bytes);
            };
            let read = match &mut self.codec {
                Codec::Gzip(gzip) => gzip.read(room),
                Codec::Zstd(zstd) => zstd.read(room),
            };
            match read {
                Ok(0) => break Ok(Pulled::End),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    break Ok(Pulled::NeedsInput);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        out.truncate(filled);
        match result {
            // What came before is given first; the next pull tells it again.
            Ok(_) if filled > start => Ok(Pulled::Bytes),
            Err(error) if filled > start => {
                self.damage = Some(error);
                Ok(Pulled::Bytes)
            }
            other => other,
        }
    }

    fn feed(&mut self) -> &mut Feed {
        match &mut self.codec {
            Codec::Gzip(gzip) => gzip.get_mut(),
            Codec::Zstd(zstd) => zstd.get_mut(),
        }
    }
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && !self.closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count.min(self.chunk.len()));
    }
}
