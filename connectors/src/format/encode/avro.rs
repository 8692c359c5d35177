//! Values in Avro, with Confluent's header: a zero and the number of the schema, which is
//! registered when the sink starts.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_avro::schema::{AvroSchema, FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use serde_json::{Value, json};
use weir_engine::error::{Error, Kind, Result, codes};

use super::Values;
use crate::format::SchemaId;

/// The schema of rows, as it is registered. Columns that may be null have the default null, so that
/// a column can be added later without breaking who reads.
pub(super) fn schema(rows: &SchemaRef) -> Result<String> {
    let made = AvroSchema::try_from(rows.as_ref()).map_err(|error| refused(&error))?;
    let mut schema: Value = serde_json::from_str(&made.json_string)
        .map_err(|error| Error::internal("a schema of Avro is not JSON").caused_by(error))?;
    let fields = schema.get_mut("fields").and_then(Value::as_array_mut);
    for field in fields.into_iter().flatten() {
        let union = field.get("type").and_then(Value::as_array);
        let is_null_first = union.and_then(|union| union.first()) == Some(&json!("null"));
        if let (true, Some(field)) = (is_null_first, field.as_object_mut()) {
            field.entry("default").or_insert(Value::Null);
        }
    }
    Ok(schema.to_string())
}

fn refused(error: &dyn fmt::Display) -> Error {
    let message = "the rows cannot be written as Avro";
    Error::new(Kind::Invalid, codes::SCHEMA, message)
        .detail(error.to_string())
        .hint("CAST the column to a type that the format has, name it with letters, digits and _, or choose another format")
}

/// Encodes rows of one schema.
pub(super) struct AvroValues {
    encoder: Encoder,
    rows: SchemaRef,
}

impl fmt::Debug for AvroValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AvroValues").finish_non_exhaustive()
    }
}

impl AvroValues {
    /// Makes an encoder of rows under a registered schema.
    pub(super) fn new(rows: &SchemaRef, schema: &str, id: SchemaId) -> Result<Self> {
        let mut metadata = rows.metadata().clone();
        metadata.insert(SCHEMA_METADATA_KEY.to_owned(), schema.to_owned());
        let with_schema = Schema::new_with_metadata(rows.fields().clone(), metadata);
        let encoder = WriterBuilder::new(with_schema.clone())
            .with_fingerprint_strategy(FingerprintStrategy::Id(id))
            .build_encoder::<AvroSoeFormat>()
            .map_err(|error| refused(&error))?;
        Ok(Self {
            encoder,
            rows: with_schema.into(),
        })
    }
}

impl Values for AvroValues {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let rows = rows.clone().with_schema(SchemaRef::clone(&self.rows))?;
        self.encoder
            .encode(&rows)
            .map_err(|error| refused(&error))?;
        let encoded = self.encoder.flush();
        Ok(encoded.iter().map(|value| value.to_vec()).collect())
    }
}
