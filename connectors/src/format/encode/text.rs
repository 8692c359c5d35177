//! Values in JSON, in CSV, and as they are.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow_json::writer::{LineDelimited, WriterBuilder};
use weir_engine::error::{Error, Kind, Result, codes};

use super::Values;
use crate::file::config::CsvOptions;
use crate::file::records::Splitter;

/// One JSON object per row; NULL is written as `null`.
#[derive(Debug)]
pub(super) struct JsonValues;

impl Values for JsonValues {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, LineDelimited>(Vec::new());
        let written = writer.write(rows).and_then(|()| writer.finish());
        written.map_err(|error| refused("JSON", &error))?;
        // A newline within a text is escaped, so each line is one object.
        let lines = writer.into_inner();
        let mut values: Vec<Vec<u8>> = Vec::with_capacity(rows.num_rows());
        values.extend(lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        values.truncate(rows.num_rows());
        Ok(values)
    }
}

fn refused(format: &str, error: &ArrowError) -> Error {
    let message = format!("the rows cannot be written as {format}");
    Error::new(Kind::Invalid, codes::SCHEMA, message)
        .detail(error.to_string())
        .hint("CAST the column to a type that the format has, or choose another format")
}

/// One CSV record per row, without a line end.
#[derive(Debug)]
pub(super) struct CsvValues {
    delimiter: u8,
    splitter: Splitter,
}

impl CsvValues {
    pub(super) fn new(options: &CsvOptions) -> Self {
        Self {
            delimiter: options.delimiter,
            splitter: Splitter::csv(options),
        }
    }
}

impl Values for CsvValues {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut text = Vec::new();
        arrow_csv::WriterBuilder::new()
            .with_header(false)
            .with_delimiter(self.delimiter)
            .build(&mut text)
            .write(rows)
            .map_err(|error| refused("CSV", &error))?;
        let mut values = Vec::with_capacity(rows.num_rows());
        let mut start = 0;
        while let Some(end) = self.splitter.end(&text, start) {
            let record = text.get(start..end - 1).unwrap_or_default();
            values.push(record.to_vec());
            start = end;
        }
        Ok(values)
    }
}

/// The bytes of the one column. NULL is an empty value: a message without one would delete.
#[derive(Debug)]
pub(super) struct RawValues {
    is_text: bool,
}

impl RawValues {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let is_text = match schema.fields().as_ref() {
            [field] if field.data_type() == &DataType::Utf8 => true,
            [field] if field.data_type() == &DataType::Binary => false,
            _ => {
                let message = "format 'raw' takes one column, of type BYTEA or VARCHAR";
                return Err(Error::new(Kind::Invalid, codes::SCHEMA, message).hint(
                    "CAST the one column of the query to VARCHAR, or choose another format",
                ));
            }
        };
        Ok(Self { is_text })
    }
}

impl Values for RawValues {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let column = rows.column(0);
        let bytes = |row: usize| {
            if column.is_null(row) {
                Vec::new()
            } else if self.is_text {
                column.as_string::<i32>().value(row).as_bytes().to_vec()
            } else {
                column.as_binary::<i32>().value(row).to_vec()
            }
        };
        Ok((0..rows.num_rows()).map(bytes).collect())
    }
}
