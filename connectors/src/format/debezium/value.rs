//! Values of Debezium's columns, decoded as text first, in the declared types. What does not fit
//! becomes null; the caller notices.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Int64Array, StringArray,
};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

use super::semantic::Semantic;

const SAFE: CastOptions<'static> = CastOptions {
    safe: true,
    format_options: FormatOptions::new(),
};

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// The type in which arrow's JSON decoder gives a column.
pub(super) fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::Boolean => DataType::Utf8,
        other => other.clone(),
    }
}

/// Makes a column of its declared type.
pub(super) fn convert(
    wire: &ArrayRef,
    to: &DataType,
    semantic: Option<Semantic>,
) -> Result<ArrayRef, ArrowError> {
    if wire.data_type() == to {
        return Ok(Arc::clone(wire));
    }
    let Some(texts) = wire.as_string_opt::<i32>() else {
        return cast_with_options(wire, to, &SAFE);
    };
    match (to, semantic) {
        (DataType::Timestamp(unit, _), _) => ticks(texts, to, nanos(unit), semantic),
        (DataType::Time32(unit) | DataType::Time64(unit), _) => {
            ticks(texts, to, nanos(unit), semantic)
        }
        (DataType::Date32, _) => ticks(texts, to, DAY, semantic),
        (DataType::Date64, _) => ticks(texts, to, nanos(&TimeUnit::Millisecond), semantic),
        (_, Some(Semantic::Decimal(scale))) => {
            let unscaled = texts.iter().map(|text| unscaled(&base64(text?)?));
            let unscaled: Decimal128Array = unscaled.collect();
            let decimals = unscaled.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?;
            cast_with_options(&decimals, to, &SAFE)
        }
        (DataType::Binary | DataType::LargeBinary, _) => {
            let bytes: BinaryArray = texts.iter().map(|text| base64(text?)).collect();
            cast_with_options(&bytes, to, &SAFE)
        }
        _ => cast_with_options(wire, to, &SAFE),
    }
}

fn nanos(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Times: numbers in the unit that the schema names, else in the declared type's own; or texts.
fn ticks(
    texts: &StringArray,
    to: &DataType,
    own: i128,
    semantic: Option<Semantic>,
) -> Result<ArrayRef, ArrowError> {
    let from = match semantic {
        Some(Semantic::Ticks(nanos)) => nanos,
        Some(Semantic::Days) => DAY,
        _ => match to {
            // Without a name, a date is a number of days whatever it is kept in.
            DataType::Date64 => DAY,
            _ => own,
        },
    };
    let parsed = |text: Option<&str>| text?.parse::<i64>().ok();
    let is_number: Vec<bool> = texts.iter().map(|text| parsed(text).is_some()).collect();
    let numbers: Int64Array = texts
        .iter()
        .map(|text| {
            let nanos = i128::from(parsed(text)?).checked_mul(from)?;
            i64::try_from(nanos.div_euclid(own)).ok()
        })
        .collect();
    let narrow = match to {
        DataType::Date32 | DataType::Time32(_) => {
            cast_with_options(&numbers, &DataType::Int32, &SAFE)?
        }
        _ => Arc::new(numbers),
    };
    let numbers = cast_with_options(&narrow, to, &SAFE)?;
    if is_number
        .iter()
        .zip(texts)
        .all(|(is_number, text)| *is_number || text.is_none())
    {
        return Ok(numbers);
    }
    let written: StringArray = texts
        .iter()
        .zip(&is_number)
        .map(|(text, is_number)| text.filter(|_| !is_number))
        .collect();
    let written = cast_with_options(&written, to, &SAFE)?;
    let mask = BooleanArray::from(is_number);
    zip(&mask, &numbers, &written)
}

/// The bytes of a text in base64, with or without its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    // A lone last sign holds no whole byte.
    (count < 6).then_some(bytes)
}

/// A big-endian number, if it has at most 38 digits.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > size_of::<i128>() {
        return None;
    }
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
    let value = bytes
        .iter()
        .fold(sign, |value: i128, byte| value << 8 | i128::from(*byte));
    let limit = 10_u128.pow(u32::from(DECIMAL128_MAX_PRECISION));
    (value.unsigned_abs() < limit).then_some(value)
}
