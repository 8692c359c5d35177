//! Makes the decoders of a source: checks or discovers the schema, reads schema files, asks the
//! registry.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_engine::deviation::{Deviations, OnChange};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use super::avro::AvroFactory;
use super::block::{BlockDecoder, Rescue};
use super::csv::CsvBlock;
use super::debezium::DebeziumBlock;
use super::json::JsonBlock;
use super::protobuf::ProtobufFactory;
use super::raw::{self, RawDecoder};
use super::registry::Registry;
use super::{Decoder, DecoderFactory, FormatName, FormatOptions};
use crate::store;

/// Bytes of a schema file: the largest known are far smaller.
const SCHEMA_FILE_BYTES_MAX: u64 = 4 << 20;

/// Prepares a format for a source: `schema` holds the declared physical columns, without metadata;
/// `None` asks for discovery, which only formats with a schema of their own can.
pub async fn decoder_factory(
    options: &FormatOptions,
    schema: Option<&SchemaRef>,
    env: &Env,
) -> Result<Arc<dyn DecoderFactory>> {
    let is_default = options.deviations == Deviations::default();
    if !is_default && !matches!(options.format, FormatName::Json | FormatName::Csv) {
        let what = "RESCUE, and ON SCHEMA CHANGE, of messages";
        let message = format!("{what} in format '{}'", options.format.name());
        return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .detail("such messages say nothing of single values that could be kept, or go by a schema of their own")
            .hint("ON PARSE ERROR FAIL, SKIP and QUARANTINE work with every format"));
    }
    let declared = schema.map(nullable);
    let need = || declared.clone().ok_or_else(|| undeclared(options.format));
    Ok(match options.format {
        FormatName::Json => Factory::start(Text::Json, options, need()?)?,
        FormatName::Csv => Factory::start(Text::Csv, options, need()?)?,
        FormatName::Raw => Factory::start(Text::Raw, options, raw::schema(declared.as_ref())?)?,
        FormatName::DebeziumJson => Factory::start(Text::Debezium, options, need()?)?,
        FormatName::Avro => {
            let file = match &options.avro_schema_file {
                Some(file) => Some((file.clone(), read(file, env).await?)),
                None => None,
            };
            if file.is_none() && options.registry.is_none() {
                return Err(options.lacks("the option \"schema_registry\" or \"avro_schema_file\""));
            }
            AvroFactory::start(declared, file, registry(options, env)?).await?
        }
        FormatName::Protobuf => {
            let (file, name) = (options.proto_file.as_deref(), options.proto_message.clone());
            if file.is_none() && options.registry.is_none() {
                return Err(options.lacks("the option \"schema_registry\" or \"proto_file\""));
            }
            ProtobufFactory::start(declared, file, name, registry(options, env)?, env).await?
        }
    })
}

fn registry(options: &FormatOptions, env: &Env) -> Result<Option<Arc<Registry>>> {
    let place = options.registry.as_ref();
    place.map(|place| Registry::new(place, env)).transpose()
}

/// Reads a schema file.
async fn read(path: &str, env: &Env) -> Result<String> {
    let at = PathBuf::from(path);
    let text = env.blocking(move || {
        let size = std::fs::metadata(&at)?.len();
        if size > SCHEMA_FILE_BYTES_MAX {
            return Err(std::io::Error::other("the file is too large for a schema"));
        }
        std::fs::read_to_string(&at)
    });
    text.await?.map_err(|error| store::io_error(error, path))
}

/// What a message lacks is null: NOT NULL is checked behind the decoder.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn undeclared(format: FormatName) -> Error {
    let message = format!("format '{}' has no schema of its own", format.name());
    Error::new(Kind::Invalid, codes::SCHEMA, message)
        .hint("declare the columns: CREATE SOURCE name (column type, ...) WITH (...)")
}

/// The formats that go by the declared columns alone.
#[derive(Debug, Clone, Copy)]
enum Text {
    Json,
    Csv,
    Raw,
    Debezium,
}

#[derive(Debug)]
struct Factory {
    format: Text,
    options: FormatOptions,
    schema: SchemaRef,
    /// Where the rescue column is among those of the schema.
    rescue: Option<usize>,
}

impl Factory {
    /// Makes a factory whose decoders can be made for all columns, so that a wrong type is told at
    /// once.
    fn start(
        format: Text,
        options: &FormatOptions,
        schema: SchemaRef,
    ) -> Result<Arc<dyn DecoderFactory>> {
        let options = options.clone();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let name = options.deviations.rescue.as_ref();
        let rescue = name.and_then(|name| schema.index_of(name).ok());
        let made = Self {
            format,
            options,
            schema,
            rescue,
        };
        made.create(&all)?;
        Ok(Arc::new(made))
    }
}

impl DecoderFactory for Factory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn is_changelog(&self) -> bool {
        matches!(self.format, Text::Debezium)
    }

    fn create(&self, projection: &[usize]) -> Result<Box<dyn Decoder>> {
        let text = &self.options.text;
        let (columns, projection, rescue) = self.rescue(projection)?;
        Ok(match self.format {
            Text::Json => {
                let asked = Arc::new(columns.project(&projection)?);
                let block = JsonBlock::new(&asked, text.timestamps.as_ref())?;
                Box::new(BlockDecoder::new(block).with_rescue(rescue))
            }
            Text::Csv => {
                let block = CsvBlock::new(&columns, &projection, text)?;
                Box::new(BlockDecoder::new(block).with_rescue(rescue))
            }
            Text::Raw => Box::new(RawDecoder::new(&columns, &projection)?),
            Text::Debezium => {
                let asked = Arc::new(columns.project(&projection)?);
                Box::new(BlockDecoder::new(DebeziumBlock::new(&asked)?))
            }
        })
    }
}

impl Factory {
    /// The columns of the messages, those of them that are to be decoded, and what is to be rescued. What
    /// is rescued is of all columns, whoever asks.
    fn rescue(&self, projection: &[usize]) -> Result<(SchemaRef, Vec<usize>, Rescue)> {
        let deviations = &self.options.deviations;
        let all = 0..self.schema.fields().len();
        let data: Vec<usize> = all.filter(|at| Some(*at) != self.rescue).collect();
        let columns: SchemaRef = Arc::new(self.schema.project(&data)?);
        let names = columns.fields().iter().map(|field| field.name().clone());
        let is_asked = projection.iter().any(|at| Some(*at) == self.rescue);
        let looks = match deviations.on_change {
            OnChange::Fail => true,
            OnChange::Rescue => is_asked,
            OnChange::Ignore | OnChange::Widen => false,
        };
        let looks = looks && matches!(self.format, Text::Json);
        let mut rescue = Rescue {
            records: deviations.rescues_records,
            unknown: looks.then(|| (deviations.on_change, names.collect())),
            column: None,
        };
        // Without the rescue column each one behind it is one place further on.
        let place = |at: &usize| match self.rescue {
            Some(rescue) if *at == rescue => data.len(),
            Some(rescue) if *at > rescue => at - 1,
            _ => *at,
        };
        let asked: Vec<usize> = projection.iter().map(place).collect();
        let name = deviations.rescue.clone().filter(|_| is_asked);
        let Some(name) = name else {
            return Ok((columns, asked, rescue));
        };
        rescue.column = Some((name, asked));
        Ok((columns, (0..data.len()).collect(), rescue))
    }
}
