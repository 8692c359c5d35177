//! JSON: one object per message, decoded with arrow's decoder; unknown keys are left out.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use super::block::{DecodeBlock, Rows, Trouble};
use super::messages::Messages;
use super::shape::Shape;
use crate::file::config::TimestampFormat;
use crate::file::json::{explain, words};

/// Decodes objects into the asked columns.
#[derive(Debug)]
pub(super) struct JsonBlock {
    objects: Objects,
    asked: SchemaRef,
    shape: Shape,
}

impl JsonBlock {
    /// Makes a decoder of the asked columns; an error means that JSON cannot give one of them.
    pub(super) fn new(asked: &SchemaRef, timestamps: Option<&TimestampFormat>) -> Result<Self> {
        let as_read = |data_type: &DataType| match data_type {
            // Timestamps in a form of their own are decoded as text first.
            DataType::Timestamp(..) if timestamps.is_some() => DataType::Utf8,
            other => other.clone(),
        };
        let fields: Fields = asked
            .fields()
            .iter()
            .map(|field| {
                let data_type = as_read(field.data_type());
                field.as_ref().clone().with_data_type(data_type)
            })
            .collect();
        let shape = Shape::plan(asked, &fields, timestamps).map_err(refused)?;
        let objects = Objects::new(fields).map_err(|error| refused(words(&error)))?;
        Ok(Self {
            objects,
            asked: Arc::clone(asked),
            shape,
        })
    }
}

fn refused(why: String) -> Error {
    let message = format!("JSON cannot give the declared columns: {why}");
    Error::new(Kind::Invalid, codes::TYPE, message)
}

impl DecodeBlock for JsonBlock {
    fn schema(&self) -> &SchemaRef {
        &self.asked
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        let values = range.map(|position| messages.get(position));
        let batch = self.objects.decode(values)?;
        let (batch, misfits) = self.shape.apply(&batch)?;
        Ok(Rows {
            batch,
            positions: None,
            misfits,
        })
    }

    fn explain(&self, message: &[u8], error: &ArrowError) -> (&'static str, String) {
        explain("message", message, error)
    }
}

/// The rows for which a decoder is made at least.
const ROWS_MIN: usize = 64;

/// Decodes texts of one whole object each.
#[derive(Debug)]
pub(super) struct Objects {
    schema: SchemaRef,
    /// The decoder for whole batches, and how many rows it takes.
    decoder: Decoder,
    rows: usize,
}

impl Objects {
    /// Makes a decoder of columns.
    pub(super) fn new(fields: Fields) -> Result<Self, ArrowError> {
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        Ok(Self {
            decoder: build(&schema, ROWS_MIN)?,
            schema,
            rows: ROWS_MIN,
        })
    }

    /// Decodes the texts, a row each; fails if one of them is not one whole object.
    pub(super) fn decode<'a>(
        &mut self,
        texts: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<RecordBatch, ArrowError> {
        let count = texts.len();
        // Room for all rows is reserved at once: a few, looked at singly, need little.
        if count.max(ROWS_MIN) * 2 <= self.rows {
            return run(&mut build(&self.schema, count)?, texts);
        }
        if count > self.rows {
            self.rows = count.next_power_of_two();
            self.decoder = build(&self.schema, self.rows)?;
        }
        let result = run(&mut self.decoder, texts);
        if result.is_err() {
            // A failed decoder holds half a batch: it starts anew.
            self.decoder = build(&self.schema, self.rows)?;
        }
        result
    }
}

fn run<'a>(
    decoder: &mut Decoder,
    texts: impl Iterator<Item = &'a [u8]>,
) -> Result<RecordBatch, ArrowError> {
    for (done, text) in texts.enumerate() {
        let used = decoder.decode(text)?;
        // The decoder stops before an object for which it has no room.
        let rest = text.get(used..).unwrap_or_default();
        let whole = rest.iter().all(u8::is_ascii_whitespace);
        if !whole || decoder.has_partial_record() || decoder.len() != done + 1 {
            return Err(ArrowError::JsonError(
                "the message is not one whole object".to_owned(),
            ));
        }
    }
    let batch = decoder.flush()?;
    batch.ok_or_else(|| ArrowError::JsonError("there is no message".to_owned()))
}

/// One row more than is wanted shows a message with two objects.
fn build(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows + 1)
        .with_coerce_primitive(true)
        .build_decoder()
}
