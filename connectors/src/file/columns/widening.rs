//! How the types of a file's columns are to those of the source: which cast is wanted, which can lose
//! nothing.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::{Change, Offer};

/// Plans how a decoded column becomes the asked one; an error text says why it cannot.
pub(crate) fn change(from: &Field, to: &Field, offer: Offer<'_>) -> Result<Change, String> {
    let (have, want) = (from.data_type(), to.data_type());
    if let (Some(format), DataType::Utf8, DataType::Timestamp(..)) = (offer.timestamps, have, want)
    {
        return Ok(Change::Timestamp(format.clone()));
    }
    if have == want {
        return Ok(Change::None);
    }
    let fits = can_cast_types(have, want) && (offer.declared || class(have) == class(want));
    if fits || *have == DataType::Null {
        return Ok(Change::Cast);
    }
    Err(format!(
        "column \"{}\" is {have} in the {}, not {want}",
        to.name(),
        offer.what
    ))
}

/// Types between which a later file may change without changing what it says.
fn class(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 1,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => 2,
        DataType::Boolean => 3,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => 4,
        DataType::Time32(_) | DataType::Time64(_) => 5,
        other if other.is_numeric() => 6,
        DataType::Dictionary(_, value) => class(value),
        _ => 7,
    }
}

/// The type in which a file's type is given: views, dictionaries and large offsets are storage.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(plain_field(item)))
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| plain_field(field)).collect())
        }
        other => other.clone(),
    }
}

/// A field in its plain type, without the writer's metadata.
pub(crate) fn plain_field(field: &Field) -> Field {
    Field::new(field.name(), plain(field.data_type()), true)
}

/// Whether two types are the same, whatever unit a time is stored in.
pub(in crate::file) fn is_same(have: &DataType, want: &DataType) -> bool {
    match (plain(have), plain(want)) {
        (DataType::Timestamp(_, one), DataType::Timestamp(_, two)) => one == two,
        (one, two) => one == two,
    }
}

/// Whether each value of a type is one of the other.
pub(in crate::file) fn widens(have: &DataType, want: &DataType) -> bool {
    use DataType::{Date32, Date64, Decimal128, Float16, Float32, Float64, Null, Timestamp};
    if is_same(have, want) || *have == Null {
        return true;
    }
    // The digits of a whole number, and the bits that it takes.
    let whole = |data_type: &DataType| match data_type {
        DataType::Int8 => Some((3, 8, true)),
        DataType::Int16 => Some((5, 16, true)),
        DataType::Int32 => Some((10, 32, true)),
        DataType::Int64 => Some((19, 64, true)),
        DataType::UInt8 => Some((3, 8, false)),
        DataType::UInt16 => Some((5, 16, false)),
        DataType::UInt32 => Some((10, 32, false)),
        DataType::UInt64 => Some((20, 64, false)),
        _ => None,
    };
    match (have, want, whole(have), whole(want)) {
        (_, _, Some((_, bits, signed)), Some((_, more, other))) => match (signed, other) {
            (true, false) => false,
            (false, true) => more > bits,
            _ => more >= bits,
        },
        (_, Float64, Some((_, bits, _)), None) => bits <= 32,
        (_, Float32, Some((_, bits, _)), None) => bits <= 16,
        (_, Decimal128(digits, scale), Some((own, _, _)), None) => {
            i16::from(*digits) - i16::from(*scale) >= own && *scale >= 0
        }
        (Decimal128(own, point), Decimal128(digits, scale), ..) => {
            let before = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            scale >= point && before(*digits, *scale) >= before(*own, *point)
        }
        (Float16, Float32 | Float64, ..) | (Float32, Float64, ..) => true,
        (Date32, Date64 | Timestamp(..), ..) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_type_has_every_value_of_the_narrower() {
        use DataType::{Date32, Decimal128, Float32, Float64, Int32, Int64, UInt32, UInt64, Utf8};
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (narrow, wide) in [
            (Int32, Int64),
            (UInt32, Int64),
            (Int32, Float64),
            (Float32, Float64),
            (Date32, time),
            (Int32, Decimal128(12, 2)),
            (Decimal128(10, 2), Decimal128(12, 3)),
        ] {
            assert!(widens(&narrow, &wide), "{narrow} to {wide}");
            assert!(!widens(&wide, &narrow), "{wide} to {narrow}");
        }
        assert!(!widens(&Int64, &Float64) && !widens(&UInt64, &Int64));
        assert!(!widens(&Int32, &Utf8) && !widens(&Int64, &Decimal128(18, 0)));
    }
}
