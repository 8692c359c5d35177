//! What a topic has of a pipeline's epochs, as one committed offset can say it.
//!
//! The offset is the epoch; its metadata says how many chunks of each subtask are there. Chunks of
//! one subtask come in order, those of different subtasks in any, and an epoch begins when the one
//! before it is complete.

use std::collections::BTreeMap;

use weir_engine::message::Epoch;

/// The form of the metadata that this version writes.
const FORM: &str = "weir1 ";

/// A part of an epoch's rows, written in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// The subtask that made it.
    pub(super) subtask: u32,
    /// Its number among the chunks of that subtask and epoch, from 1.
    pub(super) number: u32,
}

/// How far a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    epoch: Epoch,
    /// For each subtask the number of its last chunk.
    chunks: BTreeMap<u32, u32>,
}

impl Marker {
    /// The marker of a topic that has all of an epoch, or of one that has nothing of the next.
    pub(super) fn complete(epoch: Epoch) -> Self {
        Self {
            epoch,
            chunks: BTreeMap::new(),
        }
    }

    /// The epoch that was written last, perhaps not all of it.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the topic has a chunk.
    pub(super) fn has(&self, chunk: Chunk) -> bool {
        let written = self.chunks.get(&chunk.subtask);
        self.epoch > chunk.epoch
            || (self.epoch == chunk.epoch && written.is_some_and(|last| *last >= chunk.number))
    }

    /// The marker after a chunk.
    pub(super) fn with(&self, chunk: Chunk) -> Self {
        let mut chunks = if self.epoch == chunk.epoch {
            self.chunks.clone()
        } else {
            BTreeMap::new()
        };
        chunks.insert(chunk.subtask, chunk.number);
        Self {
            epoch: chunk.epoch,
            chunks,
        }
    }

    /// The offset to commit; an epoch that has no such number is none of a real job.
    pub(super) fn offset(&self) -> i64 {
        i64::try_from(self.epoch.0).unwrap_or(i64::MAX)
    }

    /// The metadata to commit.
    pub(super) fn metadata(&self) -> String {
        let chunks = self
            .chunks
            .iter()
            .map(|(s, number)| format!("{s}:{number}"));
        format!("{FORM}{}", chunks.collect::<Vec<_>>().join(","))
    }

    /// Reads a marker; `None` when the offset is not one of ours.
    pub(super) fn parse(offset: i64, metadata: &str) -> Option<Self> {
        let chunks = metadata.strip_prefix(FORM)?;
        let chunks = chunks.split(',').filter(|chunk| !chunk.is_empty());
        let chunks = chunks.map(|chunk| {
            let (subtask, number) = chunk.split_once(':')?;
            Some((subtask.parse().ok()?, number.parse().ok()?))
        });
        Some(Self {
            epoch: Epoch(u64::try_from(offset).ok()?),
            chunks: chunks.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::limits;

    fn chunk(epoch: u64, subtask: u32, number: u32) -> Chunk {
        Chunk {
            epoch: Epoch(epoch),
            subtask,
            number,
        }
    }

    #[test]
    fn a_chunk_is_there_once_it_is_written_in_any_order_of_subtasks() {
        let begin = Marker::complete(Epoch(3));
        assert!(begin.has(chunk(2, 9, 99)) && !begin.has(chunk(3, 0, 1)));
        let some = begin
            .with(chunk(4, 1, 1))
            .with(chunk(4, 0, 1))
            .with(chunk(4, 1, 2));
        for known in [
            chunk(3, 7, 7),
            chunk(4, 1, 1),
            chunk(4, 1, 2),
            chunk(4, 0, 1),
        ] {
            assert!(some.has(known), "{known:?}");
        }
        for unknown in [
            chunk(4, 1, 3),
            chunk(4, 0, 2),
            chunk(4, 2, 1),
            chunk(5, 1, 1),
        ] {
            assert!(!some.has(unknown), "{unknown:?}");
        }
        let next = some.with(chunk(5, 0, 1));
        assert!(next.has(chunk(4, 2, 1)) && !next.has(chunk(5, 1, 1)));
    }

    #[test]
    fn a_marker_is_read_as_it_is_written_and_fits_a_broker() {
        let mut marker = Marker::complete(Epoch(12));
        for subtask in 0..limits::PARALLELISM_MAX {
            marker = marker.with(chunk(12, subtask, 999_999));
        }
        let text = marker.metadata();
        // `offset.metadata.max.bytes` of a broker, by default.
        assert!(text.len() <= 4_096, "{}", text.len());
        assert_eq!(Marker::parse(marker.offset(), &text), Some(marker));
        let empty = Marker::complete(Epoch(0));
        assert_eq!(Marker::parse(0, &empty.metadata()), Some(empty));
        for foreign in ["", "x", "weir1", "weir1 1", "weir1 a:1", "weir1 1:2,"] {
            let read = Marker::parse(1, foreign);
            assert_eq!(read.is_some(), foreign == "weir1 1:2,", "{foreign:?}");
        }
        assert_eq!(Marker::parse(-1, FORM), None);
    }
}
