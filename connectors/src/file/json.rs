//! Decodes JSON lines with arrow's decoder: one object per line, unknown keys left out.

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_engine::Result;

use super::text::{DecodeText, trim_end};
use crate::rescue::{self, Rest};

/// Decodes objects into the given columns.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    /// The decoder for whole batches, and how many rows it takes.
    decoder: Decoder,
    rows: usize,
}

impl JsonDecoder {
    /// Makes a decoder for columns; an error means that JSON cannot give one of their types.
    pub(crate) fn new(fields: Fields, rows: usize) -> Result<Self, ArrowError> {
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        Ok(Self {
            decoder: build(&schema, rows)?,
            schema,
            rows,
        })
    }

    fn run(&mut self, block: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
        // The decoder takes at most the batch it was built for; one row more shows what is wrong.
        let used = self.decoder.decode(block)?;
        let whole = block
            .get(used..)
            .is_none_or(|rest| rest.iter().all(u8::is_ascii_whitespace));
        if !whole || self.decoder.has_partial_record() || self.decoder.len() != records {
            return Err(ArrowError::JsonError(
                "a line is not one whole object".to_owned(),
            ));
        }
        let batch = self.decoder.flush()?;
        batch.ok_or_else(|| ArrowError::JsonError("the line is empty".to_owned()))
    }
}

fn build(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows + 1)
        .with_coerce_primitive(true)
        .build_decoder()
}

impl DecodeText for JsonDecoder {
    fn decode(&mut self, block: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
        // Room for all rows of a batch is reserved at once: a few, looked at singly, need little.
        if records * 2 <= self.rows {
            let decoder = build(&self.schema, records)?;
            let mut few = Self {
                decoder,
                schema: Arc::clone(&self.schema),
                rows: records,
            };
            return few.run(block, records);
        }
        self.rows = self.rows.max(records);
        let result = self.run(block, records);
        if result.is_err() {
            // A failed decoder holds half a batch: it starts anew.
            self.decoder = build(&self.schema, self.rows)?;
        }
        result
    }

    fn salvage(&mut self, record: &[u8]) -> Result<(RecordBatch, Rest), ArrowError> {
        salvage(&self.schema, trim_end(record))
    }

    fn explain(&self, record: &[u8], error: &ArrowError) -> (&'static str, String) {
        explain("line", trim_end(record), error)
    }
}

/// Takes an object apart: the columns whose values fit, each by itself, and the values that don't.
pub(crate) fn salvage(
    schema: &SchemaRef,
    record: &[u8],
) -> Result<(RecordBatch, Rest), ArrowError> {
    let (mut columns, mut rest) = (Vec::new(), Rest::new());
    let mut object = rescue::object(record);
    for field in schema.fields() {
        let value = object
            .as_mut()
            .and_then(|object| object.remove(field.name()));
        let value = value.filter(|value| !value.is_null());
        let null = || new_null_array(field.data_type(), 1);
        let Some(value) = value else {
            columns.push(null());
            continue;
        };
        let one: Rest = [(field.name().clone(), value)].into_iter().collect();
        let text = serde_json::Value::Object(one.clone()).to_string();
        let fields: Fields = [Arc::clone(field)].into_iter().collect();
        match JsonDecoder::new(fields, 1)?.run(text.as_bytes(), 1) {
            Ok(batch) => columns.push(Arc::clone(batch.column(0))),
            Err(_) => {
                columns.push(null());
                rest.extend(one);
            }
        }
    }
    if object.is_none() {
        rest = rescue::raw(record);
    }
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &one)?;
    Ok((row, rest))
}

/// Says why a record, which is a `what`, cannot be decoded: the reason, and words for people.
pub(crate) fn explain(what: &str, record: &[u8], error: &ArrowError) -> (&'static str, String) {
    if let Err(error) = std::str::from_utf8(record) {
        return (
            "decode",
            format!("invalid UTF-8 at byte {}", error.valid_up_to()),
        );
    }
    match serde_json::from_slice::<serde_json::Value>(record) {
        Err(error) => ("decode", format!("invalid JSON: {error}")),
        Ok(value) if !value.is_object() => {
            ("decode", format!("the {what} is JSON but not an object"))
        }
        Ok(_) => (
            "value",
            format!("a value does not fit its column: {}", words(error)),
        ),
    }
}

/// The text of an error without the name of its kind.
pub(crate) fn words(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(text)
        | ArrowError::ParseError(text)
        | ArrowError::CsvError(text)
        | ArrowError::CastError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::AvroError(text)
        | ArrowError::InvalidArgumentError(text) => text.clone(),
        other => other.to_string(),
    }
}
