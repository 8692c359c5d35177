//! Raw: the bytes of the value as they are, in one column. A message without a value is a row
//! with NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;

use super::block::rejected;
use super::{Decoded, Decoder, Push, Record, Rejected, SchemaId};

/// Checks the declared columns; without any there is one, `value BYTEA`.
pub(super) fn schema(declared: Option<&SchemaRef>) -> Result<SchemaRef> {
    let Some(schema) = declared else {
        let value = Field::new("value", DataType::Binary, true);
        return Ok(Arc::new(Schema::new(vec![value])));
    };
    let fits = match schema.fields().as_ref() {
        [field] => matches!(field.data_type(), DataType::Binary | DataType::Utf8),
        _ => false,
    };
    if fits {
        return Ok(Arc::clone(schema));
    }
    let message = "format 'raw' has one column, of type BYTEA or VARCHAR";
    Err(Error::new(Kind::Invalid, codes::SCHEMA, message)
        .hint("declare one column; the key, offset and time of a message are METADATA columns"))
}

#[derive(Debug)]
enum Values {
    Bytes(BinaryBuilder),
    Texts(StringBuilder),
}

/// Puts values into a column.
#[derive(Debug)]
pub(super) struct RawDecoder {
    schema: SchemaRef,
    values: Values,
    origin: Vec<u32>,
    bytes: usize,
    rejected: Vec<Rejected>,
}

impl RawDecoder {
    /// Makes a decoder of the columns at `projection`: the one, or none.
    pub(super) fn new(columns: &SchemaRef, projection: &[usize]) -> Result<Self> {
        let is_text = columns
            .fields()
            .first()
            .is_some_and(|field| field.data_type() == &DataType::Utf8);
        Ok(Self {
            schema: Arc::new(columns.project(projection)?),
            values: if is_text {
                Values::Texts(StringBuilder::new())
            } else {
                Values::Bytes(BinaryBuilder::new())
            },
            origin: Vec::new(),
            bytes: 0,
            rejected: Vec::new(),
        })
    }
}

#[async_trait]
impl Decoder for RawDecoder {
    fn push(&mut self, record: Record<'_>, index: u32) -> Result<Push> {
        let value = record.value;
        let length = value.map_or(0, <[u8]>::len);
        if let Some(value) = value.filter(|_| length > limits::RECORD_BYTES_MAX) {
            let detail = format!(
                "the message is longer than {} bytes",
                limits::RECORD_BYTES_MAX
            );
            self.rejected.push(rejected(index, "decode", detail, value));
            return Ok(Push::Taken);
        }
        match &mut self.values {
            Values::Bytes(column) => column.append_option(value),
            Values::Texts(column) => match value.map(std::str::from_utf8).transpose() {
                Ok(text) => column.append_option(text),
                Err(error) => {
                    let detail = format!("invalid UTF-8 at byte {}", error.valid_up_to());
                    let value = value.unwrap_or_default();
                    self.rejected.push(rejected(index, "decode", detail, value));
                    return Ok(Push::Taken);
                }
            },
        }
        self.origin.push(index);
        self.bytes += length;
        Ok(Push::Taken)
    }

    async fn learn(&mut self, _schema: SchemaId) -> Result<()> {
        Ok(())
    }

    fn rows(&self) -> usize {
        self.origin.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn flush(&mut self) -> Result<Decoded> {
        let column: ArrayRef = match &mut self.values {
            Values::Bytes(column) => Arc::new(column.finish()),
            Values::Texts(column) => Arc::new(column.finish()),
        };
        let columns = self.schema.fields().iter().map(|_| Arc::clone(&column));
        let options = RecordBatchOptions::new().with_row_count(Some(self.origin.len()));
        let schema = Arc::clone(&self.schema);
        self.bytes = 0;
        Ok(Decoded {
            batch: RecordBatch::try_new_with_options(schema, columns.collect(), &options)?,
            origin: std::mem::take(&mut self.origin),
            rejected: std::mem::take(&mut self.rejected),
            skipped: 0,
        })
    }
}
