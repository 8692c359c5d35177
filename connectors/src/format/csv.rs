//! CSV: one record per message, without a header; the fields come in the declared order.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use weir_engine::error::{Error, Kind, Result, codes};

use super::block::{DecodeBlock, Opened, Rows, Trouble};
use super::messages::Messages;
use super::shape::Shape;
use crate::file::FileConfig;
use crate::file::csv::{CsvDecoder, is_supported};
use crate::file::records::Splitter;
use crate::file::text::DecodeText;
use crate::rescue::Rest;

/// Rows for which the decoder reserves room.
const ROWS: usize = 1_024;

/// Decodes records into the asked columns.
#[derive(Debug)]
pub(super) struct CsvBlock {
    decoder: CsvDecoder,
    splitter: Splitter,
    asked: SchemaRef,
    shape: Shape,
}

impl CsvBlock {
    /// Makes a decoder of records with all `columns`, which gives those at `projection`.
    pub(super) fn new(
        columns: &SchemaRef,
        projection: &[usize],
        config: &FileConfig,
    ) -> Result<Self> {
        let asked: SchemaRef = Arc::new(columns.project(projection)?);
        let fields: Fields = columns
            .fields()
            .iter()
            .map(|field| {
                let data_type = match field.data_type() {
                    DataType::Timestamp(..) if config.timestamps.is_some() => DataType::Utf8,
                    other if is_supported(other) => other.clone(),
                    _ => DataType::Utf8,
                };
                field.as_ref().clone().with_data_type(data_type)
            })
            .collect();
        // At least one, since rows without columns have no number.
        let mut read = projection.to_vec();
        read.sort_unstable();
        read.dedup();
        if read.is_empty() {
            read.push(0);
        }
        let given: Fields = read
            .iter()
            .filter_map(|at| fields.get(*at).cloned())
            .collect();
        let shape = Shape::plan(&asked, &given, config.timestamps.as_ref()).map_err(|why| {
            let message = format!("CSV cannot give the declared columns: {why}");
            Error::new(Kind::Invalid, codes::TYPE, message)
        })?;
        Ok(Self {
            decoder: CsvDecoder::new(fields, read, &config.csv, ROWS),
            splitter: Splitter::csv(&config.csv),
            asked,
            shape,
        })
    }
}

impl DecodeBlock for CsvBlock {
    fn schema(&self) -> &SchemaRef {
        &self.asked
    }

    fn open(&mut self, value: &[u8]) -> Opened {
        let is_empty = value.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if is_empty {
            return Opened::Bad("decode", "the message is empty".to_owned());
        }
        Opened::Ready
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        let block = messages.span(range.clone());
        let mut start = 0;
        for position in range.clone() {
            let end = start + messages.get(position).len() + 1;
            // The record may end with a newline of its own.
            let found = self.splitter.end(block, start);
            let rest = found.and_then(|found| block.get(found..end));
            if !rest.is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'))) {
                let detail = "the message is not one record: a quote is not closed, or there is more than one line";
                return Err(Trouble::Said("decode", detail.to_owned()));
            }
            start = end;
        }
        let batch = self.decoder.decode(block, range.len())?;
        if batch.num_rows() != range.len() {
            let detail = "the message is more than one record";
            return Err(Trouble::Said("decode", detail.to_owned()));
        }
        let (batch, misfits) = self.shape.apply(&batch)?;
        Ok(Rows {
            batch,
            positions: None,
            misfits,
            failed: Vec::new(),
        })
    }

    fn salvage(&mut self, message: &[u8]) -> Result<Option<(RecordBatch, Rest)>, Trouble> {
        let (batch, rest) = self.decoder.salvage(&[message, b"\n"].concat())?;
        Ok(Some(self.shape.salvage(&batch, rest)?))
    }

    fn explain(&self, message: &[u8], error: &ArrowError) -> (&'static str, String) {
        self.decoder.explain(message, error)
    }
}
