//! JSON: one object per message; unknown keys are left out.
//!
//! Plain objects of simple columns go straight into columns ([`table`]); for all others, and for
//! what is wrong, arrow's decoder has the last word.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use super::block::{DecodeBlock, Rows, Trouble};
use super::messages::Messages;
use super::shape::Shape;
use crate::file::config::TimestampFormat;
use crate::file::json::{explain, salvage, words};
use crate::rescue::Rest;

mod column;
mod cursor;
mod instant;
mod objects;
mod table;

pub(super) use objects::Objects;

/// Decodes objects into the asked columns.
#[derive(Debug)]
pub(super) struct JsonBlock {
    objects: Objects,
    asked: SchemaRef,
    shape: Shape,
}

impl JsonBlock {
    /// Makes a decoder of the asked columns; an error means that JSON cannot give one of them.
    pub(super) fn new(asked: &SchemaRef, timestamps: Option<&TimestampFormat>) -> Result<Self> {
        let as_read = |data_type: &DataType| match data_type {
            // Timestamps in a form of their own are decoded as text first.
            DataType::Timestamp(..) if timestamps.is_some() => DataType::Utf8,
            other => other.clone(),
        };
        let fields: Fields = asked
            .fields()
            .iter()
            .map(|field| {
                let data_type = as_read(field.data_type());
                field.as_ref().clone().with_data_type(data_type)
            })
            .collect();
        let shape = Shape::plan(asked, &fields, timestamps).map_err(refused)?;
        let objects = Objects::new(fields).map_err(|error| refused(words(&error)))?;
        Ok(Self {
            objects,
            asked: Arc::clone(asked),
            shape,
        })
    }
}

fn refused(why: String) -> Error {
    let message = format!("JSON cannot give the declared columns: {why}");
    Error::new(Kind::Invalid, codes::TYPE, message)
}

impl DecodeBlock for JsonBlock {
    fn schema(&self) -> &SchemaRef {
        &self.asked
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        let texts: Vec<&[u8]> = range.clone().map(|at| messages.get(at)).collect();
        // All at once is checked several times as fast as one by one; the line ends between them
        // are no part of any sign.
        let are_utf8 = std::str::from_utf8(messages.span(range.clone())).is_ok();
        let found = self.objects.decode_each(&texts, are_utf8)?;
        let (batch, misfits) = self.shape.apply(&found.batch)?;
        let position = |at: usize| range.start + at;
        let positions = found.texts.map(|texts| texts.into_iter().map(position));
        let failed = found.failed.into_iter();
        let failed = failed.map(|(at, error)| (position(at), Trouble::Arrow(error)));
        Ok(Rows {
            batch,
            positions: positions.map(Iterator::collect),
            misfits,
            failed: failed.collect(),
        })
    }

    fn salvage(&mut self, message: &[u8]) -> Result<Option<(RecordBatch, Rest)>, Trouble> {
        let (batch, rest) = salvage(self.objects.schema(), message)?;
        Ok(Some(self.shape.salvage(&batch, rest)?))
    }

    fn explain(&self, message: &[u8], error: &ArrowError) -> (&'static str, String) {
        explain("message", message, error)
    }
}

#[cfg(test)]
mod tests;
