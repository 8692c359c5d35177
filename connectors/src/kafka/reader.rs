//! Reads one partition: blocks of records into batches of rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use weir_engine::dead_letter::{DeadLetter, DeadLetters, OnError};
use weir_engine::env::Env;
use weir_engine::error::{Error, Result};
use weir_engine::source::{Position, Read, SplitReader};

use super::block::Block;
use super::lane::{Lane, Taken};
use super::metadata::Metadata;
use super::pump::Pump;
use super::split::{self, Place};
use crate::format::{Decoded, Decoder, Push, Rejected};

/// Where a column of a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// From the decoder's batch, at this place.
    Value(usize),
    /// From around the record.
    Metadata(Metadata),
}

/// Where records go that are wrong.
#[derive(Debug)]
pub(super) struct Letters {
    /// The source's name.
    pub(super) source: String,
    /// What the script says to do.
    pub(super) on_error: OnError,
    /// Where they are kept.
    pub(super) kept: DeadLetters,
}

/// The reader of one partition.
#[derive(Debug)]
pub(super) struct Reader {
    /// Ends when its last reader does.
    _pump: Arc<Pump>,
    lane: Arc<Lane>,
    decoder: Box<dyn Decoder>,
    columns: Vec<Column>,
    schema: SchemaRef,
    letters: Letters,
    env: Env,
    /// The block under way, with the number of its first record that is not decoded.
    block: Option<(Block, usize)>,
    /// The offsets of the rows of the last batch.
    given: Vec<Option<i64>>,
    position: Place,
}

impl Reader {
    /// Makes the reader of a lane that is fetched by `pump`.
    pub(super) fn new(
        pump: Arc<Pump>,
        lane: Arc<Lane>,
        decoder: Box<dyn Decoder>,
        columns: (Vec<Column>, SchemaRef),
        letters: Letters,
        env: Env,
    ) -> Self {
        Self {
            _pump: pump,
            position: lane.from,
            lane,
            decoder,
            columns: columns.0,
            schema: columns.1,
            letters,
            env,
            block: None,
            given: Vec::new(),
        }
    }

    /// Decodes the block under way. Cancel-safe: what is decoded before a wait stays decoded.
    async fn decode(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        let Some((block, next)) = &mut self.block else {
            return Ok(None);
        };
        let (count, bytes) = (block.len(), block.bytes() as u64);
        if *next == 0 && self.decoder.take(block.values(), count) {
            *next = count;
        }
        while *next < count {
            let index = u32::try_from(*next).unwrap_or(u32::MAX);
            match self.decoder.push(block.record(*next), index)? {
                Push::Taken => *next += 1,
                Push::NeedsSchema(schema) => self.decoder.learn(schema).await?,
            }
        }
        let Some((block, _)) = self.block.take() else {
            return Ok(None);
        };
        let decoded = self.decoder.flush()?;
        for rejected in &decoded.rejected {
            self.reject(&block, rejected)?;
        }
        if let Some(next) = block.next() {
            self.position = Place::At(next);
        }
        let records = decoded.origin.iter();
        self.given.clear();
        self.given
            .extend(records.map(|record| block.offset(*record as usize)));
        Ok(Some((self.shape(&block, &decoded)?, bytes)))
    }

    fn reject(&self, block: &Block, rejected: &Rejected) -> Result<()> {
        let offset = block.offset(rejected.index as usize);
        self.letters.kept.put(
            self.letters.on_error,
            DeadLetter {
                source: self.letters.source.clone(),
                origin: self.lane.partition.to_string(),
                offset: offset.and_then(|offset| u64::try_from(offset).ok()),
                reason: rejected.reason,
                detail: rejected.detail.clone(),
                raw: rejected.raw.clone(),
                time_micros: self.env.clock().now_micros(),
            },
        )
    }

    /// Puts the decoder's columns and those from around the records into the asked order.
    fn shape(&self, block: &Block, decoded: &Decoded) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|column| match column {
            Column::Value(index) => decoded
                .batch
                .columns()
                .get(*index)
                .map(Arc::clone)
                .ok_or_else(|| Error::internal("a decoder gave too few columns")),
            Column::Metadata(metadata) => {
                Ok(metadata.column(&self.lane.partition, block, &decoded.origin))
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(decoded.batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &rows)?)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.lane.close();
    }
}

#[async_trait]
impl SplitReader for Reader {
    async fn next(&mut self) -> Result<Read> {
        loop {
            if let Some((batch, bytes)) = self.decode().await? {
                return Ok(Read::Rows { batch, bytes });
            }
            match self.lane.take()? {
                Taken::Block(block) => self.block = Some((block, 0)),
                Taken::Nothing => return Ok(Read::Pending),
                Taken::End => return Ok(Read::End),
            }
        }
    }

    fn position(&self) -> Position {
        split::position(self.position)
    }

    fn offset(&self, row: usize) -> Option<u64> {
        u64::try_from((*self.given.get(row)?)?).ok()
    }
}
