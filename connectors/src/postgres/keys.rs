//! Keys as parameters of a query: one array per key column, in the server's binary form.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use weir_engine::error::{Error, Result};

use super::column::{Column, Wire};
use super::decode::{EPOCH_DAYS, EPOCH_MICROS};

/// A value in the server's binary form.
#[derive(Debug)]
pub(super) struct Value(Vec<u8>);

impl ToSql for Value {
    fn to_sql(
        &self,
        _own: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_own: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The values of a key column. What no row can have is NULL, which finds nothing.
pub(super) fn values(keys: &ArrayRef, column: &Column) -> Result<Vec<Option<Value>>> {
    if keys.data_type() != column.field.data_type() {
        return Err(Error::internal("a key is of another type than its column"));
    }
    Ok(match column.wire() {
        Wire::Bool => {
            let keys = keys.as_boolean().iter();
            keys.map(|key| key.map(|key| Value(vec![u8::from(key)])))
                .collect()
        }
        Wire::Int2 => fill::<Int16Type>(keys, |v| Some(v.to_be_bytes().to_vec())),
        Wire::Int4 => fill::<Int32Type>(keys, |v| Some(v.to_be_bytes().to_vec())),
        Wire::Int8 => fill::<Int64Type>(keys, |v| Some(v.to_be_bytes().to_vec())),
        Wire::Float4 => fill::<Float32Type>(keys, |v| Some(v.to_be_bytes().to_vec())),
        Wire::Float8 => fill::<Float64Type>(keys, |v| Some(v.to_be_bytes().to_vec())),
        Wire::Date => fill::<Date32Type>(keys, |days| {
            Some(days.checked_sub(EPOCH_DAYS)?.to_be_bytes().to_vec())
        }),
        Wire::Time => {
            let keys = cast(keys, &DataType::Time64(TimeUnit::Microsecond))?;
            fill::<Time64MicrosecondType>(&keys, |v| Some(v.to_be_bytes().to_vec()))
        }
        Wire::Timestamp | Wire::TimestampTz => {
            let zone = match keys.data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let keys = cast(keys, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
            fill::<TimestampMicrosecondType>(&keys, |micros| {
                Some(micros.checked_sub(EPOCH_MICROS)?.to_be_bytes().to_vec())
            })
        }
        Wire::Numeric(_) => {
            let keys = keys.as_primitive::<Decimal128Type>();
            let texts =
                (0..keys.len()).map(|row| keys.is_valid(row).then(|| keys.value_as_string(row)));
            texts
                .map(|text| text.map(|text| Value(text.into_bytes())))
                .collect()
        }
        Wire::Text => {
            let uuid = column.own.type_name == "uuid";
            let keys = keys.as_string::<i32>().iter();
            keys.map(|key| {
                let key = key.filter(|key| may_be(key, uuid))?;
                Some(Value(key.as_bytes().to_vec()))
            })
            .collect()
        }
        Wire::Bytea => {
            let keys = keys.as_binary::<i32>().iter();
            keys.map(|key| key.map(|key| Value(key.to_vec()))).collect()
        }
    })
}

fn fill<T: ArrowPrimitiveType>(
    keys: &ArrayRef,
    write: impl Fn(T::Native) -> Option<Vec<u8>>,
) -> Vec<Option<Value>> {
    let keys = keys.as_primitive::<T>().iter();
    keys.map(|key| Some(Value(write(key?)?))).collect()
}

/// Whether a text can be in a column at all: the server ends a query over one that cannot.
fn may_be(text: &str, uuid: bool) -> bool {
    let is_uuid = || {
        let dash = |at| matches!(at, 8 | 13 | 18 | 23);
        let fits = |(at, byte): (usize, u8)| match dash(at) {
            true => byte == b'-',
            false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        text.len() == 36 && text.bytes().enumerate().all(fits)
    };
    !text.contains('\0') && (!uuid || is_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_no_column_has_are_not_asked_for() {
        assert!(may_be("a", false));
        assert!(!may_be("a\0b", false));
        assert!(may_be("0189c0de-0000-7abc-8def-0123456789ab", true));
        for text in [
            "",
            "x",
            "0189C0DE-0000-7abc-8def-0123456789ab",
            "0189c0de000007abc08def00123456789abc",
        ] {
            assert!(!may_be(text, true), "{text}");
        }
    }
}
