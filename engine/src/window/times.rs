//! Event times as microseconds, from and into any timestamp type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use crate::error::{Error, Kind, Result, codes};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Whether a column of this type can be an event time.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    )
}

/// Gives a column as microseconds since 1970, without a copy where it holds them already. A time
/// that does not fit is null; a finer one is rounded down, so that it stays in its window.
pub(crate) fn micros(column: &dyn Array) -> Result<PrimitiveArray<Int64Type>> {
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => column
            .as_primitive::<TimestampMicrosecondType>()
            .reinterpret_cast(),
        DataType::Timestamp(TimeUnit::Second, _) => {
            scale::<TimestampSecondType>(column, |v| v.checked_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scale::<TimestampMillisecondType>(column, |v| v.checked_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scale::<TimestampNanosecondType>(column, |v| Some(v.div_euclid(1_000)))
        }
        DataType::Date32 => scale::<Date32Type>(column, |v| Some(i64::from(v) * DAY)),
        DataType::Date64 => scale::<Date64Type>(column, |v| v.checked_mul(1_000)),
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        other => return Err(not_a_time(other)),
    })
}

/// Gives microseconds as a column of a timestamp type. Outside of what the type can hold the
/// nearest that it can is given: only a window's end at the edge of the calendar can be there.
pub(super) fn timestamps(micros: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return Err(not_a_time(data_type));
    };
    let zone = zone.as_ref().map(Arc::clone);
    let each = |change: fn(i64) -> i64| micros.iter().map(|v| change(*v)).collect::<Vec<_>>();
    Ok(match unit {
        TimeUnit::Microsecond => {
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone))
        }
        TimeUnit::Second => Arc::new(
            TimestampSecondArray::from(each(|v| v.div_euclid(1_000_000))).with_timezone_opt(zone),
        ),
        TimeUnit::Millisecond => Arc::new(
            TimestampMillisecondArray::from(each(|v| v.div_euclid(1_000))).with_timezone_opt(zone),
        ),
        TimeUnit::Nanosecond => Arc::new(
            TimestampNanosecondArray::from(each(|v| v.saturating_mul(1_000)))
                .with_timezone_opt(zone),
        ),
    })
}

fn scale<T: ArrowPrimitiveType>(
    column: &dyn Array,
    change: impl Fn(T::Native) -> Option<i64>,
) -> PrimitiveArray<Int64Type> {
    column.as_primitive::<T>().unary_opt(change)
}

fn not_a_time(data_type: &DataType) -> Error {
    Error::new(
        Kind::Invalid,
        codes::WINDOW,
        "windows need a timestamp column",
    )
    .detail(format!("the column's type is {data_type}"))
    .hint("convert the column with to_timestamp() or CAST(... AS TIMESTAMP)")
}
