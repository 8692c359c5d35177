//! Rows as the server sends them, in its binary form, to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DecimalType as _, Float32Type,
    Float64Type, Int16Type, Int32Type, Int64Type, SchemaRef, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use weir_engine::error::{Error, Kind, Result, codes};

use super::column::{Column, Wire};

/// Days from 1970-01-01 to 2000-01-01, where the server's time begins.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The bytes of a value, whatever its type.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(
        _own: &Type,
        bytes: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(bytes))
    }

    fn accepts(_own: &Type) -> bool {
        true
    }
}

/// Makes a batch of rows whose columns from `first` on are those of `columns`.
pub(super) fn batch(
    rows: &[Row],
    first: usize,
    columns: &[Column],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let arrays = columns.iter().enumerate();
    let arrays = arrays.map(|(at, column)| array(rows, first + at, column));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &options,
    )?)
}

/// The whole numbers of a column that has no NULL.
pub(super) fn numbers(rows: &[Row], at: usize) -> Result<Vec<u32>> {
    let number = |row: &Row| {
        let bytes = bytes(row, at)?.unwrap_or_default();
        let number = i32::from_be_bytes(fixed(bytes)?);
        u32::try_from(number).map_err(|_| Error::internal("a row is of no key"))
    };
    rows.iter().map(number).collect()
}

fn bytes(row: &Row, at: usize) -> Result<Option<&[u8]>> {
    let bytes = row.try_get::<_, Option<Bytes<'_>>>(at);
    let bytes = bytes.map_err(|error| Error::internal("a row lacks a column").caused_by(error))?;
    Ok(bytes.map(|bytes| bytes.0))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    let wrong = || Error::internal("the server has sent a value of another length");
    bytes.try_into().map_err(|_| wrong())
}

fn array(rows: &[Row], at: usize, column: &Column) -> Result<ArrayRef> {
    let made = match column.wire() {
        Wire::Bool => {
            let mut builder = BooleanBuilder::with_capacity(rows.len());
            for row in rows {
                let value = bytes(row, at)?;
                builder.append_option(value.map(|bytes| bytes.first() == Some(&1)));
            }
            Arc::new(builder.finish())
        }
        Wire::Int2 => fill::<Int16Type, 2>(rows, at, |b| Some(i16::from_be_bytes(b)), column)?,
        Wire::Int4 => fill::<Int32Type, 4>(rows, at, |b| Some(i32::from_be_bytes(b)), column)?,
        Wire::Int8 => fill::<Int64Type, 8>(rows, at, |b| Some(i64::from_be_bytes(b)), column)?,
        Wire::Float4 => fill::<Float32Type, 4>(rows, at, |b| Some(f32::from_be_bytes(b)), column)?,
        Wire::Float8 => fill::<Float64Type, 8>(rows, at, |b| Some(f64::from_be_bytes(b)), column)?,
        Wire::Date => fill::<Date32Type, 4>(
            rows,
            at,
            |b| {
                i32::from_be_bytes(b)
                    .checked_add(EPOCH_DAYS)
                    .filter(|_| finite_date(b))
            },
            column,
        )?,
        Wire::Time => {
            fill::<Time64MicrosecondType, 8>(rows, at, |b| Some(i64::from_be_bytes(b)), column)?
        }
        Wire::Timestamp | Wire::TimestampTz => fill::<TimestampMicrosecondType, 8>(
            rows,
            at,
            |b| {
                i64::from_be_bytes(b)
                    .checked_add(EPOCH_MICROS)
                    .filter(|_| finite_time(b))
            },
            column,
        )?,
        Wire::Numeric(_) => decimals(rows, at, column)?,
        Wire::Text => {
            let mut builder = StringBuilder::new();
            for row in rows {
                let text = bytes(row, at)?.map(std::str::from_utf8).transpose();
                let text = text.map_err(|_| unfit(column, "is not UTF-8"))?;
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        }
        Wire::Bytea => {
            let mut builder = BinaryBuilder::new();
            for row in rows {
                builder.append_option(bytes(row, at)?);
            }
            Arc::new(builder.finish())
        }
    };
    in_type(made, column.field.data_type())
}

/// Times have one form on the way, and several units here.
fn in_type(array: ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array);
    }
    Ok(cast(&array, wanted)?)
}

/// 'infinity' and '-infinity' are the ends of the range.
fn finite_date(bytes: [u8; 4]) -> bool {
    !matches!(i32::from_be_bytes(bytes), i32::MIN | i32::MAX)
}

fn finite_time(bytes: [u8; 8]) -> bool {
    !matches!(i64::from_be_bytes(bytes), i64::MIN | i64::MAX)
}

/// Values of a fixed width; `read` gives nothing for one that no value here stands for.
fn fill<T: ArrowPrimitiveType, const N: usize>(
    rows: &[Row],
    at: usize,
    read: impl Fn([u8; N]) -> Option<T::Native>,
    column: &Column,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(rows.len());
    for row in rows {
        match bytes(row, at)? {
            None => builder.append_null(),
            Some(bytes) => {
                let value = read(fixed(bytes)?);
                builder.append_value(value.ok_or_else(|| unfit(column, "is infinite"))?);
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn decimals(rows: &[Row], at: usize, column: &Column) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *column.field.data_type() else {
        return Err(Error::internal("a decimal is of another type"));
    };
    let mut builder =
        Decimal128Builder::with_capacity(rows.len()).with_precision_and_scale(precision, scale)?;
    for row in rows {
        let Some(bytes) = bytes(row, at)? else {
            builder.append_null();
            continue;
        };
        let value = decimal(bytes, scale);
        let fits = value.filter(|value| {
            Decimal128Type::validate_decimal_precision(*value, precision, scale).is_ok()
        });
        let why = format!("does not fit into DECIMAL({precision}, {scale})");
        builder.append_value(fits.ok_or_else(|| unfit(column, &why))?);
    }
    Ok(Arc::new(builder.finish()))
}

/// Reads a number that has exactly `scale` digits behind its point.
fn decimal(text: &[u8], scale: i8) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let behind = text.split_once('.').map_or(0, |(_, behind)| behind.len());
    let digits = (behind == usize::try_from(scale).ok()?).then(|| text.replace('.', ""));
    digits?.parse().ok()
}

/// The error of a value that has no place in its column; the value is not told.
fn unfit(column: &Column, why: &str) -> Error {
    let name = &column.own.name;
    Error::new(
        Kind::Data,
        codes::DECODE,
        format!("a value of column \"{name}\" of the table {why}"),
    )
    .hint("declare the column as VARCHAR to read its text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_they_are_written() {
        for (text, scale, value) in [
            ("12.30", 2, Some(1_230)),
            ("-0.05", 2, Some(-5)),
            ("7", 0, Some(7)),
            (
                "99999999999999999999999999999999999999",
                0,
                Some(10_i128.pow(38) - 1),
            ),
            ("12.3", 2, None),
            ("NaN", 2, None),
            ("Infinity", 0, None),
        ] {
            assert_eq!(decimal(text.as_bytes(), scale), value, "{text}");
        }
    }
}
