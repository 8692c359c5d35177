//! Arrow columns that take Protobuf's values.
//!
//! A field with presence (a message, `optional`, a member of a `oneof`) is null when it is not set;
//! one without has its default then. Enums are the names of their values, or the number of one
//! that the schema does not know.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder,
    Int64Builder, ListArray, MapArray, NullBufferBuilder, StringBuilder, StructArray,
    TimestampMicrosecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

/// Messages within messages: what refers to itself has no column.
const DEPTH_MAX: usize = 32;
/// Bytes of one text column of a batch: Arrow's offsets are 32 bits.
const TEXT_BYTES_MAX: usize = i32::MAX as usize - (64 << 20);

/// A column under construction.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    I32(Int32Builder),
    I64(Int64Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Enum(EnumDescriptor, StringBuilder),
    /// `google.protobuf.Timestamp`.
    Timestamp(TimestampMicrosecondBuilder),
    /// A wrapper such as `google.protobuf.Int64Value`: what is in it, or null.
    Wrapper(FieldDescriptor, Box<Column>),
    Struct(Row),
    List(Box<Column>, Vec<usize>, NullBufferBuilder),
    /// Keys and values.
    Map(Box<Column>, Box<Column>, Vec<usize>, NullBufferBuilder),
}

/// The columns of a message.
#[derive(Debug)]
pub(super) struct Row {
    members: Vec<(FieldDescriptor, Column)>,
    valid: NullBufferBuilder,
    rows: usize,
}

/// A value that its column does not take.
pub(super) type Misfit = String;

impl Row {
    /// Makes columns for some fields of a message.
    pub(super) fn new(
        fields: impl Iterator<Item = FieldDescriptor>,
        depth: usize,
    ) -> Result<Self, String> {
        let members = fields.map(|field| {
            let column = Column::of_field(&field, depth)?;
            Ok((field, column))
        });
        Ok(Self {
            members: members.collect::<Result<_, String>>()?,
            valid: NullBufferBuilder::new(0),
            rows: 0,
        })
    }

    /// The columns' names and types.
    pub(super) fn fields(&self) -> Fields {
        let members = self.members.iter();
        members
            .map(|(field, column)| Field::new(field.name(), column.data_type(), true))
            .collect()
    }

    /// Takes a message, or null.
    pub(super) fn append(&mut self, message: Option<&DynamicMessage>) -> Result<(), Misfit> {
        for (field, column) in &mut self.members {
            match message {
                Some(message) if !field.supports_presence() || message.has_field(field) => {
                    column.append(Some(&message.get_field(field)))?;
                }
                _ => column.append(None)?,
            }
        }
        self.valid.append(message.is_some());
        self.rows += 1;
        Ok(())
    }

    /// Gives the rows.
    pub(super) fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let fields = self.fields();
        let columns: Result<Vec<ArrayRef>, ArrowError> = self
            .members
            .iter_mut()
            .map(|(_, column)| column.finish())
            .collect();
        let rows = std::mem::take(&mut self.rows);
        StructArray::try_new_with_length(fields, columns?, self.valid.finish(), rows)
    }
}

impl Column {
    fn of_field(field: &FieldDescriptor, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "\"{}\" contains itself, which no column can",
                field.full_name()
            ));
        }
        if field.is_map()
            && let Kind::Message(entry) = field.kind()
        {
            let key = Self::of_kind(&entry.map_entry_key_field().kind(), depth + 1)?;
            let value = Self::of_kind(&entry.map_entry_value_field().kind(), depth + 1)?;
            return Ok(Self::Map(
                Box::new(key),
                Box::new(value),
                Vec::new(),
                NullBufferBuilder::new(0),
            ));
        }
        let one = Self::of_kind(&field.kind(), depth + 1)?;
        Ok(if field.is_list() {
            Self::List(Box::new(one), Vec::new(), NullBufferBuilder::new(0))
        } else {
            one
        })
    }

    fn of_kind(kind: &Kind, depth: usize) -> Result<Self, String> {
        Ok(match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Self::I32(Int32Builder::new()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Self::I64(Int64Builder::new()),
            Kind::Uint32 | Kind::Fixed32 => Self::U32(UInt32Builder::new()),
            Kind::Uint64 | Kind::Fixed64 => Self::U64(UInt64Builder::new()),
            Kind::Float => Self::F32(Float32Builder::new()),
            Kind::Double => Self::F64(Float64Builder::new()),
            Kind::String => Self::Text(StringBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Enum(names) => Self::Enum(names.clone(), StringBuilder::new()),
            Kind::Message(message) => Self::of_message(message, depth)?,
        })
    }

    fn of_message(message: &MessageDescriptor, depth: usize) -> Result<Self, String> {
        let name = message.full_name().strip_prefix("google.protobuf.");
        match (name, message.get_field(1)) {
            (Some("Timestamp"), _) => Ok(Self::Timestamp(TimestampMicrosecondBuilder::new())),
            (
                Some(
                    "BoolValue" | "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value"
                    | "FloatValue" | "DoubleValue" | "StringValue" | "BytesValue",
                ),
                Some(field),
            ) => {
                let inner = Self::of_kind(&field.kind(), depth + 1)?;
                Ok(Self::Wrapper(field, Box::new(inner)))
            }
            _ => Ok(Self::Struct(Row::new(message.fields(), depth + 1)?)),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Bool(_) => DataType::Boolean,
            Self::I32(_) => DataType::Int32,
            Self::I64(_) => DataType::Int64,
            Self::U32(_) => DataType::UInt32,
            Self::U64(_) => DataType::UInt64,
            Self::F32(_) => DataType::Float32,
            Self::F64(_) => DataType::Float64,
            Self::Text(_) | Self::Enum(..) => DataType::Utf8,
            Self::Bytes(_) => DataType::Binary,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Wrapper(_, inner) => inner.data_type(),
            Self::Struct(row) => DataType::Struct(row.fields()),
            Self::List(item, ..) => DataType::List(item_field(item)),
            Self::Map(key, value, ..) => DataType::Map(entries_field(key, value), false),
        }
    }

    fn append(&mut self, value: Option<&Value>) -> Result<(), Misfit> {
        match self {
            Self::Bool(column) => column.append_option(value.and_then(Value::as_bool)),
            Self::I32(column) => column.append_option(value.and_then(Value::as_i32)),
            Self::I64(column) => column.append_option(value.and_then(Value::as_i64)),
            Self::U32(column) => column.append_option(value.and_then(Value::as_u32)),
            Self::U64(column) => column.append_option(value.and_then(Value::as_u64)),
            Self::F32(column) => column.append_option(value.and_then(Value::as_f32)),
            Self::F64(column) => column.append_option(value.and_then(Value::as_f64)),
            Self::Text(column) => {
                let text = value.and_then(Value::as_str);
                check_room(column.values_slice().len(), text.map_or(0, str::len))?;
                column.append_option(text);
            }
            Self::Bytes(column) => {
                let bytes = value.and_then(Value::as_bytes);
                check_room(
                    column.values_slice().len(),
                    bytes.map_or(0, |bytes| bytes.len()),
                )?;
                column.append_option(bytes);
            }
            Self::Enum(names, column) => {
                let number = value.and_then(Value::as_enum_number);
                let named = number.map(|number| match names.get_value(number) {
                    Some(value) => value.name().to_owned(),
                    None => number.to_string(),
                });
                check_room(
                    column.values_slice().len(),
                    named.as_ref().map_or(0, String::len),
                )?;
                column.append_option(named);
            }
            Self::Timestamp(column) => {
                let message = value.and_then(Value::as_message);
                column.append_option(message.map(micros).transpose()?);
            }
            Self::Wrapper(field, inner) => match value.and_then(Value::as_message) {
                Some(message) => inner.append(Some(&message.get_field(field)))?,
                None => inner.append(None)?,
            },
            Self::Struct(row) => row.append(value.and_then(Value::as_message))?,
            Self::List(item, lengths, valid) => {
                let items = value.and_then(Value::as_list);
                for value in items.unwrap_or_default() {
                    item.append(Some(value))?;
                }
                lengths.push(items.map_or(0, <[Value]>::len));
                valid.append(value.is_some());
            }
            Self::Map(keys, values, lengths, valid) => {
                // In the order of the keys, so that the same message always gives the same row.
                let entries = value.and_then(Value::as_map);
                let mut entries: Vec<_> = entries.into_iter().flatten().collect();
                entries.sort_unstable_by_key(|entry| entry.0);
                for (key, value) in &entries {
                    keys.append(Some(&key_value(key)))?;
                    values.append(Some(value))?;
                }
                lengths.push(entries.len());
                valid.append(value.is_some());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(column) => Arc::new(column.finish()),
            Self::I32(column) => Arc::new(column.finish()),
            Self::I64(column) => Arc::new(column.finish()),
            Self::U32(column) => Arc::new(column.finish()),
            Self::U64(column) => Arc::new(column.finish()),
            Self::F32(column) => Arc::new(column.finish()),
            Self::F64(column) => Arc::new(column.finish()),
            Self::Text(column) | Self::Enum(_, column) => Arc::new(column.finish()),
            Self::Bytes(column) => Arc::new(column.finish()),
            Self::Timestamp(column) => Arc::new(column.finish()),
            Self::Wrapper(_, inner) => inner.finish()?,
            Self::Struct(row) => Arc::new(row.finish()?),
            Self::List(item, lengths, valid) => {
                let field = item_field(item);
                let offsets = OffsetBuffer::<i32>::from_lengths(lengths.drain(..));
                Arc::new(ListArray::try_new(
                    field,
                    offsets,
                    item.finish()?,
                    valid.finish(),
                )?)
            }
            Self::Map(keys, values, lengths, valid) => {
                let field = entries_field(keys, values);
                let offsets = OffsetBuffer::<i32>::from_lengths(lengths.drain(..));
                let columns = vec![keys.finish()?, values.finish()?];
                let entries = StructArray::try_new(entry_fields(keys, values), columns, None)?;
                Arc::new(MapArray::try_new(
                    field,
                    offsets,
                    entries,
                    valid.finish(),
                    false,
                )?)
            }
        })
    }
}

fn check_room(held: usize, more: usize) -> Result<(), Misfit> {
    if held + more > TEXT_BYTES_MAX {
        return Err("the texts of the messages are too long".to_owned());
    }
    Ok(())
}

fn item_field(item: &Column) -> FieldRef {
    Arc::new(Field::new("item", item.data_type(), true))
}

fn entry_fields(key: &Column, value: &Column) -> Fields {
    let key = Field::new("key", key.data_type(), false);
    Fields::from(vec![key, Field::new("value", value.data_type(), true)])
}

fn entries_field(key: &Column, value: &Column) -> FieldRef {
    let entries = DataType::Struct(entry_fields(key, value));
    Arc::new(Field::new("entries", entries, false))
}

fn key_value(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(key) => Value::Bool(*key),
        MapKey::I32(key) => Value::I32(*key),
        MapKey::I64(key) => Value::I64(*key),
        MapKey::U32(key) => Value::U32(*key),
        MapKey::U64(key) => Value::U64(*key),
        MapKey::String(key) => Value::String(key.clone()),
    }
}

/// The microseconds of a `google.protobuf.Timestamp`.
fn micros(message: &DynamicMessage) -> Result<i64, Misfit> {
    let seconds = message
        .get_field_by_number(1)
        .and_then(|value| value.as_i64());
    let nanos = message
        .get_field_by_number(2)
        .and_then(|value| value.as_i32());
    let micros = seconds.unwrap_or(0).checked_mul(1_000_000);
    let micros = micros
        .and_then(|micros| micros.checked_add(i64::from(nanos.unwrap_or(0)).div_euclid(1_000)));
    micros.ok_or_else(|| "a timestamp is out of range".to_owned())
}
