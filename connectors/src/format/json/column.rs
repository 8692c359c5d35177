//! One column that fills row by row with the values of plain texts.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
    PrimitiveArray, StringArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::{Parser, parse_decimal};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
};
use arrow::error::ArrowError;

use super::cursor::Cursor;
use super::instant::Instants;

/// How the values of a column are read.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Booleans.
    Truth,
    /// Whole numbers from one to another; texts of them are read by this.
    Whole(i64, i64, fn(&str) -> Option<i64>),
    /// Timestamps.
    Instant(Instants),
    /// Floating point of 32 bits.
    Single,
    /// Floating point of 64 bits.
    Double,
    /// Decimals of this precision and scale.
    Decimal(u8, i8),
    /// Texts.
    Text,
}

fn whole<T>(text: &str) -> Option<i64>
where
    T: Parser,
    T::Native: Into<i64>,
{
    T::parse(text).map(Into::into)
}

impl Kind {
    /// The way of a type; `None` when only arrow's decoder reads it.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        let range = |low: i64, high: i64, parse| Some(Self::Whole(low, high, parse));
        match data_type {
            DataType::Boolean => Some(Self::Truth),
            DataType::Int8 => range(i8::MIN.into(), i8::MAX.into(), whole::<Int8Type>),
            DataType::Int16 => range(i16::MIN.into(), i16::MAX.into(), whole::<Int16Type>),
            DataType::Int32 => range(i32::MIN.into(), i32::MAX.into(), whole::<Int32Type>),
            DataType::Int64 => range(i64::MIN, i64::MAX, Int64Type::parse),
            DataType::UInt8 => range(0, u8::MAX.into(), whole::<UInt8Type>),
            DataType::UInt16 => range(0, u16::MAX.into(), whole::<UInt16Type>),
            DataType::UInt32 => range(0, u32::MAX.into(), whole::<UInt32Type>),
            DataType::Date32 => range(i32::MIN.into(), i32::MAX.into(), whole::<Date32Type>),
            DataType::Timestamp(unit, zone) => {
                Instants::new(*unit, zone.as_deref()).map(Self::Instant)
            }
            DataType::Float32 => Some(Self::Single),
            DataType::Float64 => Some(Self::Double),
            DataType::Decimal128(precision, scale) => Some(Self::Decimal(*precision, *scale)),
            DataType::Utf8 => Some(Self::Text),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Values {
    Truth(Vec<bool>),
    Whole(Vec<i64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
    Decimal(Vec<i128>),
    Text(Texts),
}

/// A column with room for its rows, all of them null at first.
#[derive(Debug)]
pub(super) struct Column<'k> {
    kind: &'k Kind,
    values: Values,
    valid: Vec<bool>,
    /// How many rows are not null.
    valid_rows: usize,
}

impl<'k> Column<'k> {
    /// Makes room for rows, and for so many bytes of texts.
    pub(super) fn new(kind: &'k Kind, rows: usize, text_bytes: usize) -> Self {
        let values = match kind {
            Kind::Truth => Values::Truth(vec![false; rows]),
            Kind::Whole(..) | Kind::Instant(_) => Values::Whole(vec![0; rows]),
            Kind::Single => Values::Single(vec![0.0; rows]),
            Kind::Double => Values::Double(vec![0.0; rows]),
            Kind::Decimal(..) => Values::Decimal(vec![0; rows]),
            Kind::Text => Values::Text(Texts::new(rows, text_bytes)),
        };
        Self {
            kind,
            values,
            valid: vec![false; rows],
            valid_rows: 0,
        }
    }

    /// Makes the row that is filled null again.
    #[inline]
    pub(super) fn clear(&mut self, row: usize) {
        if let Some(valid) = self.valid.get_mut(row) {
            self.valid_rows -= usize::from(std::mem::replace(valid, false));
        }
        if let Values::Text(texts) = &mut self.values {
            texts.begin(row);
        }
    }

    /// Reads the value under the cursor; of a key that comes twice the last holds.
    #[inline]
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, row: usize) -> Option<()> {
        if cursor.peek()? == b'n' {
            self.clear(row);
            return cursor.word(b"null");
        }
        match (&mut self.values, self.kind) {
            (Values::Whole(values), Kind::Whole(low, high, parse)) => {
                let value = match cursor.peek()? {
                    b'"' => parse(text(&cursor.string()?)?)?,
                    _ => cursor.integer()?,
                };
                *values.get_mut(row)? = Some(value).filter(|v| (*low..=*high).contains(v))?;
            }
            (Values::Text(texts), Kind::Text) => {
                texts.begin(row);
                match cursor.peek()? {
                    b'"' => texts.put(&cursor.string()?),
                    b't' => cursor.word(b"true").map(|()| texts.put(b"true"))?,
                    b'f' => cursor.word(b"false").map(|()| texts.put(b"false"))?,
                    _ => texts.put(cursor.number()?),
                }
            }
            (Values::Whole(values), Kind::Instant(instants)) => {
                *values.get_mut(row)? = match cursor.peek()? {
                    b'"' => instants.parse(text(&cursor.string()?)?)?,
                    _ => cursor.integer()?,
                };
            }
            (Values::Truth(values), Kind::Truth) => {
                let value = cursor.peek()? == b't';
                cursor.word(if value { &b"true"[..] } else { b"false" })?;
                *values.get_mut(row)? = value;
            }
            (Values::Single(values), Kind::Single) => {
                *values.get_mut(row)? = Float32Type::parse(text(&number(cursor)?)?)?;
            }
            (Values::Double(values), Kind::Double) => {
                *values.get_mut(row)? = Float64Type::parse(text(&number(cursor)?)?)?;
            }
            (Values::Decimal(values), Kind::Decimal(precision, scale)) => {
                let text = number(cursor)?;
                let text = std::str::from_utf8(&text).ok()?;
                let value = parse_decimal::<Decimal128Type>(text, *precision, *scale);
                *values.get_mut(row)? = value.ok()?;
            }
            _ => return None,
        }
        let was_valid = std::mem::replace(self.valid.get_mut(row)?, true);
        self.valid_rows += usize::from(!was_valid);
        Some(())
    }

    /// Bytes of its texts.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Text(texts) => texts.bytes.len(),
            _ => 0,
        }
    }

    /// The array of the first rows.
    pub(super) fn finish(mut self, rows: usize, to: &DataType) -> Result<ArrayRef, ArrowError> {
        self.valid.truncate(rows);
        let nulls = (self.valid_rows < rows).then(|| NullBuffer::from(self.valid));
        let array: ArrayRef = match self.values {
            Values::Truth(mut values) => {
                values.truncate(rows);
                Arc::new(BooleanArray::new(values.into(), nulls))
            }
            Values::Whole(mut values) => {
                values.truncate(rows);
                return numbers(values, nulls, to);
            }
            Values::Single(mut values) => {
                values.truncate(rows);
                Arc::new(Float32Array::try_new(values.into(), nulls)?)
            }
            Values::Double(mut values) => {
                values.truncate(rows);
                Arc::new(Float64Array::try_new(values.into(), nulls)?)
            }
            Values::Decimal(mut values) => {
                values.truncate(rows);
                Arc::new(Decimal128Array::try_new(values.into(), nulls)?.with_data_type(to.clone()))
            }
            Values::Text(texts) => return texts.finish(rows, nulls),
        };
        Ok(array)
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A number, or what stands in quotes.
fn number<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, [u8]>> {
    match cursor.peek()? {
        b'"' => cursor.string(),
        _ => cursor.number().map(Cow::Borrowed),
    }
}

fn numbers(
    values: Vec<i64>,
    nulls: Option<NullBuffer>,
    to: &DataType,
) -> Result<ArrayRef, ArrowError> {
    match to {
        DataType::Int8 => narrow::<Int8Type>(&values, nulls),
        DataType::Int16 => narrow::<Int16Type>(&values, nulls),
        DataType::Int32 => narrow::<Int32Type>(&values, nulls),
        DataType::UInt8 => narrow::<UInt8Type>(&values, nulls),
        DataType::UInt16 => narrow::<UInt16Type>(&values, nulls),
        DataType::UInt32 => narrow::<UInt32Type>(&values, nulls),
        DataType::Date32 => narrow::<Date32Type>(&values, nulls),
        DataType::Int64 => Ok(Arc::new(Int64Array::try_new(values.into(), nulls)?)),
        _ => {
            let data = Int64Array::try_new(values.into(), nulls)?.into_data();
            let data = data.into_builder().data_type(to.clone()).build()?;
            Ok(make_array(data))
        }
    }
}

/// Values that are in the range of their type, each as wide as it.
fn narrow<T>(values: &[i64], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + Default,
{
    let values = values
        .iter()
        .map(|v| T::Native::try_from(*v).unwrap_or_default());
    let values: Vec<T::Native> = values.collect();
    Ok(Arc::new(PrimitiveArray::<T>::try_new(
        values.into(),
        nulls,
    )?))
}

/// Texts one behind the other.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    /// Where that of each row begins; the last is still open.
    starts: Vec<usize>,
}

impl Texts {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            starts: Vec::with_capacity(rows + 1),
        }
    }

    /// Begins the text of a row, once more if it has one; rows before it that have none are empty.
    #[inline]
    fn begin(&mut self, row: usize) {
        if let Some(start) = self.starts.get(row) {
            self.bytes.truncate(*start);
        }
        self.starts.resize(row + 1, self.bytes.len());
    }

    #[inline]
    fn put(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    fn finish(mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        // A row that is not taken after all may have begun.
        self.begin(rows);
        if i32::try_from(self.bytes.len()).is_err() {
            let message = "the texts of one batch are longer than a column can hold";
            return Err(ArrowError::JsonError(message.to_owned()));
        }
        let starts = self.starts.into_iter();
        let starts = starts.map(|start| i32::try_from(start).unwrap_or(i32::MAX));
        let starts = OffsetBuffer::new(starts.collect::<Vec<_>>().into());
        let bytes = self.bytes.into();
        Ok(Arc::new(StringArray::try_new(starts, bytes, nulls)?))
    }
}
