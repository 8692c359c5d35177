//! Timestamps in a form that the script names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use weir_engine::Result;

use super::TimestampFormat;

/// Parses texts; one that does not fit becomes null.
pub(crate) fn parse(
    texts: &ArrayRef,
    format: &TimestampFormat,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let micros: TimestampMicrosecondArray = texts
        .as_string::<i32>()
        .iter()
        .map(|text| one(text?.trim(), format))
        .collect();
    let micros = match data_type {
        // What is written without a zone is taken as the zone's own offset says: UTC.
        DataType::Timestamp(_, Some(_)) => micros.with_timezone("UTC"),
        _ => micros,
    };
    let array: ArrayRef = Arc::new(micros);
    Ok(if array.data_type() == data_type {
        array
    } else {
        cast(&array, data_type)?
    })
}

fn one(text: &str, format: &TimestampFormat) -> Option<i64> {
    match format {
        TimestampFormat::Epoch(micros) => match text.parse::<i64>() {
            Ok(whole) => whole.checked_mul(*micros),
            Err(_) => {
                let value = text.parse::<f64>().ok()? * *micros as f64;
                (value.abs() < 9.2e18).then_some(value as i64)
            }
        },
        TimestampFormat::Pattern(pattern) => {
            if let Ok(time) = DateTime::parse_from_str(text, pattern) {
                return Some(time.timestamp_micros());
            }
            let time = NaiveDateTime::parse_from_str(text, pattern)
                .ok()
                .or_else(|| {
                    let date = NaiveDate::parse_from_str(text, pattern).ok()?;
                    Some(date.and_time(NaiveTime::MIN))
                });
            time.map(|time| time.and_utc().timestamp_micros())
        }
    }
}
