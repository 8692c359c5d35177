//! Result rows for people and scripts: as a table, CSV or newline-delimited JSON.
//!
//! CSV and JSON are written as they come. A table needs its widths first, so it is laid out over a
//! bounded number of rows at a time; a longer result is several tables under each other.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use weir_engine::error::Error;

use crate::failure::Failure;

/// Rows of one table: bounds the memory of printing and keeps the columns stable on a screen.
const TABLE_ROWS_MAX: usize = 1_000;

/// The form of result rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns with a frame.
    #[default]
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Json,
}

/// Writes the rows of one result.
#[derive(Debug)]
pub struct RowWriter<W> {
    out: W,
    format: Format,
    schema: SchemaRef,
    kept: Vec<RecordBatch>,
    kept_rows: usize,
    rows: u64,
    started: bool,
}

impl<W: Write> RowWriter<W> {
    /// Makes the writer of a result with this schema.
    pub fn new(out: W, format: Format, schema: SchemaRef) -> Self {
        Self {
            out,
            format,
            schema,
            kept: Vec::new(),
            kept_rows: 0,
            rows: 0,
            started: false,
        }
    }

    /// Takes rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        match self.format {
            Format::Table => self.keep(batch)?,
            Format::Csv => self.csv(batch)?,
            Format::Json => self.json(batch)?,
        }
        // A slow query shows what it has.
        self.out.flush().map_err(Failure::output)
    }

    /// Writes what is kept: rows that come for ever are shown as they come.
    pub fn show(&mut self) -> Result<(), Failure> {
        if self.kept_rows > 0 {
            self.table()?;
        }
        self.out.flush().map_err(Failure::output)
    }

    /// Writes what is kept and gives the count of rows. A result without rows still has its header.
    pub fn finish(mut self) -> Result<u64, Failure> {
        match self.format {
            Format::Table if self.kept_rows > 0 || !self.started => self.table()?,
            Format::Csv if !self.started => {
                self.csv(&RecordBatch::new_empty(Arc::clone(&self.schema)))?;
            }
            Format::Table | Format::Csv | Format::Json => {}
        }
        self.out.flush().map_err(Failure::output)?;
        Ok(self.rows)
    }

    fn keep(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mut from = 0;
        while from < batch.num_rows() {
            let take = (TABLE_ROWS_MAX - self.kept_rows).min(batch.num_rows() - from);
            self.kept.push(batch.slice(from, take));
            self.kept_rows += take;
            from += take;
            if self.kept_rows == TABLE_ROWS_MAX {
                self.table()?;
            }
        }
        Ok(())
    }

    fn table(&mut self) -> Result<(), Failure> {
        let mut batches = std::mem::take(&mut self.kept);
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        self.kept_rows = 0;
        self.started = true;
        let options = FormatOptions::default()
            .with_null("NULL")
            .with_display_error(true);
        let table = pretty_format_batches_with_options(&batches, &options).map_err(failure)?;
        writeln!(self.out, "{table}").map_err(Failure::output)
    }

    fn csv(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let batch = flatten(batch).map_err(failure)?;
        let header = !std::mem::replace(&mut self.started, true);
        if batch.num_rows() == 0 {
            if header {
                self.csv_header(batch.schema_ref())?;
            }
            return Ok(());
        }
        let mut writer = CsvBuilder::new().with_header(header).build(&mut self.out);
        writer.write(&batch).map_err(failure)
    }

    /// The writer of arrow gives a header with the first row only.
    fn csv_header(&mut self, schema: &Schema) -> Result<(), Failure> {
        let quote = |name: &String| {
            let plain = !name.contains([',', '"', '\n', '\r']);
            if plain {
                name.clone()
            } else {
                format!("\"{}\"", name.replace('"', "\"\""))
            }
        };
        let names: Vec<String> = schema.fields().iter().map(|f| quote(f.name())).collect();
        writeln!(self.out, "{}", names.join(",")).map_err(Failure::output)
    }

    fn json(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let builder = JsonBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, LineDelimited>(&mut self.out);
        writer.write(batch).map_err(failure)?;
        writer.finish().map_err(failure)
    }
}

/// CSV has no nested values and no bytes: they are written as text.
fn flatten(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_plain = |data_type: &DataType| {
        let binary = matches!(
            data_type,
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        );
        !binary && !data_type.is_nested()
    };
    if batch
        .schema_ref()
        .fields()
        .iter()
        .all(|field| is_plain(field.data_type()))
    {
        return Ok(batch.clone());
    }
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if is_plain(field.data_type()) {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len())
            .map(|row| {
                if column.is_null(row) {
                    return Ok(None);
                }
                formatter.value(row).try_to_string().map(Some)
            })
            .collect::<Result<StringArray, ArrowError>>()?;
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(texts));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// arrow wraps the error of the writer below it: a closed pipe must be found again.
fn failure(error: ArrowError) -> Failure {
    match error {
        ArrowError::IoError(message, inner) => {
            if inner.kind() == io::ErrorKind::BrokenPipe {
                return Failure::Closed;
            }
            Failure::output(io::Error::new(inner.kind(), message))
        }
        ArrowError::CsvError(message) if message.contains("Broken pipe") => Failure::Closed,
        other => Failure::Job(Error::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    fn batch() -> RecordBatch {
        let list =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
        RecordBatch::try_from_iter_with_nullable([
            (
                "n",
                Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
                true,
            ),
            (
                "s,t",
                Arc::new(StringArray::from(vec![Some("a\"b"), Some("c")])) as ArrayRef,
                true,
            ),
            ("l", Arc::new(list) as ArrayRef, true),
            (
                "b",
                Arc::new(BinaryArray::from(vec![&b"\x01\xff"[..], b""])) as ArrayRef,
                true,
            ),
        ])
        .unwrap()
    }

    fn written(format: Format, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut writer = RowWriter::new(&mut out, format, batch().schema());
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_has_one_header_and_nested_values_as_text() {
        let text = written(Format::Csv, &[batch(), batch()]);
        let rows = "1,\"a\"\"b\",\"[1, 2]\",01ff\n,c,,\n";
        assert_eq!(text, format!("n,\"s,t\",l,b\n{rows}{rows}"));
        assert_eq!(written(Format::Csv, &[]), "n,\"s,t\",l,b\n");
    }

    #[test]
    fn json_has_one_object_per_row_with_its_nulls() {
        let text = written(Format::Json, &[batch()]);
        let row = r#"{"n":1,"s,t":"a\"b","l":[1,2],"b":"01ff"}"#;
        assert_eq!(
            text,
            format!("{row}\n{}\n", r#"{"n":null,"s,t":"c","l":null,"b":""}"#)
        );
    }

    #[test]
    fn tables_are_cut_into_bounded_ones() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2_500));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let mut out = Vec::new();
        let mut writer = RowWriter::new(&mut out, Format::Table, batch.schema());
        writer.write(&batch).unwrap();
        assert_eq!(writer.finish().unwrap(), 2_500);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("| n ").count(), 3);
        assert_eq!(written(Format::Table, &[]).lines().count(), 4);
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for format in [Format::Table, Format::Csv, Format::Json] {
            let mut writer = RowWriter::new(Closed, format, batch().schema());
            let ended = writer.write(&batch()).and_then(|()| writer.finish());
            assert!(
                matches!(ended, Err(Failure::Closed)),
                "{format:?}: {ended:?}"
            );
        }
    }
}
