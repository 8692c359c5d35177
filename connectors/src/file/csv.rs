//! Decodes CSV records with arrow's decoder: a record has as many fields as the header.

use std::sync::Arc;

use arrow::array::{AsArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_engine::Result;

use super::config::CsvOptions;
use super::json::words;
use super::text::{DecodeText, trim_end};
use crate::rescue::{self, Rest};

/// Decodes records with the given fields, of which some are read.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    read: Vec<usize>,
    format: Format,
    decoder: Decoder,
    rows: usize,
}

impl CsvDecoder {
    /// Makes a decoder of records with `fields`, which gives the columns at `read`.
    pub(crate) fn new(fields: Fields, read: Vec<usize>, options: &CsvOptions, rows: usize) -> Self {
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let format = format(options);
        let decoder = build(&schema, &format, &read, rows);
        Self {
            schema,
            read,
            format,
            decoder,
            rows,
        }
    }

    fn run(&mut self, mut block: &[u8]) -> Result<RecordBatch, ArrowError> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        while !block.is_empty() {
            let used = self.decoder.decode(block)?;
            block = block.get(used..).unwrap_or_default();
            // A lone carriage return ends a record too: then there are more than lines.
            if used == 0 || self.decoder.capacity() == 0 {
                match self.decoder.flush()? {
                    Some(batch) => batches.push(batch),
                    None => break,
                }
            }
        }
        batches.extend(self.decoder.flush()?);
        match batches.as_slice() {
            [] => Ok(RecordBatch::new_empty(Arc::new(
                self.schema.project(&self.read)?,
            ))),
            [batch] => Ok(batch.clone()),
            [first, ..] => concat_batches(&first.schema(), &batches),
        }
    }
}

fn build(schema: &SchemaRef, format: &Format, read: &[usize], rows: usize) -> Decoder {
    ReaderBuilder::new(Arc::clone(schema))
        .with_format(format.clone())
        .with_batch_size(rows)
        .with_projection(read.to_vec())
        .build_decoder()
}

/// The dialect, without a header: the reader takes it off itself.
pub(crate) fn format(options: &CsvOptions) -> Format {
    let mut format = Format::default()
        .with_delimiter(options.delimiter)
        .with_quote(options.quote);
    if let Some(escape) = options.escape {
        format = format.with_escape(escape);
    }
    if let Some(comment) = options.comment {
        format = format.with_comment(comment);
    }
    if let Some(null) = &options.null {
        format = format.with_null_regex(null.clone());
    }
    format
}

impl DecodeText for CsvDecoder {
    fn decode(&mut self, block: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
        // Room for all rows of a batch is reserved at once: a few, looked at singly, need little.
        if records * 2 <= self.rows {
            let mut few = Self {
                schema: Arc::clone(&self.schema),
                read: self.read.clone(),
                format: self.format.clone(),
                decoder: build(&self.schema, &self.format, &self.read, records),
                rows: records,
            };
            return few.run(block);
        }
        let result = self.run(block);
        if result.is_err() {
            // A failed decoder holds half a batch: it starts anew.
            self.decoder = build(&self.schema, &self.format, &self.read, self.rows);
        }
        result
    }

    /// Decodes each column by itself, all others as texts.
    fn salvage(&mut self, record: &[u8]) -> Result<(RecordBatch, Rest), ArrowError> {
        let text =
            |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8));
        let texts: Fields = self.schema.fields().iter().map(text).collect();
        let with = |fields: Fields, read: Vec<usize>| {
            let schema = Arc::new(Schema::new(fields));
            let decoder = build(&schema, &self.format, &read, 1);
            let format = self.format.clone();
            Self {
                schema,
                read,
                format,
                decoder,
                rows: 1,
            }
            .run(record)
        };
        let schema = Arc::new(self.schema.project(&self.read)?);
        let mut rest = Rest::new();
        let all = with(texts.clone(), self.read.clone());
        let all = all.ok().filter(|batch| batch.num_rows() == 1);
        let mut columns = Vec::new();
        for (at, index) in self.read.iter().enumerate() {
            let field = self.schema.field(*index);
            let null = new_null_array(field.data_type(), 1);
            let Some(all) = &all else {
                columns.push(null);
                continue;
            };
            let mut fields: Vec<FieldRef> = texts.iter().cloned().collect();
            if let Some(own) = fields.get_mut(*index) {
                *own = Arc::new(field.clone());
            }
            match with(fields.into(), vec![*index]) {
                Ok(batch) if batch.num_rows() == 1 => columns.push(Arc::clone(batch.column(0))),
                _ => {
                    columns.push(null);
                    let value = all.column(at).as_string::<i32>().value(0);
                    rest.insert(field.name().clone(), value.into());
                }
            }
        }
        if all.is_none() {
            rest = rescue::raw(trim_end(record));
        }
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(schema, columns, &one)?;
        Ok((row, rest))
    }

    fn explain(&self, record: &[u8], error: &ArrowError) -> (&'static str, String) {
        if let Err(error) = std::str::from_utf8(record) {
            return (
                "decode",
                format!("invalid UTF-8 at byte {}", error.valid_up_to()),
            );
        }
        let text = words(error);
        if let Some((_, counts)) = text.split_once("incorrect number of fields for line ") {
            let counts = counts.split_once(", ").map_or(counts, |(_, counts)| counts);
            return ("decode", format!("wrong number of fields: {counts}"));
        }
        ("value", self.explain_value(&text))
    }
}

impl CsvDecoder {
    /// Names the column instead of its number, and leaves the line number out: it counts within
    /// what was decoded at once.
    fn explain_value(&self, text: &str) -> String {
        let (what, rest) = match text
            .split_once(" for column ")
            .or(text.split_once("column "))
        {
            Some(parts) => parts,
            None => return text.to_owned(),
        };
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let name = digits.parse::<usize>().ok().and_then(|index| {
            self.schema
                .fields()
                .get(index)
                .map(|field| field.name().clone())
        });
        let Some(name) = name else {
            return text.to_owned();
        };
        match what.strip_prefix("Error while parsing ") {
            Some(value) => format!("column \"{name}\": {value} does not fit"),
            None => {
                let why = rest.split_once(": ").map_or(rest, |(_, why)| why);
                format!("column \"{name}\": {why}")
            }
        }
    }
}

/// Whether CSV can give a type.
pub(crate) fn is_supported(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Null
            | DataType::Boolean
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::Float16
            | DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Date64
            | DataType::Timestamp(_, _)
            | DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _)
            | DataType::Time32(TimeUnit::Second | TimeUnit::Millisecond)
            | DataType::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond)
    ) || data_type.is_integer()
}
