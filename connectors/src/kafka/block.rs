//! Records of one partition as they come from the client, beside each other in memory.

use std::ops::Range;

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::format::Record;

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

/// When a record was written, and by whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// The record has none.
    None,
    /// Milliseconds since 1970 by the producer's clock.
    Created(i64),
    /// Milliseconds since 1970 by the broker's clock.
    Appended(i64),
}

/// A header: its name, and its value if it has one.
pub(super) type Header = (String, Option<Vec<u8>>);

/// Some records of one partition, in order.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    values: Vec<Option<Range<usize>>>,
    keys: Vec<Option<Range<usize>>>,
    offsets: Vec<i64>,
    times: Vec<Time>,
    headers: Vec<Vec<Header>>,
}

impl Block {
    /// Makes a block with room for as many records and bytes as the last one had.
    pub(super) fn with_room(records: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            values: Vec::with_capacity(records),
            offsets: Vec::with_capacity(records),
            ..Self::default()
        }
    }

    /// Copies a record.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>, wanted: Wanted) {
        let value = self.copy(message.payload());
        self.values.push(value);
        self.offsets.push(message.offset());
        if wanted.key {
            let key = self.copy(message.key());
            self.keys.push(key);
        }
        if wanted.timestamp {
            self.times.push(match message.timestamp() {
                Timestamp::NotAvailable => Time::None,
                Timestamp::CreateTime(time) => Time::Created(time),
                Timestamp::LogAppendTime(time) => Time::Appended(time),
            });
        }
        if wanted.headers {
            let headers = message.headers().into_iter().flat_map(|h| h.iter());
            let headers = headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
            self.headers.push(headers.collect());
        }
    }

    fn copy(&mut self, bytes: Option<&[u8]>) -> Option<Range<usize>> {
        let bytes = bytes?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Some(start..self.bytes.len())
    }

    fn slice(&self, range: Option<&Option<Range<usize>>>) -> Option<&[u8]> {
        range
            .and_then(Option::as_ref)
            .and_then(|range| self.bytes.get(range.clone()))
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
        self.bytes.len()
    }

    /// The record at an index, for the decoder.
    pub(super) fn record(&self, index: usize) -> Record<'_> {
        Record {
            key: self.key(index),
            value: self.slice(self.values.get(index)),
        }
    }

    /// The key of a record, if keys are kept.
    pub(super) fn key(&self, index: usize) -> Option<&[u8]> {
        self.slice(self.keys.get(index))
    }

    /// The offset of a record.
    pub(super) fn offset(&self, index: usize) -> Option<i64> {
        self.offsets.get(index).copied()
    }

    /// The time of a record, if times are kept.
    pub(super) fn time(&self, index: usize) -> Time {
        self.times.get(index).copied().unwrap_or(Time::None)
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
