//! The columns that a script declares: what they are filled from, and whether the format can.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use weir_engine::Result;
use weir_engine::error::{Error, Kind as ErrorKind, codes};
use weir_engine::options::unknown;

use super::columns::{Column, Kind};
use super::config::{FileConfig, Format};
use super::csv;
use super::json::{JsonDecoder, words};

/// The rows that columns make.
pub(super) fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields: Fields = columns.iter().map(|c| Arc::clone(&c.field)).collect();
    Arc::new(Schema::new(fields))
}

/// A file promises nothing: NOT NULL is checked after it is read.
pub(super) fn nullable(field: &FieldRef) -> FieldRef {
    if field.is_nullable() {
        Arc::clone(field)
    } else {
        Arc::new(field.as_ref().clone().with_nullable(true))
    }
}

/// What fills a column of METADATA.
pub(super) fn metadata(key: &str) -> Result<Kind> {
    match key {
        "file" => Ok(Kind::File),
        "offset" => Ok(Kind::Offset),
        "modified" => Ok(Kind::Modified),
        _ => {
            let known = ["file", "offset", "modified"].into_iter();
            Err(unknown(codes::UNKNOWN_COLUMN, "metadata key", key, known))
        }
    }
}

/// Refuses declared types that the format can never give.
pub(super) fn check_types(fields: &Fields, format: Format, config: &FileConfig) -> Result<()> {
    let bad = |name: &str, data_type: &DataType, why: &str| {
        Error::new(
            ErrorKind::Invalid,
            codes::TYPE,
            format!(
                "column \"{name}\" of type {data_type} cannot be read from {}",
                format.name()
            ),
        )
        .detail(why)
    };
    for field in fields {
        let data_type = field.data_type();
        match format {
            Format::Csv
                if !csv::is_supported(data_type) && !can_cast_types(&DataType::Utf8, data_type) =>
            {
                return Err(bad(field.name(), data_type, "a CSV field is a text"));
            }
            Format::Json => {
                let has_form = config.timestamps.is_some();
                if has_form && matches!(data_type, DataType::Timestamp(..)) {
                    continue;
                }
                let one: Fields = [Arc::clone(field)].into_iter().collect();
                if let Err(error) = JsonDecoder::new(one, 1) {
                    return Err(bad(field.name(), data_type, &words(&error)));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
