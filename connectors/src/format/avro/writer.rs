//! Decodes the messages of one writer's schema into the asked columns, by Avro's rules of
//! resolution.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use serde_json::Value;

use super::super::block::Trouble;
use super::super::messages::Messages;
use super::super::shape::Shape;
use super::schema::{RecordSchema, has_default};

/// Rows for which a decoder is made at most: what it reserves is small.
const ROWS_MAX: usize = 1 << 20;

/// Bytes before Avro's own: a zero and the schema's number.
pub(super) const HEADER_BYTES: usize = 5;

/// The decoder of one writer's messages.
#[derive(Debug)]
pub(super) struct Writer {
    /// The number that its messages are put before, whatever theirs is.
    builder: Builder,
    decoder: Decoder,
    shape: Shape,
}

/// What it takes to make a decoder: a failed one holds half a row.
#[derive(Debug)]
struct Builder {
    id: u32,
    writer: String,
    reader: String,
}

impl Writer {
    /// Plans the decoding of a writer's messages into the asked columns. An error text says why
    /// they don't fit.
    pub(super) fn plan(
        id: u32,
        writer: &RecordSchema,
        reader: Option<&RecordSchema>,
        asked: &SchemaRef,
    ) -> Result<Self, String> {
        let build = |of: &RecordSchema, fields: Vec<Value>| {
            let builder = Builder {
                id,
                writer: writer.text(),
                reader: of.with_fields(fields),
            };
            Self::with_builder(builder, asked)
        };
        // The reader's schema gives defaults and aliases. Where the two don't resolve, as when a
        // type was narrowed, the writer's values are cast to the declared columns instead.
        let resolved = reader.and_then(|reader| {
            let fields = fields(writer, Some(reader), asked);
            build(reader, fields).ok()
        });
        match resolved {
            Some(resolved) => Ok(resolved),
            None => build(writer, fields(writer, None, asked)),
        }
    }

    fn with_builder(builder: Builder, asked: &SchemaRef) -> Result<Self, String> {
        let decoder = builder.build().map_err(|error| error.to_string())?;
        let shape = Shape::plan(asked, decoder.schema().fields(), None)?;
        Ok(Self {
            builder,
            decoder,
            shape,
        })
    }

    /// Decodes messages of this writer, each with its header.
    pub(super) fn decode(
        &mut self,
        messages: &Messages,
        range: Range<usize>,
    ) -> Result<(RecordBatch, Vec<(usize, String)>), Trouble> {
        let result = self.run(messages, range);
        if result.is_err() {
            self.decoder = self.builder.build()?;
        }
        Ok(self.shape.apply(&result?)?)
    }

    fn run(&mut self, messages: &Messages, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
        for position in range {
            let message = messages.get(position);
            let room = self.decoder.capacity();
            let used = self.decoder.decode(message);
            let is_whole = self.decoder.capacity() + 1 == room;
            match used {
                Ok(used) if is_whole && used == message.len() => {}
                // It goes on behind the record as if another message followed.
                _ if self.decoder.capacity() < room => {
                    let why = "there are bytes behind the record";
                    return Err(ArrowError::AvroError(why.to_owned()));
                }
                Ok(_) => {
                    let why = "the record is cut short";
                    return Err(ArrowError::AvroError(why.to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let batch = self.decoder.flush()?;
        batch.ok_or_else(|| ArrowError::AvroError("there is no message".to_owned()))
    }
}

impl Builder {
    fn build(&self) -> Result<Decoder, ArrowError> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let number = Fingerprint::Id(self.id);
        store.set(number, AvroSchema::new(self.writer.clone()))?;
        ReaderBuilder::new()
            .with_batch_size(ROWS_MAX)
            .with_writer_schema_store(store)
            .with_active_fingerprint(number)
            .with_reader_schema(AvroSchema::new(self.reader.clone()))
            .build_decoder()
    }
}

/// The fields to decode for the asked columns.
fn fields(writer: &RecordSchema, reader: Option<&RecordSchema>, asked: &SchemaRef) -> Vec<Value> {
    let mut fields: Vec<Value> = Vec::with_capacity(asked.fields().len());
    for column in asked.fields() {
        let name = column.name();
        let written = writer.field(name);
        let read = reader.and_then(|reader| reader.field(name));
        let read = read.filter(|field| {
            let aliases = field.get("aliases").and_then(Value::as_array);
            let aliases = aliases.into_iter().flatten().filter_map(Value::as_str);
            let mut names = aliases.chain(field.get("name").and_then(Value::as_str));
            has_default(field) || names.any(|name| writer.names().any(|known| known == name))
        });
        // A missing column is null.
        if let Some(field) = read.or(written)
            && !fields.contains(field)
        {
            fields.push(field.clone());
        }
    }
    if fields.is_empty() {
        // Rows without columns have no number.
        fields.extend(writer.first().cloned());
    }
    fields
}

/// A schema that has the columns, each of the usual type of its field.
pub(super) fn columns(record: &RecordSchema) -> Result<SchemaRef, String> {
    let builder = Builder {
        id: 0,
        writer: record.text(),
        reader: record.text(),
    };
    let decoder = builder.build().map_err(|error| error.to_string())?;
    let schema = decoder.schema();
    let fields = schema.fields().iter();
    let fields = fields.map(|field| crate::file::columns::plain_field(field));
    Ok(Arc::new(arrow::datatypes::Schema::new(
        fields.collect::<Vec<_>>(),
    )))
}
