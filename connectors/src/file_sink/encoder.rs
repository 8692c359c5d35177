//! Rows into the bytes of one file.

use std::fmt;
use std::io;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use weir_engine::error::{Error, Kind, Result, codes};

use super::buffer::Buffer;
use super::settings::{Format, TextCompression};

/// What a zstd compressor of level 1 holds beside its output.
const ZSTD_STATE_BYTES: usize = 1 << 20;
/// What a gzip compressor holds beside its output.
const GZIP_STATE_BYTES: usize = 256 << 10;
/// Enough for a file of one row.
const CHECK_CHUNK_BYTES: usize = 1 << 16;
/// The fast levels: a sink keeps up with its job first, and is small second.
const ZSTD_LEVEL: i32 = 1;

/// Encodes the rows of one file.
pub(super) enum Encoder {
    /// Parquet.
    Parquet(Box<ArrowWriter<Buffer>>),
    /// CSV or JSON.
    Text(Box<Text>),
}

/// Lines, and whether the header was written.
pub(super) struct Text {
    lines: Lines,
    out: Compressor,
}

#[derive(Clone, Copy)]
enum Lines {
    Csv { header: bool, delimiter: u8 },
    Json,
}

enum Compressor {
    None(Buffer),
    Gzip(GzEncoder<Buffer>),
    Zstd(zstd::stream::write::Encoder<'static, Buffer>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// Begins a file. `row_group_bytes_max` bounds what the format says by the memory there is.
    pub(super) fn new(
        format: &Format,
        schema: &SchemaRef,
        chunk_bytes: usize,
        row_group_bytes_max: usize,
    ) -> Result<Self> {
        let buffer = Buffer::new(chunk_bytes);
        match format {
            Format::Parquet {
                compression,
                row_group_rows,
                row_group_bytes,
            } => {
                let bytes = (*row_group_bytes).min(row_group_bytes_max);
                let properties = WriterProperties::builder()
                    .set_compression(*compression)
                    .set_max_row_group_row_count(Some(*row_group_rows))
                    .set_max_row_group_bytes(Some(bytes))
                    .build();
                let writer = ArrowWriter::try_new(buffer, Arc::clone(schema), Some(properties));
                Ok(Self::Parquet(Box::new(writer.map_err(failed)?)))
            }
            Format::Csv {
                header,
                delimiter,
                compression,
            } => {
                let lines = Lines::Csv {
                    header: *header,
                    delimiter: *delimiter,
                };
                let out = Compressor::new(*compression, buffer)?;
                Ok(Self::Text(Box::new(Text { lines, out })))
            }
            Format::Json { compression } => {
                let out = Compressor::new(*compression, buffer)?;
                Ok(Self::Text(Box::new(Text {
                    lines: Lines::Json,
                    out,
                })))
            }
        }
    }

    /// Checks that the format takes rows of this schema: encodes a row of NULLs, since some types
    /// are refused only with the first row.
    pub(super) fn check(format: &Format, schema: &SchemaRef) -> Result<()> {
        let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
        let schema: SchemaRef = Arc::new(Schema::new(
            schema.fields().iter().map(nullable).collect::<Vec<_>>(),
        ));
        let nulls = schema
            .fields()
            .iter()
            .map(|field| new_null_array(field.data_type(), 1));
        let row = RecordBatch::try_new(Arc::clone(&schema), nulls.collect())?;
        let mut encoder = Self::new(format, &schema, CHECK_CHUNK_BYTES, usize::MAX)?;
        encoder.write(&row)?;
        encoder.finish().map(drop)
    }

    /// Takes rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(rows).map_err(failed),
            Self::Text(text) => text.write(rows),
        }
    }

    /// Bytes of memory held by what is not shipped yet.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Parquet(writer) => writer.memory_size() + writer.inner().held(),
            Self::Text(text) => match &text.out {
                Compressor::None(buffer) => buffer.held(),
                Compressor::Gzip(out) => out.get_ref().held() + GZIP_STATE_BYTES,
                Compressor::Zstd(out) => out.get_ref().held() + ZSTD_STATE_BYTES,
            },
        }
    }

    /// The size of the file so far, what is not encoded yet estimated.
    pub(super) fn file_bytes(&self) -> u64 {
        match self {
            Self::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            Self::Text(text) => match &text.out {
                Compressor::None(buffer) => buffer.total(),
                Compressor::Gzip(out) => out.get_ref().total(),
                Compressor::Zstd(out) => out.get_ref().total(),
            },
        }
    }

    /// Ends the row group in progress, to free its memory; false when there is none.
    pub(super) fn flush(&mut self) -> Result<bool> {
        match self {
            Self::Parquet(writer) if writer.in_progress_rows() > 0 => {
                writer.flush().map_err(failed)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes the full chunks that came out.
    pub(super) fn take_full(&mut self) -> Vec<Bytes> {
        self.buffer().take_full()
    }

    /// Takes all that came out, for files that are appended to in pieces of any size.
    pub(super) fn take_all(&mut self) -> Vec<Bytes> {
        self.buffer().take_all()
    }

    fn buffer(&mut self) -> &mut Buffer {
        match self {
            // Only taken from, never written to, so that the offsets in the footer stay right.
            Self::Parquet(writer) => writer.inner_mut(),
            Self::Text(text) => match &mut text.out {
                Compressor::None(buffer) => buffer,
                Compressor::Gzip(out) => out.get_mut(),
                Compressor::Zstd(out) => out.get_mut(),
            },
        }
    }

    /// Ends the file and gives its last bytes.
    pub(super) fn finish(self) -> Result<Vec<Bytes>> {
        let mut buffer = match self {
            Self::Parquet(writer) => writer.into_inner().map_err(failed)?,
            Self::Text(text) => match text.out {
                Compressor::None(buffer) => buffer,
                Compressor::Gzip(out) => out.finish().map_err(unwritable)?,
                Compressor::Zstd(out) => out.finish().map_err(unwritable)?,
            },
        };
        Ok(buffer.take_all())
    }
}

impl Compressor {
    fn new(compression: TextCompression, buffer: Buffer) -> Result<Self> {
        Ok(match compression {
            TextCompression::None => Self::None(buffer),
            TextCompression::Gzip => {
                Self::Gzip(GzEncoder::new(buffer, flate2::Compression::fast()))
            }
            TextCompression::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(buffer, ZSTD_LEVEL);
                Self::Zstd(encoder.map_err(unwritable)?)
            }
        })
    }
}

impl io::Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    /// Does nothing: the text writers flush after each batch, and a compressor that is flushed
    /// begins a new block, which costs size.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.lines {
            Lines::Csv { header, delimiter } => {
                let builder = arrow_csv::WriterBuilder::new()
                    .with_header(std::mem::take(header))
                    .with_delimiter(*delimiter);
                builder
                    .build(&mut self.out)
                    .write(rows)
                    .map_err(|e| failed(e.into()))
            }
            Lines::Json => {
                let mut writer = arrow_json::LineDelimitedWriter::new(&mut self.out);
                writer
                    .write(rows)
                    .and_then(|()| writer.finish())
                    .map_err(|e| failed(e.into()))
            }
        }
    }
}

/// Rows that the format cannot take.
fn failed(error: ParquetError) -> Error {
    Error::new(
        Kind::Invalid,
        codes::SCHEMA,
        "the rows cannot be written in this format",
    )
    .detail(error.to_string())
    .hint("CAST the column to a type that the format has, or choose another format")
}

/// Writing to memory fails only when the compressor does.
fn unwritable(error: io::Error) -> Error {
    Error::internal("a file cannot be compressed").caused_by(error)
}
