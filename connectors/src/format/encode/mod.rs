//! Rows into messages: the value by the format, the key as a JSON object of the key columns.
//!
//! A changelog is written either as Debezium's envelopes, or as upserts: a row that takes another's
//! place is a message with its key, a row that goes is a message without a value. A retraction
//! that its new row follows at once is left out, since that row takes its place.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{AsArray, Int8Array, RecordBatch, new_null_array};
use arrow::datatypes::{Field, Int8Type, Schema, SchemaRef};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use self::debezium::DebeziumEncoder;
use self::text::{CsvValues, JsonValues, RawValues};
use super::{EncodeRequest, Encoder, EncoderFactory, FormatName, FormatOptions, Message};

mod debezium;
mod text;

/// The column of row kinds, the last of a changelog.
pub(super) const OP_COLUMN: &str = "_op";
/// A new row.
pub(super) const INSERT: i8 = 0;
/// A row that another takes the place of.
pub(super) const UPDATE_BEFORE: i8 = 1;
/// The row that takes the place.
pub(super) const UPDATE_AFTER: i8 = 2;
/// A row that goes.
pub(super) const DELETE: i8 = 3;

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
    let fields = request.schema.fields();
    let is_changelog = fields.last().is_some_and(|last| last.name() == OP_COLUMN);
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
    drop(env.clone());
    let width = fields.len() - usize::from(is_changelog);
    let all: Vec<usize> = (0..width).collect();
    let factory = Factory {
        format: options.clone(),
        rows: Arc::new(request.schema.project(&all)?),
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
    key: Vec<usize>,
    upsert: bool,
}

impl Factory {
    /// Encodes a row of NULLs, since some types are refused only with the first row.
    fn check(&self) -> Result<()> {
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
            FormatName::Avro | FormatName::Protobuf => {
                let name = self.format.format.name();
                let message = format!("no sink writes format '{name}'");
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
    let last = batch.num_columns().saturating_sub(1);
    let schema = batch.schema();
    let Some(_) = schema.fields().last().filter(|f| f.name() == OP_COLUMN) else {
        return Ok((batch.clone(), None));
    };
    let Some(kinds) = batch.column(last).as_primitive_opt::<Int8Type>() else {
        return Err(Error::internal("the kinds of rows are not Int8"));
    };
    let all: Vec<usize> = (0..last).collect();
    Ok((batch.project(&all)?, Some(kinds.clone())))
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
    let pair =
        next < kinds.len() && kinds.value(at) == UPDATE_BEFORE && kinds.value(next) == UPDATE_AFTER;
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
        let mut messages = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            if is_replaced(&kinds, &keys, at) {
                continue;
            }
            let holds = matches!(kinds.value(at), INSERT | UPDATE_AFTER);
            messages.push(Message {
                key: keys.get(at).cloned().flatten(),
                value: holds.then_some(value),
            });
        }
        Ok(messages)
    }
}
