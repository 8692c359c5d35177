//! Keys as numbers of 128 bits: so much is remembered of each, however long it is.
//!
//! The upper 16 bits say to which part of all keys it belongs, as the exchange has it, so that state
//! is found where its rows arrive; the others are of XXH3 over the values. Two different keys have one
//! number with a probability of about one in 2^112 where they are of one part, so that among a billion
//! keys there is such a pair with one of about 10^-20.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use twox_hash::XxHash3_128;

use crate::error::{Error, Result};
use crate::key_group::{KeyGroups, hash_keys};

/// Bits below those of the part.
const OWN_BITS: u32 = 112;
/// Bytes of a number in a column.
pub(super) const WIDTH: i32 = 16;

/// A map by numbers of keys: they are hashes already.
pub(super) type ByKey<V> = HashMap<u128, V, BuildHasherDefault<Low>>;

/// Takes the lower half of a number as its hash.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::rules) struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = low(number);
    }
}

/// The lower half.
pub(super) fn low(number: u128) -> u64 {
    (number & u128::from(u64::MAX)) as u64
}

/// The place of a number among so many, by its lower half.
pub(super) fn scaled(number: u128, places: usize) -> usize {
    let place = (u128::from(low(number)) * places as u128) >> 64;
    usize::try_from(place).unwrap_or(0)
}

/// A hash that belongs to the same part of all keys as a number does.
pub(super) fn hash_of(number: u128) -> u64 {
    ((number >> OWN_BITS) as u64) << 48
}

/// The numbers of keys, for rows that an exchange has spread by them.
pub(super) fn keys(columns: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
    let mut hashes = Vec::new();
    hash_keys(columns, rows, &mut hashes)?;
    let mut numbers = values(columns, rows)?;
    for (number, hash) in numbers.iter_mut().zip(hashes) {
        *number = (*number >> (128 - OWN_BITS)) | u128::from(KeyGroups::place(hash)) << OWN_BITS;
    }
    Ok(numbers)
}

/// The numbers of values that no exchange goes by.
pub(in crate::rules) fn values(columns: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
    let parts = columns.iter().map(Part::of).collect::<Result<Vec<_>>>()?;
    if let [part] = parts.as_slice()
        && let Some((bytes, width)) = part.fixed()
    {
        let nulls = part.nulls();
        let number = |row: usize| match nulls {
            Some(nulls) if nulls.is_null(row) => 0,
            _ => {
                let value = bytes.get(row * width..(row + 1) * width);
                XxHash3_128::oneshot(value.unwrap_or_default())
            }
        };
        return Ok((0..rows).map(number).collect());
    }
    let mut buffer = Vec::new();
    let number = |row: usize| {
        buffer.clear();
        parts.iter().for_each(|part| part.write(row, &mut buffer));
        XxHash3_128::oneshot(&buffer)
    };
    Ok((0..rows).map(number).collect())
}

/// Numbers as a column.
pub(super) fn column(numbers: impl IntoIterator<Item = u128>) -> Result<FixedSizeBinaryArray> {
    let numbers = numbers.into_iter();
    let mut bytes = Vec::with_capacity(numbers.size_hint().0 * 16);
    numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    Ok(FixedSizeBinaryArray::try_new(WIDTH, bytes.into(), None)?)
}

/// The numbers of a column.
pub(super) fn numbers(column: &dyn Array) -> Result<Vec<u128>> {
    let column = column
        .as_fixed_size_binary_opt()
        .ok_or_else(|| Error::internal("keys of rules are no numbers"))?;
    let number = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u128::from_le_bytes)
            .ok_or_else(|| Error::internal("a key of a rule has another width"))
    };
    column.iter().map(number).collect()
}

/// A column whose values can be written as bytes: equal ones alike, others differently.
enum Part {
    /// All values take as many bytes.
    Fixed(ArrayData, usize),
    /// Texts, bytes and truth values, and where they are null.
    Other(ArrayRef),
    /// What has parts itself.
    Rows(Rows),
}

impl Part {
    fn of(column: &ArrayRef) -> Result<Self> {
        if let DataType::Dictionary(_, values) = column.data_type() {
            return Self::of(&cast(column, values)?);
        }
        if let Some(width) = column.data_type().primitive_width() {
            return Ok(Self::Fixed(column.to_data(), width));
        }
        Ok(match column.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::Boolean => Self::Other(ArrayRef::clone(column)),
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
                Self::Rows(converter.convert_columns(&[ArrayRef::clone(column)])?)
            }
        })
    }

    /// The bytes of the values, where each has as many.
    fn fixed(&self) -> Option<(&[u8], usize)> {
        let Self::Fixed(data, width) = self else {
            return None;
        };
        let bytes = data.buffers().first()?.as_slice();
        Some((bytes.get(data.offset() * width..)?, *width))
    }

    fn nulls(&self) -> Option<&arrow::buffer::NullBuffer> {
        match self {
            Self::Fixed(data, _) => data.nulls(),
            Self::Other(column) => column.nulls(),
            Self::Rows(_) => None,
        }
    }

    fn write(&self, row: usize, to: &mut Vec<u8>) {
        if self.nulls().is_some_and(|nulls| nulls.is_null(row)) {
            to.push(0);
            return;
        }
        to.push(1);
        let mut sized = |bytes: &[u8]| {
            to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            to.extend_from_slice(bytes);
        };
        match self {
            Self::Fixed(..) => {
                let (bytes, width) = self.fixed().unwrap_or_default();
                let value = bytes.get(row * width..(row + 1) * width);
                to.extend_from_slice(value.unwrap_or_default());
            }
            Self::Rows(rows) => sized(rows.row(row).data()),
            Self::Other(column) => match column.data_type() {
                DataType::Utf8 => sized(column.as_string::<i32>().value(row).as_bytes()),
                DataType::LargeUtf8 => sized(column.as_string::<i64>().value(row).as_bytes()),
                DataType::Utf8View => sized(column.as_string_view().value(row).as_bytes()),
                DataType::Binary => sized(column.as_binary::<i32>().value(row)),
                DataType::LargeBinary => sized(column.as_binary::<i64>().value(row)),
                DataType::BinaryView => sized(column.as_binary_view().value(row)),
                _ => to.push(u8::from(column.as_boolean().value(row))),
            },
        }
    }
}
