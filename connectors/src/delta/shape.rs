//! Rows as a table has them: its types are fewer than ours.

use std::sync::Arc;

use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use weir_engine::error::{Error, Kind, Result, codes};

/// A value that does not fit is an error and never NULL.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// The type that a column of this type has in a table.
fn of(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| Arc::new(as_stored(field));
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        DataType::Dictionary(_, value) => of(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

/// Columns may be NULL in a table, whatever today's query says.
fn as_stored(field: &Field) -> Field {
    Field::new(field.name(), of(field.data_type()), true)
}

/// The columns that rows of this schema have in a table.
pub(super) fn schema(rows: &Schema) -> SchemaRef {
    let fields = rows.fields().iter().map(|field| as_stored(field));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Gives rows the types of the table.
pub(super) fn fit(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &STRICT).map_err(|e| {
            Error::new(
                Kind::Data,
                codes::SCHEMA,
                format!("a value of \"{}\" does not fit the table", field.name()),
            )
            .detail(e.to_string())
        })
    });
    Ok(RecordBatch::try_new(
        Arc::clone(schema),
        columns.collect::<Result<_>>()?,
    )?)
}
