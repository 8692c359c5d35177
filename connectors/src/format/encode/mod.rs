//! Rows into messages: the value by the format, the key as a JSON object of the key columns.
//!
//! A changelog is written either as Debezium's envelopes, or as upserts: a row that takes another's
//! place is a message with its key, a row that goes is a message without a value. A retraction
//! that its new row follows at once is left out, since that row takes its place.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_engine::changelog::{self, RowKind};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use self::avro::AvroValues;
use self::debezium::DebeziumEncoder;
use self::text::{CsvValues, JsonValues, RawValues};
use super::registry::Registry;
use super::{EncodeRequest, Encoder, EncoderFactory, FormatName, FormatOptions, Message, SchemaId};

mod avro;
mod debezium;
mod text;

/// Makes the values of rows, one each.
trait Values: Debug + Send {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>>;
}

/// Prepares a format for a sink.
pub async fn encoder_factory(
    options: &FormatOptions,
    request: EncodeRequest,
    env: &Env,
) -> Result<Arc<dyn EncoderFactory>> {
    let is_changelog = changelog::is_changelog(&request.schema);
    let takes_changelog = request.upsert || options.format == FormatName::DebeziumJson;
    if is_changelog && !takes_changelog {
        let message = format!(
            "format '{}' cannot say that a row is updated or deleted",
            options.format.name()
        );
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .hint("use format 'debezium-json', or upserts with a key"));
    }
    if request.upsert && request.key.is_empty() {
        let message = "upserts need the columns of the key";
        return Err(Error::new(Kind::Invalid, codes::OPTION, message));
    }
    let rows = changelog::rows_schema(&request.schema);
    let avro = match (options.format, &options.registry) {
        (FormatName::Avro, Some(place)) => {
            let schema = avro::schema(&rows)?;
            let id = Registry::new(place, env)?.register(&schema).await?;
            Some((schema, id))
        }
        (FormatName::Avro, None) => return Err(options.lacks("the option \"schema_registry\"")),
        _ => None,
    };
    let factory = Factory {
        format: options.clone(),
        rows,
        avro,
        key: request.key,
        upsert: request.upsert,
    };
    factory.check()?;
    Ok(Arc::new(factory))
}

#[derive(Debug)]
struct Factory {
    format: FormatOptions,
    /// The rows without their kinds.
    rows: SchemaRef,
    /// The text and number of the registered schema.
    avro: Option<(String, SchemaId)>,
    key: Vec<usize>,
    upsert: bool,
}

impl Factory {
    /// Encodes a row of NULLs, since some types are refused only with the first row.
    fn check(&self) -> Result<()> {
        if self.avro.is_some() {
            // Its encoder is made for the types, and for where there may be NULLs.
            return self.create().map(drop);
        }
        let fields = self.rows.fields().iter();
        let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(nullable.collect::<Vec<Field>>()));
        let nulls = schema.fields().iter();
        let nulls = nulls.map(|field| new_null_array(field.data_type(), 1));
        let row = RecordBatch::try_new(Arc::clone(&schema), nulls.collect())?;
        self.create()?.encode(&row).map(drop)
    }
}

impl EncoderFactory for Factory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        let key = (!self.key.is_empty()).then(|| self.key.clone());
        let values: Box<dyn Values> = match self.format.format {
            FormatName::DebeziumJson => return Ok(Box::new(DebeziumEncoder { key })),
            FormatName::Json => Box::new(JsonValues),
            FormatName::Csv => Box::new(CsvValues::new(&self.format.text.csv)),
            FormatName::Raw => Box::new(RawValues::new(&self.rows)?),
            FormatName::Avro => match &self.avro {
                Some((schema, id)) => Box::new(AvroValues::new(&self.rows, schema, *id)?),
                None => return Err(Error::internal("the schema of a sink is not registered")),
            },
            FormatName::Protobuf => {
                let message = "no sink writes format 'protobuf'";
                return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message));
            }
        };
        Ok(Box::new(RowEncoder {
            values,
            key,
            upsert: self.upsert,
        }))
    }
}

/// Rows without their kinds, and the kinds if they are a changelog.
fn split(batch: &RecordBatch) -> Result<(RecordBatch, Option<Int8Array>)> {
    let (columns, kinds) = changelog::split(batch);
    let rows = changelog::rows_schema(&batch.schema());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let rows = RecordBatch::try_new_with_options(rows, columns.to_vec(), &options)?;
    Ok((rows, kinds.cloned()))
}

/// The keys of rows, if there are key columns.
fn keys(rows: &RecordBatch, key: Option<&[usize]>) -> Result<Vec<Option<Vec<u8>>>> {
    let Some(key) = key else {
        return Ok(vec![None; rows.num_rows()]);
    };
    let keys = JsonValues.encode(&rows.project(key)?)?;
    Ok(keys.into_iter().map(Some).collect())
}

/// Whether the row at `at` is a retraction whose new row, of the same key, follows at once.
fn is_replaced(kinds: &Int8Array, keys: &[Option<Vec<u8>>], at: usize) -> bool {
    let next = at + 1;
    let pair = next < kinds.len()
        && kinds.value(at) == RowKind::UpdateBefore.number()
        && kinds.value(next) == RowKind::UpdateAfter.number();
    let key = keys.get(at).and_then(Option::as_ref);
    pair && key.is_some() && key == keys.get(next).and_then(Option::as_ref)
}

/// One message per row.
#[derive(Debug)]
struct RowEncoder {
    values: Box<dyn Values>,
    key: Option<Vec<usize>>,
    upsert: bool,
}

impl Encoder for RowEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Message>> {
        let (rows, kinds) = split(batch)?;
        let keys = keys(&rows, self.key.as_deref())?;
        let values = self.values.encode(&rows)?;
        if keys.len() != rows.num_rows() || values.len() != rows.num_rows() {
            return Err(Error::internal("a row is not one message"));
        }
        let Some(kinds) = kinds.filter(|_| self.upsert) else {
            let both = keys.into_iter().zip(values);
            return Ok(both
                .map(|(key, value)| Message {
                    key,
                    value: Some(value),
                })
                .collect());
        };
        let holds = changelog::adds(Some(&kinds), values.len())?;
        let mut messages = Vec::with_capacity(values.len());
        for (at, (value, holds)) in values.into_iter().zip(holds).enumerate() {
            if is_replaced(&kinds, &keys, at) {
                continue;
            }
            messages.push(Message {
                key: keys.get(at).cloned().flatten(),
                value: holds.then_some(value),
            });
        }
        Ok(messages)
    }
}
