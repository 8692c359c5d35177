//! How state becomes bytes and bytes become state: little-endian fields in a fixed order.
//!
//! There is no schema in the bytes; [`crate::Model::restore`] compares a version and the configuration
//! first. Reading checks every length against what is left and against the bound that the reader of
//! the state holds itself to, so that damaged bytes are an error and never a panic or a huge allocation.

use crate::error::{Error, Result};

/// Collects the bytes of a state.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// The bytes so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds a byte.
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Adds a flag.
    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Adds a number of 2 bytes.
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a number of 4 bytes.
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a number of 8 bytes.
    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a signed number of 8 bytes.
    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a float of 4 bytes, bit by bit: NaN stays the NaN that it was.
    pub(crate) fn f32(&mut self, value: f32) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a float of 8 bytes, bit by bit.
    pub(crate) fn f64(&mut self, value: f64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Adds a list of floats with its length.
    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.length(values.len());
        values.iter().for_each(|value| self.f32(*value));
    }

    /// Adds a list of floats with its length.
    pub(crate) fn f64s(&mut self, values: &[f64]) {
        self.length(values.len());
        values.iter().for_each(|value| self.f64(*value));
    }

    /// Adds a list of numbers with its length.
    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.length(values.len());
        values.iter().for_each(|value| self.u32(*value));
    }

    /// Adds bytes with their length.
    pub(crate) fn bytes(&mut self, values: &[u8]) {
        self.length(values.len());
        self.bytes.extend(values);
    }

    /// Adds a length or a place in a list; both are far below 2^32 in a bounded state.
    pub(crate) fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }
}

/// Takes a state from its bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether all bytes were read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// Takes a byte.
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Takes a flag.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    /// Takes a number of 2 bytes.
    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// Takes a number of 4 bytes.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// Takes a number of 8 bytes.
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// Takes a signed number of 8 bytes.
    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.take().map(i64::from_le_bytes)
    }

    /// Takes a float of 4 bytes.
    pub(crate) fn f32(&mut self) -> Result<f32> {
        self.take().map(f32::from_le_bytes)
    }

    /// Takes a float of 8 bytes.
    pub(crate) fn f64(&mut self) -> Result<f64> {
        self.take().map(f64::from_le_bytes)
    }

    /// Takes a length or a place; more than `most` is damage.
    pub(crate) fn length(&mut self, most: usize) -> Result<usize> {
        let length = self.u32()? as usize;
        if length > most {
            return Err(Error::Damaged("a length is out of its bound"));
        }
        Ok(length)
    }

    /// Takes a list of at most `most` floats.
    pub(crate) fn f32s(&mut self, most: usize) -> Result<Vec<f32>> {
        let length = self.length(most)?;
        (0..length).map(|_| self.f32()).collect()
    }

    /// Takes a list of at most `most` floats.
    pub(crate) fn f64s(&mut self, most: usize) -> Result<Vec<f64>> {
        let length = self.length(most)?;
        (0..length).map(|_| self.f64()).collect()
    }

    /// Takes a list of at most `most` numbers.
    pub(crate) fn u32s(&mut self, most: usize) -> Result<Vec<u32>> {
        let length = self.length(most)?;
        (0..length).map(|_| self.u32()).collect()
    }

    /// Takes at most `most` bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> Result<Vec<u8>> {
        let length = self.length(most)?;
        let (head, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(head.to_vec())
    }
}

/// State that can be written and read again.
pub(crate) trait State: Sized {
    /// Writes all that the next observation depends on.
    fn save(&self, to: &mut Writer);

    /// Reads it into a value that was made with the same configuration.
    fn load(&mut self, from: &mut Reader<'_>) -> Result<()>;

    /// Bytes on the heap behind this value.
    fn heap_bytes(&self) -> usize;
}
