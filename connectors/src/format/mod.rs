//! Formats of messages: bytes of a message broker into rows, and rows into messages.
//!
//! A [`Decoder`] promises that each message ends up as exactly one of three: rows, a rejected
//! message with its reason, or a skipped one, which by its format says nothing (a tombstone). Bad
//! bytes never take their neighbours with them: messages are decoded many at once, and a block
//! that fails is taken apart until exactly the bad ones are found.
//!
//! A message without a value is skipped and counted by formats that only append (`json`, `csv`,
//! `avro`, `protobuf`) and by `debezium-json`, where it follows each delete; `raw` makes a row
//! with NULL of it.

use std::fmt::Debug;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::Result;

mod avro;
mod block;
mod csv;
mod debezium;
mod encode;
mod factory;
mod json;
mod messages;
mod options;
mod protobuf;
mod raw;
mod registry;
mod shape;

pub use encode::encoder_factory;
pub use factory::decoder_factory;
pub use messages::Messages;
pub use options::{FormatName, FormatOptions, SINK_OPTIONS, SOURCE_OPTIONS};

/// One message as the broker gave it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The number of a schema in its registry.
pub type SchemaId = u32;

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It is taken.
    Taken,
    /// It is not taken: its schema must be learned first, then it is pushed again.
    NeedsSchema(SchemaId),
}

/// A message that gave no row since its bytes or values are wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The caller's number of the message.
    pub index: u32,
    /// The reason, for dead letters: `decode`, `value` or `schema`.
    pub reason: &'static str,
    /// What exactly is wrong.
    pub detail: String,
    /// The value's bytes, cut to what a dead letter keeps.
    pub raw: Vec<u8>,
}

/// What became of the messages since the last flush.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows: the asked columns, and `_op` behind them if the format is a changelog.
    pub batch: RecordBatch,
    /// For each row the number of its message.
    pub origin: Vec<u32>,
    /// The messages that are wrong.
    pub rejected: Vec<Rejected>,
    /// How many messages say nothing by their format: tombstones.
    pub skipped: u64,
}

/// Decodes the messages of one split.
#[async_trait]
pub trait Decoder: Debug + Send {
    /// Takes a message. Bad bytes are remembered as rejected: nothing else is lost. `index` is the
    /// caller's number of the message since the last flush.
    fn push(&mut self, record: Record<'_>, index: u32) -> Result<Push>;

    /// Takes all values of `count` messages at once, without copying them, if the format looks at
    /// nothing else and nothing is pushed yet; says whether it did. If not they are to be pushed.
    fn take(&mut self, _values: &mut Messages, _count: usize) -> bool {
        false
    }

    /// Looks up a schema that [`Decoder::push`] asked for. An error is the registry's, and the same
    /// may be asked again; a schema that does not exist or does not fit rejects its messages.
    async fn learn(&mut self, schema: SchemaId) -> Result<()>;

    /// Messages that are taken and not yet given: about as many rows.
    fn rows(&self) -> usize;

    /// Bytes of those.
    fn bytes(&self) -> usize;

    /// Gives the rows of the messages pushed since the last call.
    fn flush(&mut self) -> Result<Decoded>;
}

/// A format with its options and schema: makes the decoders of the splits.
pub trait DecoderFactory: Debug + Send + Sync {
    /// The columns, all nullable and without `_op`: the declared ones, or those discovered.
    fn schema(&self) -> SchemaRef;

    /// Whether batches end with `_op`.
    fn is_changelog(&self) -> bool;

    /// Makes a decoder that gives the columns at these positions of the schema, in this order.
    fn create(&self, projection: &[usize]) -> Result<Box<dyn Decoder>>;
}

/// A message to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The key, if the sink has key columns.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone, which deletes the key.
    pub value: Option<Vec<u8>>,
}

/// Makes messages of rows, in their order.
pub trait Encoder: Debug + Send {
    /// Encodes rows; their schema is that which the factory was made for.
    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Message>>;
}

/// A format with its options and schema: makes the encoders of a sink's writers.
pub trait EncoderFactory: Debug + Send + Sync {
    /// Makes an encoder.
    fn create(&self) -> Result<Box<dyn Encoder>>;
}

/// What a sink wants to be written.
#[derive(Debug, Clone)]
pub struct EncodeRequest {
    /// The rows that will come; with `_op` last if they are a changelog.
    pub schema: SchemaRef,
    /// The columns of the key, which is a JSON object of them; no key when empty.
    pub key: Vec<usize>,
    /// Whether a changelog becomes upserts: the last row of a key holds, and a delete is a message
    /// without a value. Otherwise only `debezium-json` takes a changelog.
    pub upsert: bool,
}

#[cfg(test)]
mod tests;
