//! The values of the messages that wait to be decoded, one behind the other.

use std::ops::Range;

/// Bytes of memory that are kept for the next messages; a source has a buffer per partition.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Values in one buffer, each with a newline behind it, so that formats of lines can take many at
/// once. A value that is missing (a tombstone) is a gap in the callers' numbers.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where each ends, its newline not included.
    ends: Vec<usize>,
    /// The caller's number of each.
    index: Vec<u32>,
    longest: usize,
}

impl Messages {
    /// Makes it with room for so many values and bytes.
    pub fn with_room(values: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(values),
            index: Vec::with_capacity(values),
            longest: 0,
        }
    }

    /// Takes a value, with the caller's number of it, which grows.
    pub fn push(&mut self, value: &[u8], index: u32) {
        self.push_parts(&[value], index);
    }

    /// Takes a value that comes in parts.
    pub(super) fn push_parts(&mut self, parts: &[&[u8]], index: u32) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.longest = self.longest.max(self.bytes.len() - start);
        self.ends.push(self.bytes.len());
        self.index.push(index);
        self.bytes.push(b'\n');
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the longest value.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The value of the caller's number, if it has one.
    pub fn of(&self, number: usize) -> Option<&[u8]> {
        let wanted = u32::try_from(number).ok()?;
        // Most often none is missing.
        let position = match self.index.get(number) {
            Some(found) if *found == wanted => number,
            _ => self.index.binary_search(&wanted).ok()?,
        };
        Some(self.get(position))
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The value at a position.
    pub(super) fn get(&self, position: usize) -> &[u8] {
        let span = self.span(position..position + 1);
        span.strip_suffix(b"\n").unwrap_or(span)
    }

    /// The values at some positions, each with its newline.
    pub(super) fn span(&self, range: Range<usize>) -> &[u8] {
        let start = match range.start.checked_sub(1) {
            Some(before) => self
                .ends
                .get(before)
                .map_or(self.bytes.len(), |end| end + 1),
            None => 0,
        };
        let last = range
            .end
            .checked_sub(1)
            .and_then(|last| self.ends.get(last));
        let end = last.map_or(start, |end| end + 1);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The caller's number of the value at a position.
    pub(super) fn index(&self, position: usize) -> u32 {
        self.index.get(position).copied().unwrap_or_default()
    }

    /// Forgets all; the memory stays for the next, up to a bound.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.ends.clear();
        self.index.clear();
        self.longest = 0;
    }
}
