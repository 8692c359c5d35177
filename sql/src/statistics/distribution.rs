//! How the values of a column are distributed: numbers and times as numbers, all else by category.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use weir_engine::error::{Error, Kind, Result, codes};

use super::categories::Categories;
use super::numbers::Numbers;

/// The values of a column with how often they came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Distribution {
    /// Numbers, and times in microseconds since 1970.
    Numbers(Numbers),
    /// All other values.
    Categories(Categories),
}

/// The first byte of a distribution of numbers.
const NUMBERS: u8 = 1;
/// The first byte of one of categories.
const CATEGORIES: u8 = 2;

impl Distribution {
    /// That of no value of a type.
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                Self::Numbers(Numbers::default())
            }
            other if other.is_numeric() => Self::Numbers(Numbers::default()),
            _ => Self::Categories(Categories::default()),
        }
    }

    /// Adds the values of a column that are not null.
    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<()> {
        match self {
            Self::Numbers(numbers) => {
                let values = match column.data_type().is_temporal() {
                    true => {
                        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                        cast(&cast(column, &micros)?, &DataType::Int64)?
                    }
                    false => ArrayRef::clone(column),
                };
                let mut add = |value: f64| numbers.add(value, 1);
                match values.data_type() {
                    DataType::Int64 => {
                        let values = values.as_primitive::<Int64Type>().iter().flatten();
                        values.for_each(|value| add(value as f64));
                    }
                    _ => {
                        let values = cast(&values, &DataType::Float64)?;
                        let values = values.as_primitive::<Float64Type>().iter().flatten();
                        values.for_each(add);
                    }
                }
            }
            Self::Categories(categories) => {
                let texts = cast(column, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>().iter().flatten();
                texts.for_each(|text| categories.add(text));
            }
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Numbers(one), Self::Numbers(two)) => one.merge(two),
            (Self::Categories(one), Self::Categories(two)) => one.merge(two),
            _ => return Err(unreadable()),
        }
        Ok(())
    }

    /// Whether it has no value.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.count() == 0,
            Self::Categories(categories) => categories.count() == 0,
        }
    }

    /// Whether values of a type are numbers here.
    pub(crate) fn is_of_numbers(data_type: &DataType) -> bool {
        matches!(Self::of(data_type), Self::Numbers(_))
    }

    /// Bytes that it takes.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.held(),
            Self::Categories(categories) => categories.held(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (kind, bytes) = match self {
            Self::Numbers(numbers) => (NUMBERS, numbers.to_bytes()),
            Self::Categories(categories) => (CATEGORIES, categories.to_bytes()),
        };
        [vec![kind], bytes].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let found = match bytes.split_first() {
            Some((&NUMBERS, bytes)) => Numbers::from_bytes(bytes).map(Self::Numbers),
            Some((&CATEGORIES, bytes)) => Categories::from_bytes(bytes).map(Self::Categories),
            _ => None,
        };
        found.ok_or_else(unreadable)
    }
}

fn unreadable() -> Error {
    Error::new(Kind::Data, codes::CORRUPT, "a distribution cannot be read")
}
