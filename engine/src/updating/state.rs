//! The format of updating state: a version and the part's name in the metadata of each batch.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Kind, Result, codes};

/// The key of a part's name.
const PART: &str = "weir.part";

/// The name and version of one operator's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// The key in the metadata.
    pub(crate) name: &'static str,
    /// The version of the layout.
    pub(crate) version: &'static str,
}

impl Format {
    /// Makes the schema of one part.
    pub(crate) fn schema(self, part: &str, fields: Vec<FieldRef>) -> SchemaRef {
        let metadata = [
            (self.name.to_owned(), self.version.to_owned()),
            (PART.to_owned(), part.to_owned()),
        ];
        Arc::new(Schema::new_with_metadata(fields, metadata.into()))
    }

    /// The part that a batch belongs to; fails when the batch is of another format.
    pub(crate) fn part(self, batch: &RecordBatch) -> Result<&str> {
        let metadata = batch.schema_ref().metadata();
        let version = metadata.get(self.name).map(String::as_str);
        if version != Some(self.version) {
            return Err(unreadable(format!(
                "{}: its version is {}",
                self.name,
                version.unwrap_or("missing")
            )));
        }
        metadata
            .get(PART)
            .map(String::as_str)
            .ok_or_else(|| unreadable("a batch does not say what it is".to_owned()))
    }

    /// Fails when the columns of a batch are not those of a schema.
    pub(crate) fn check(self, batch: &RecordBatch, expected: &Schema) -> Result<()> {
        let found = batch.columns().iter().map(|column| column.data_type());
        let wanted = expected.fields().iter().map(|field| field.data_type());
        if found.eq(wanted) {
            return Ok(());
        }
        Err(unreadable(format!(
            "{}: its columns are not those of the query",
            self.name
        )))
    }
}

/// State that does not fit the operator.
pub(crate) fn unreadable(detail: String) -> Error {
    Error::new(
        Kind::Data,
        codes::CORRUPT,
        "an updating operator's saved state does not fit it",
    )
    .detail(detail)
    .hint("the query has changed: start the pipeline with a new state, or change it back")
}
