//! A column: the type of the server, the type of the source, and how one becomes the other.

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use tokio_postgres::types::Type;
use weir_engine::error::{Error, Kind, Result, codes};

/// A column of a table as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) name: String,
    /// The type's name in the catalog: `int4`; that of a domain is the type under it.
    pub(super) type_name: String,
    /// The type as people write it: `numeric(12,2)`.
    pub(super) shown: String,
    /// The modifier of the type.
    pub(super) modifier: i32,
}

/// A column as the source gives it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: FieldRef,
    pub(super) own: Own,
}

/// The types in which the server sends values; each Arrow type has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// A decimal, with so many digits behind the point, as text.
    Numeric(i8),
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Wire {
    /// The type for values of an Arrow type; `None` for those that no column can have.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int16 => Self::Int2,
            DataType::Int32 => Self::Int4,
            DataType::Int64 => Self::Int8,
            DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal128(_, scale) if *scale >= 0 => Self::Numeric(*scale),
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Bytea,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Nanosecond | TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            _ => return None,
        })
    }

    /// The array of such values as a parameter.
    pub(super) fn array(self) -> Type {
        match self {
            Self::Bool => Type::BOOL_ARRAY,
            Self::Int2 => Type::INT2_ARRAY,
            Self::Int4 => Type::INT4_ARRAY,
            Self::Int8 => Type::INT8_ARRAY,
            Self::Float4 => Type::FLOAT4_ARRAY,
            Self::Float8 => Type::FLOAT8_ARRAY,
            Self::Numeric(_) | Self::Text => Type::TEXT_ARRAY,
            Self::Bytea => Type::BYTEA_ARRAY,
            Self::Date => Type::DATE_ARRAY,
            Self::Time => Type::TIME_ARRAY,
            Self::Timestamp => Type::TIMESTAMP_ARRAY,
            Self::TimestampTz => Type::TIMESTAMPTZ_ARRAY,
        }
    }

    /// The server's types all of whose values it can hold.
    fn takes(self, own: &str) -> bool {
        match self {
            Self::Bool => own == "bool",
            Self::Int2 => own == "int2",
            Self::Int4 => ["int2", "int4"].contains(&own),
            Self::Int8 => ["int2", "int4", "int8", "oid"].contains(&own),
            Self::Float4 => own == "float4",
            // Decimals are rounded, which who declares DOUBLE asks for.
            Self::Float8 => ["float4", "float8", "int2", "int4", "numeric"].contains(&own),
            Self::Numeric(_) => ["numeric", "int2", "int4", "int8"].contains(&own),
            Self::Text => true,
            Self::Bytea => own == "bytea",
            Self::Date => own == "date",
            Self::Time => own == "time",
            Self::Timestamp | Self::TimestampTz => {
                ["timestamp", "timestamptz", "date"].contains(&own)
            }
        }
    }
}

/// A name as a part of a query.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Own {
    /// The Arrow type of a column that is not declared.
    pub(super) fn data_type(&self) -> DataType {
        match self.type_name.as_str() {
            "bool" => DataType::Boolean,
            "int2" => DataType::Int16,
            "int4" => DataType::Int32,
            "int8" | "oid" => DataType::Int64,
            "float4" => DataType::Float32,
            "float8" => DataType::Float64,
            "numeric" => self.decimal().unwrap_or(DataType::Utf8),
            "bytea" => DataType::Binary,
            "date" => DataType::Date32,
            "time" => DataType::Time64(TimeUnit::Nanosecond),
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }

    /// The decimal of a `numeric(p, s)`; one without bounds has none.
    fn decimal(&self) -> Option<DataType> {
        let modifier = self
            .modifier
            .checked_sub(4)
            .filter(|modifier| *modifier >= 0)?;
        let precision = u8::try_from(modifier >> 16).ok()?;
        // The scale has 11 bits, the highest of which is its sign.
        let scale = i8::try_from(modifier & 0x7ff).ok()?;
        let fits = (1..=38).contains(&precision) && i16::from(scale) <= i16::from(precision);
        fits.then_some(DataType::Decimal128(precision, scale))
    }
}

impl Column {
    /// Checks that a column's values fit into a declared type.
    pub(super) fn new(field: FieldRef, own: Own) -> Result<Self> {
        let wire = Wire::of(field.data_type());
        if wire.is_some_and(|wire| wire.takes(&own.type_name)) {
            return Ok(Self { field, own });
        }
        let fitting = own.data_type();
        Err(Error::new(
            Kind::Invalid,
            codes::TYPE,
            format!(
                "column \"{}\" is {} in the table, which cannot be read as {}",
                own.name,
                own.shown,
                field.data_type()
            ),
        )
        .hint(format!(
            "declare it as {fitting}, or as VARCHAR to read its text"
        )))
    }

    /// How the server sends its values.
    pub(super) fn wire(&self) -> Wire {
        Wire::of(self.field.data_type()).unwrap_or(Wire::Text)
    }

    /// The column as an expression over the table `t`, in the type of [`Column::wire`].
    pub(super) fn select(&self) -> String {
        let name = quoted(&self.own.name);
        let cast = match self.wire() {
            Wire::Bool => "bool",
            Wire::Int2 => "int2",
            Wire::Int4 => "int4",
            Wire::Int8 => "int8",
            Wire::Float4 => "float4",
            Wire::Float8 => "float8",
            Wire::Numeric(scale) => return format!("round(t.{name}::numeric, {scale})::text"),
            Wire::Text => "text",
            Wire::Bytea => "bytea",
            Wire::Date => "date",
            Wire::Time => "time",
            Wire::Timestamp => "timestamp",
            Wire::TimestampTz => "timestamptz",
        };
        format!("t.{name}::{cast}")
    }

    /// The condition that the column has the value of a parameter: in a form that an index over the
    /// column serves, wherever the types have one.
    pub(super) fn is(&self, key: &str) -> String {
        let name = quoted(&self.own.name);
        match (self.wire(), self.own.type_name.as_str()) {
            (Wire::Numeric(_), _) => format!("t.{name} = {key}::numeric"),
            (Wire::Text, "text" | "varchar" | "name") => format!("t.{name} = {key}"),
            (Wire::Text, "bpchar") => format!("t.{name} = {key}::bpchar"),
            (Wire::Text, "uuid") => format!("t.{name} = {key}::uuid"),
            (Wire::Text, _) => format!("t.{name}::text = {key}"),
            _ => format!("t.{name} = {key}"),
        }
    }
}
