//! The writer of exactly once: it sends nothing, but makes chunks of records that the checkpoint
//! keeps until they are committed.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, BinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use serde::{Deserialize, Serialize};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, SinkWriter};

use super::marker::Chunk;
use super::sink::Parts;
use crate::format::Encoder;

/// Bytes of a chunk, which is one transaction: large against the cost of a transaction (some
/// round trips), small against what the client queues and the time after which a broker ends one.
const CHUNK_BYTES_MAX: usize = 16 << 20;

/// What a token says beside its outbox.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    /// The form of the outbox.
    version: u32,
    /// The pipeline, which names transactions and marker.
    pipeline: String,
    /// The subtask that made the chunk.
    subtask: u32,
    /// The number of the chunk among those of this subtask and epoch, from 1.
    number: u32,
}

/// The form of the outbox that this version writes.
const VERSION: u32 = 1;

/// The pipeline of a token, and the place of its chunk in an epoch.
pub(super) fn chunk(token: &CommitToken, epoch: Epoch) -> Result<(String, Chunk)> {
    let damaged = |why: String| {
        Error::new(
            Kind::Data,
            codes::CORRUPT,
            "a commit token of a kafka sink cannot be read",
        )
        .detail(why)
    };
    let payload: Payload =
        serde_json::from_str(&token.payload).map_err(|e| damaged(e.to_string()))?;
    if payload.version != VERSION {
        return Err(damaged(format!("it has version {}", payload.version)));
    }
    let chunk = Chunk {
        epoch,
        subtask: payload.subtask,
        number: payload.number,
    };
    Ok((payload.pipeline, chunk))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
    ]))
}

/// Keys and values of the records in a batch of an outbox.
pub(super) fn records(batch: &RecordBatch) -> Result<(&BinaryArray, &BinaryArray)> {
    let column = |name| {
        let column = batch.column_by_name(name);
        column.and_then(|column| column.as_binary_opt::<i32>())
    };
    column("key")
        .zip(column("value"))
        .ok_or_else(|| Error::internal("an outbox has other columns than key and value"))
}

/// The writer of one subtask.
#[derive(Debug)]
pub(super) struct OutboxWriter {
    encoder: Box<dyn Encoder>,
    payload: Payload,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    rows: u64,
    bytes: usize,
    finished: Vec<CommitToken>,
    memory: MemoryReservation,
}

impl OutboxWriter {
    /// Makes a writer.
    pub(super) fn new(parts: &Parts, context: &TaskContext) -> Result<Self> {
        let payload = Payload {
            version: VERSION,
            pipeline: context.job.pipeline.to_string(),
            subtask: context.subtask,
            number: 0,
        };
        let name = format!("outbox of {}[{}]", context.node, context.subtask);
        Ok(Self {
            encoder: parts.factory.create()?,
            payload,
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            rows: 0,
            bytes: 0,
            finished: Vec::new(),
            memory: MemoryConsumer::new(name).register(&context.job.memory),
        })
    }

    /// Ends the chunk; the memory of its token is its next holder's to account for.
    fn finish(&mut self) -> Result<()> {
        let (rows, bytes) = (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.bytes),
        );
        self.memory.resize(0);
        let keys = self.keys.finish();
        let values = self.values.finish();
        if rows == 0 && values.is_empty() {
            return Ok(());
        }
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)])?;
        self.payload.number += 1;
        let payload = serde_json::to_string(&self.payload)
            .map_err(|e| Error::internal("a commit token cannot be written").caused_by(e))?;
        let mut token = CommitToken::new(payload, rows, bytes as u64);
        token.outbox.push(batch);
        self.finished.push(token);
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for OutboxWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        for message in self.encoder.encode(&batch)? {
            self.bytes += message.key.as_ref().map_or(0, Vec::len);
            self.bytes += message.value.as_ref().map_or(0, Vec::len);
            self.keys.append_option(message.key);
            self.values.append_option(message.value);
            if self.bytes >= CHUNK_BYTES_MAX {
                self.finish()?;
            }
        }
        // A row may be no record, as one half of an update is: it counts with those after it.
        self.rows += batch.num_rows() as u64;
        self.memory.try_resize(self.bytes)?;
        Ok(())
    }

    fn finished(&mut self) -> Vec<CommitToken> {
        std::mem::take(&mut self.finished)
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        self.finish()?;
        // The next epoch counts its own.
        self.payload.number = 0;
        Ok(self.finished())
    }

    async fn discard(&mut self) -> Result<()> {
        self.finish()?;
        self.finished.clear();
        Ok(())
    }
}
