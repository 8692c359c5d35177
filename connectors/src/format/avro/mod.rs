//! Avro: Confluent's form, which puts a zero and the number of the writer's schema before each
//! message, or without a registry Avro's bytes alone, of one schema from a file.
//!
//! The reader's schema is that of `avro_schema_file`, else the subject's latest when the job
//! starts. A writer's schema that appears later is looked up and resolved to the columns: a field
//! that it lacks has the reader's default or is null, one that it adds is left out.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use async_trait::async_trait;
use weir_engine::error::{Error, Kind, Result, codes};

use self::schema::RecordSchema;
use self::writer::{HEADER_BYTES, Writer};
use super::block::{BlockDecoder, DecodeBlock, Opened, Rows, Trouble};
use super::messages::Messages;
use super::registry::{Language, Registered, Registry};
use super::{Decoder, DecoderFactory, SchemaId};

mod schema;
mod writer;

/// Writers' schemas that one decoder knows: a topic has a few.
const WRITERS_MAX: usize = 256;
/// The number of the only schema when there is no registry.
const ONLY: SchemaId = 0;

/// Makes Avro decoders.
#[derive(Debug)]
pub(super) struct AvroFactory {
    columns: SchemaRef,
    reader: Option<Arc<RecordSchema>>,
    registry: Option<Arc<Registry>>,
}

impl AvroFactory {
    /// Prepares: `file` is the text of the schema file, with its name.
    pub(super) async fn start(
        declared: Option<SchemaRef>,
        file: Option<(String, String)>,
        registry: Option<Arc<Registry>>,
    ) -> Result<Arc<dyn DecoderFactory>> {
        let reader = match (file, &registry) {
            (Some((name, text)), _) => Some((RecordSchema::parse(&text, &[]), name)),
            (None, Some(registry)) => registry.latest().await?.map(|latest| {
                let name = format!("schema {} of {}", latest.id, registry.subject());
                (parse(&latest), name)
            }),
            (None, None) => None,
        };
        let reader = match reader {
            Some((Ok(schema), _)) => Some(Arc::new(schema)),
            Some((Err(why), name)) => {
                return Err(unfit(format!("{name} cannot be used")).detail(why));
            }
            None => None,
        };
        let columns = match (declared, &reader) {
            (Some(declared), _) => declared,
            (None, Some(reader)) => writer::columns(reader)
                .map_err(|why| unfit("the schema gives no columns".to_owned()).detail(why))?,
            (None, None) => {
                let subject = registry.as_ref().map_or("", |registry| registry.subject());
                return Err(
                    unfit(format!("the schema registry has no subject \"{subject}\""))
                        .hint("declare the columns, or set schema_registry_subject"),
                );
            }
        };
        let made = Self {
            columns,
            reader,
            registry,
        };
        if let Some(reader) = &made.reader {
            // What does not fit the declared columns is told at once.
            Writer::plan(ONLY, reader, None, &made.columns).map_err(|why| {
                unfit("the schema does not fit the declared columns".to_owned()).detail(why)
            })?;
        }
        Ok(Arc::new(made))
    }
}

fn unfit(message: String) -> Error {
    Error::new(Kind::Invalid, codes::SCHEMA, message)
}

fn parse(schema: &Registered) -> Result<RecordSchema, String> {
    if schema.language != Language::Avro {
        return Err("it is not a schema of Avro".to_owned());
    }
    RecordSchema::parse(&schema.text, &schema.references)
}

impl DecoderFactory for AvroFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn is_changelog(&self) -> bool {
        false
    }

    fn create(&self, projection: &[usize]) -> Result<Box<dyn Decoder>> {
        let asked = Arc::new(self.columns.project(projection)?);
        let mut writers = HashMap::new();
        if let (None, Some(only)) = (&self.registry, &self.reader) {
            let writer = Writer::plan(ONLY, only, None, &asked).map_err(unfit)?;
            writers.insert(ONLY, Ok(writer));
        }
        Ok(Box::new(BlockDecoder::new(AvroBlock {
            asked,
            reader: self.reader.clone(),
            registry: self.registry.clone(),
            writers,
        })))
    }
}

#[derive(Debug)]
struct AvroBlock {
    asked: SchemaRef,
    reader: Option<Arc<RecordSchema>>,
    registry: Option<Arc<Registry>>,
    /// The known writers, and of those whose schema does not fit, why.
    writers: HashMap<SchemaId, Result<Writer, String>>,
}

/// The number of a message's schema.
fn number(message: &[u8]) -> Option<SchemaId> {
    let number: [u8; 4] = message.get(1..HEADER_BYTES)?.try_into().ok()?;
    (message.first() == Some(&0)).then(|| SchemaId::from_be_bytes(number))
}

#[async_trait]
impl DecodeBlock for AvroBlock {
    fn schema(&self) -> &SchemaRef {
        &self.asked
    }

    fn open(&mut self, value: &[u8]) -> Opened {
        if self.registry.is_none() {
            return Opened::Framed;
        }
        let Some(id) = number(value) else {
            let detail = "the message does not start with a zero and the number of a schema";
            return Opened::Bad("decode", detail.to_owned());
        };
        match self.writers.get(&id) {
            Some(Ok(_)) => Opened::Ready,
            Some(Err(why)) => Opened::Bad("schema", format!("schema {id}: {why}")),
            None => Opened::NeedsSchema(id),
        }
    }

    async fn learn(&mut self, id: SchemaId) -> Result<()> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let writer = match registry.by_id(id).await? {
            Some(schema) => parse(&schema)
                .and_then(|writer| Writer::plan(id, &writer, self.reader.as_deref(), &self.asked)),
            None => Err("the schema registry does not have it".to_owned()),
        };
        if self.writers.len() >= WRITERS_MAX {
            // Hostile numbers are forgotten first; a known writer is looked up again when needed.
            self.writers.retain(|_, writer| writer.is_ok());
        }
        if self.writers.len() >= WRITERS_MAX {
            let message = format!("the topic has messages of more than {WRITERS_MAX} schemas");
            return Err(Error::new(Kind::Limit, codes::LIMIT, message));
        }
        self.writers.insert(id, writer);
        Ok(())
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        let mut batches = Vec::new();
        let mut misfits = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let id = number(messages.get(start)).unwrap_or(ONLY);
            let rest = start..range.end;
            let same = rest.take_while(|at| number(messages.get(*at)) == Some(id));
            let end = start + same.count().max(1);
            let Some(Ok(writer)) = self.writers.get_mut(&id) else {
                return Err(Trouble::Said("schema", format!("schema {id} is not known")));
            };
            let (batch, lost) = writer.decode(messages, start..end)?;
            let before = start - range.start;
            misfits.extend(lost.into_iter().map(|(row, detail)| (row + before, detail)));
            batches.push(batch);
            start = end;
        }
        let batch = match batches.as_slice() {
            [batch] => batch.clone(),
            _ => concat_batches(&self.asked, &batches)?,
        };
        Ok(Rows {
            batch,
            positions: None,
            misfits,
            failed: Vec::new(),
        })
    }

    fn raw<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        match self.registry {
            Some(_) => message,
            None => message.get(HEADER_BYTES..).unwrap_or_default(),
        }
    }

    fn explain(&self, _message: &[u8], error: &ArrowError) -> (&'static str, String) {
        (
            "decode",
            format!("invalid Avro: {}", crate::file::json::words(error)),
        )
    }
}
