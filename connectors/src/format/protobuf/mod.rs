//! Protobuf: Confluent's form, which puts a zero, the number of the schema and the path of the
//! message type before each message, or without a registry the bytes alone, of one type of a
//! `.proto` file.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use self::column::Row;
use super::block::{BlockDecoder, DecodeBlock, Opened, Rows, Trouble};
use super::messages::Messages;
use super::registry::{Language, Registered, Registry};
use super::shape::Shape;
use super::{Decoder, DecoderFactory, SchemaId};
use crate::file::columns::position;

mod column;
mod descriptor;

/// Schemas, and message types of them, that one decoder knows: a topic has a few.
const TYPES_MAX: usize = 256;

/// Makes Protobuf decoders.
#[derive(Debug)]
pub(super) struct ProtobufFactory {
    columns: SchemaRef,
    /// The only type when there is no registry.
    only: Option<MessageDescriptor>,
    /// The type that `proto_message` names.
    name: Option<String>,
    registry: Option<Arc<Registry>>,
}

impl ProtobufFactory {
    /// Prepares: reads the file, or asks the registry for the latest schema.
    pub(super) async fn start(
        declared: Option<SchemaRef>,
        file: Option<&str>,
        name: Option<String>,
        registry: Option<Arc<Registry>>,
        env: &Env,
    ) -> Result<Arc<dyn DecoderFactory>> {
        let found = match (&registry, file) {
            (Some(registry), _) => registry.latest().await?.map(|latest| {
                compile(&latest).and_then(|file| descriptor::message(&file, name.as_deref()))
            }),
            (None, Some(file)) => {
                let (path, name) = (PathBuf::from(file), name.clone());
                let compiled = env.blocking(move || {
                    descriptor::of_file(&path)
                        .and_then(|file| descriptor::message(&file, name.as_deref()))
                });
                Some(compiled.await?)
            }
            (None, None) => None,
        };
        let message = found.transpose().map_err(|why| {
            unfit("the definition of the messages cannot be used".to_owned()).detail(why)
        })?;
        let columns = match (declared, &message) {
            (Some(declared), _) => declared,
            (None, Some(message)) => {
                let row = Row::new(message.fields(), 0);
                let row = row.map_err(|why| {
                    unfit(format!(
                        "the message {} gives no columns",
                        message.full_name()
                    ))
                    .detail(why)
                    .hint("declare the columns that are wanted")
                })?;
                Arc::new(Schema::new(row.fields()))
            }
            (None, None) => {
                let subject = registry.as_ref().map_or("", |registry| registry.subject());
                return Err(
                    unfit(format!("the schema registry has no subject \"{subject}\""))
                        .hint("declare the columns, or set schema_registry_subject"),
                );
            }
        };
        if let Some(message) = &message {
            // What does not fit the declared columns is told at once.
            Type::plan(message, &columns).map_err(|why| {
                unfit("the messages do not fit the declared columns".to_owned()).detail(why)
            })?;
        }
        Ok(Arc::new(Self {
            columns,
            only: message.filter(|_| registry.is_none()),
            name,
            registry,
        }))
    }
}

fn unfit(message: String) -> Error {
    Error::new(Kind::Invalid, codes::SCHEMA, message)
}

fn compile(schema: &Registered) -> Result<FileDescriptor, String> {
    if schema.language != Language::Protobuf {
        return Err("it is not a schema of Protobuf".to_owned());
    }
    descriptor::of_text(&schema.text, &schema.references)
}

impl DecoderFactory for ProtobufFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn is_changelog(&self) -> bool {
        false
    }

    fn create(&self, projection: &[usize]) -> Result<Box<dyn Decoder>> {
        let asked: SchemaRef = Arc::new(self.columns.project(projection)?);
        let only = self
            .only
            .as_ref()
            .map(|message| Type::plan(message, &asked));
        Ok(Box::new(BlockDecoder::new(ProtobufBlock {
            only: only.transpose().map_err(unfit)?,
            asked,
            name: self.name.clone(),
            registry: self.registry.clone(),
            files: HashMap::new(),
            types: HashMap::new(),
        })))
    }
}

/// The decoding of one message type.
#[derive(Debug)]
struct Type {
    message: MessageDescriptor,
    asked: SchemaRef,
    row: Row,
    shape: Shape,
}

impl Type {
    /// Plans the asked columns; an error text says why one does not fit.
    fn plan(message: &MessageDescriptor, asked: &SchemaRef) -> Result<Self, String> {
        let names: Vec<arrow::datatypes::Field> = message
            .fields()
            .map(|field| {
                arrow::datatypes::Field::new(field.name(), arrow::datatypes::DataType::Null, true)
            })
            .collect();
        let names = names.into();
        let mut read: Vec<usize> = asked
            .fields()
            .iter()
            .filter_map(|column| position(&names, column.name()))
            .collect();
        read.sort_unstable();
        read.dedup();
        let fields = message.fields().enumerate();
        let fields = fields.filter(|(at, _)| read.binary_search(at).is_ok());
        let row = Row::new(fields.map(|(_, field)| field), 0)?;
        let shape = Shape::plan(asked, &row.fields(), None)?;
        Ok(Self {
            message: message.clone(),
            asked: Arc::clone(asked),
            row,
            shape,
        })
    }

    fn decode<'a>(
        &mut self,
        messages: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(RecordBatch, Vec<(usize, String)>), Trouble> {
        for message in messages {
            let taken = DynamicMessage::decode(self.message.clone(), message)
                .map_err(|error| Trouble::Said("decode", format!("invalid Protobuf: {error}")))
                .and_then(|message| {
                    let taken = self.row.append(Some(&message));
                    taken.map_err(|why| Trouble::Said("value", why))
                });
            if let Err(trouble) = taken {
                // Half a row may be in the columns: they start anew.
                *self = Self::plan(&self.message, &self.asked)
                    .map_err(|why| Trouble::Said("schema", why))?;
                return Err(trouble);
            }
        }
        let rows = RecordBatch::from(self.row.finish()?);
        Ok(self.shape.apply(&rows)?)
    }
}

/// What names the type of a message: the number of its schema, and its path in it.
type TypeKey = (SchemaId, Vec<usize>);

#[derive(Debug)]
struct ProtobufBlock {
    asked: SchemaRef,
    only: Option<Type>,
    name: Option<String>,
    registry: Option<Arc<Registry>>,
    /// The known schemas, and of those that cannot be used, why.
    files: HashMap<SchemaId, Result<FileDescriptor, String>>,
    types: HashMap<TypeKey, Type>,
}

impl ProtobufBlock {
    /// Plans a type on its first message; an error text says why its messages are wrong.
    fn know(&mut self, key: &TypeKey) -> Result<(), String> {
        if self.types.contains_key(key) {
            return Ok(());
        }
        let (id, path) = key;
        let file = match self.files.get(id) {
            Some(Ok(file)) => file,
            Some(Err(why)) => return Err(format!("schema {id}: {why}")),
            None => return Err(format!("schema {id} is not known")),
        };
        let Some(message) = descriptor::at(file, path) else {
            return Err(format!("schema {id} has no message type at {path:?}"));
        };
        let full_name = message.full_name();
        if let Some(name) = &self.name
            && full_name != name
            && full_name
                .rsplit_once('.')
                .is_none_or(|(_, last)| last != name)
        {
            return Err(format!("the message is a {full_name}, not a {name}"));
        }
        if self.types.len() >= TYPES_MAX {
            return Err(format!(
                "the topic has messages of more than {TYPES_MAX} types"
            ));
        }
        let planned = Type::plan(&message, &self.asked)?;
        self.types.insert(key.clone(), planned);
        Ok(())
    }
}

#[async_trait]
impl DecodeBlock for ProtobufBlock {
    fn schema(&self) -> &SchemaRef {
        &self.asked
    }

    fn open(&mut self, value: &[u8]) -> Opened {
        if self.registry.is_none() {
            return Opened::Ready;
        }
        let Some((id, path, _)) = descriptor::header(value) else {
            let detail = "the message does not start with a zero, the number of a schema and the place of its type";
            return Opened::Bad("decode", detail.to_owned());
        };
        if !self.files.contains_key(&id) {
            return Opened::NeedsSchema(id);
        }
        match self.know(&(id, path)) {
            Ok(()) => Opened::Ready,
            Err(why) => Opened::Bad("schema", why),
        }
    }

    async fn learn(&mut self, id: SchemaId) -> Result<()> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let file = match registry.by_id(id).await? {
            Some(schema) => compile(&schema),
            None => Err("the schema registry does not have it".to_owned()),
        };
        if self.files.len() >= TYPES_MAX {
            // Hostile numbers are forgotten first; a known one is looked up again when needed.
            self.files.retain(|_, file| file.is_ok());
        }
        if self.files.len() >= TYPES_MAX {
            let message = format!("the topic has messages of more than {TYPES_MAX} schemas");
            return Err(Error::new(Kind::Limit, codes::LIMIT, message));
        }
        self.files.insert(id, file);
        Ok(())
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        if let Some(only) = &mut self.only {
            let (batch, misfits) = only.decode(range.map(|at| messages.get(at)))?;
            return Ok(Rows {
                batch,
                positions: None,
                misfits,
                failed: Vec::new(),
            });
        }
        let mut runs: Vec<(TypeKey, Vec<&[u8]>)> = Vec::new();
        for at in range {
            let message = messages.get(at);
            let Some((id, path, length)) = descriptor::header(message) else {
                return Err(Trouble::Said(
                    "decode",
                    "the message has no header".to_owned(),
                ));
            };
            let body = message.get(length..).unwrap_or_default();
            match runs.last_mut() {
                Some((key, run)) if *key == (id, path.clone()) => run.push(body),
                _ => runs.push(((id, path), vec![body])),
            }
        }
        let (mut batches, mut misfits, mut before) = (Vec::new(), Vec::new(), 0);
        for (key, run) in runs {
            self.know(&key)
                .map_err(|why| Trouble::Said("schema", why))?;
            let Some(known) = self.types.get_mut(&key) else {
                return Err(Trouble::Said("schema", "the type is not known".to_owned()));
            };
            let (batch, lost) = known.decode(run.into_iter())?;
            misfits.extend(lost.into_iter().map(|(row, detail)| (row + before, detail)));
            before += batch.num_rows();
            batches.push(batch);
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

    fn explain(&self, _message: &[u8], error: &ArrowError) -> (&'static str, String) {
        (
            "decode",
            format!("invalid Protobuf: {}", crate::file::json::words(error)),
        )
    }
}
