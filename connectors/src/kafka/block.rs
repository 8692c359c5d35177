//! Records of one partition as they come from the client, beside each other in memory.

use std::ops::Range;

use weir_kafka_queue::{Record as Fetched, Timestamp};

use crate::format::{Messages, Record};

/// What of a record is kept beside its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The key.
    pub(super) key: bool,
    /// Time and kind of time.
    pub(super) timestamp: bool,
    /// The headers.
    pub(super) headers: bool,
}

/// A header: its name, and its value if it has one.
pub(super) type Header = (String, Option<Vec<u8>>);

/// Some records of one partition, in order.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The values there are, each by the number of its record.
    values: Messages,
    /// Bytes of all keys, and where in them that of a record is.
    key_bytes: Vec<u8>,
    keys: Vec<Option<Range<usize>>>,
    offsets: Vec<i64>,
    times: Vec<Timestamp>,
    headers: Vec<Vec<Header>>,
}

impl Block {
    /// Makes a block with room for as many records and bytes as the last one had.
    pub(super) fn with_room(records: usize, bytes: usize) -> Self {
        Self {
            values: Messages::with_room(records, bytes),
            offsets: Vec::with_capacity(records),
            ..Self::default()
        }
    }

    /// Copies a record.
    pub(super) fn push(&mut self, record: &Fetched<'_>, wanted: Wanted) {
        if let Some(value) = record.value() {
            let number = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
            self.values.push(value, number);
        }
        self.offsets.push(record.offset());
        if wanted.key {
            let key = record.key().map(|key| {
                let start = self.key_bytes.len();
                self.key_bytes.extend_from_slice(key);
                start..self.key_bytes.len()
            });
            self.keys.push(key);
        }
        if wanted.timestamp {
            self.times.push(record.timestamp());
        }
        if wanted.headers {
            let headers = record.headers().map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                (name, value.map(<[u8]>::to_vec))
            });
            self.headers.push(headers.collect());
        }
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes() + self.key_bytes.len()
    }

    /// The values, for a decoder that takes all at once.
    pub(super) fn values(&mut self) -> &mut Messages {
        &mut self.values
    }

    /// The record at an index, for a decoder that takes one after the other.
    pub(super) fn record(&self, index: usize) -> Record<'_> {
        Record {
            key: self.key(index),
            value: self.values.of(index),
        }
    }

    /// The key of a record, if keys are kept.
    pub(super) fn key(&self, index: usize) -> Option<&[u8]> {
        let range = self.keys.get(index)?.clone();
        range.and_then(|range| self.key_bytes.get(range))
    }

    /// The offset of a record.
    pub(super) fn offset(&self, index: usize) -> Option<i64> {
        self.offsets.get(index).copied()
    }

    /// The time of a record, if times are kept.
    pub(super) fn time(&self, index: usize) -> Timestamp {
        self.times.get(index).copied().unwrap_or(Timestamp::None)
    }

    /// The headers of a record, if headers are kept.
    pub(super) fn headers(&self, index: usize) -> &[Header] {
        self.headers.get(index).map_or(&[], Vec::as_slice)
    }

    /// The offset after the last record.
    pub(super) fn next(&self) -> Option<i64> {
        self.offsets.last().map(|last| last.saturating_add(1))
    }
}
