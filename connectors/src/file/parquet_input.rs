//! The bytes of Parquet: footers, kept for the next split of the same file, and column chunks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use bytes::{Buf, Bytes};
use object_store::ObjectStoreExt;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};
use weir_engine::env::Env;
use weir_engine::error::Error;

use crate::store::{self, Location};

use super::columns::{Column, plain_field, position};
use super::input::{key, open_local};
use super::listing::Entry;

/// Footers kept: as many files as one source's subtasks usually have in hand.
pub(super) const FOOTERS_KEPT_MAX: usize = 32;
/// Bytes at the end of an object that are asked for at once: most footers are smaller.
const FOOTER_HINT_BYTES: u64 = 64 << 10;

/// Why a Parquet file cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store or the disk: an error of the job.
    Store(Error),
    /// The file: a dead letter.
    Corrupt(String),
}

/// Footers of the files that were read last.
#[derive(Debug, Default)]
pub(super) struct Footers {
    kept: Mutex<VecDeque<(String, ArrowReaderMetadata)>>,
}

impl Footers {
    /// Gives the footer of a file, with plain arrow types for its columns.
    pub(super) async fn get(
        &self,
        location: &Location,
        file: &Entry,
        _env: &Env,
    ) -> Result<ArrowReaderMetadata, Trouble> {
        let name = format!("{}#{}#{}", file.key, file.size, file.modified);
        if let Some((_, footer)) = self.kept.lock().iter().find(|(kept, _)| *kept == name) {
            return Ok(footer.clone());
        }
        let footer = if location.local_root.is_some() {
            let input = open_local(file).map_err(Trouble::Store)?;
            ArrowReaderMetadata::load(&input, ArrowReaderOptions::new())
        } else {
            remote(location, file).await?
        };
        let footer = plain(footer.map_err(|error| trouble(error, &file.shown))?);
        let mut kept = self.kept.lock();
        if kept.len() >= FOOTERS_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((name, footer.clone()));
        Ok(footer)
    }
}

/// Reads a footer from the end of an object, with one request more when it is large.
async fn remote(
    location: &Location,
    file: &Entry,
) -> Result<parquet::errors::Result<ArrowReaderMetadata>, Trouble> {
    let path = key(file).map_err(Trouble::Store)?;
    let mut wanted = FOOTER_HINT_BYTES.min(file.size);
    loop {
        let tail = location
            .store
            .get_range(&path, file.size - wanted..file.size)
            .await;
        let tail = tail.map_err(|error| Trouble::Store(store::error(error, &file.shown)))?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, file.size) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(bytes))
                if bytes as u64 > wanted && bytes as u64 <= file.size =>
            {
                wanted = bytes as u64;
                continue;
            }
            Err(error) => return Ok(Err(error)),
        }
        return Ok(reader.finish().and_then(|metadata| {
            ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
        }));
    }
}

/// Asks the decoder for plain types where it can give them; other columns are cast later.
fn plain(footer: ArrowReaderMetadata) -> ArrowReaderMetadata {
    let had = footer.schema().fields();
    let plain = |field: &FieldRef| plain_field(field).with_nullable(field.is_nullable());
    let wanted = had.iter().map(plain).collect();
    with_fields(footer, wanted)
}

/// Asks the decoder for views of the texts that are asked for as such.
pub(super) fn viewed(footer: ArrowReaderMetadata, asked: &[&Column]) -> ArrowReaderMetadata {
    let had = footer.schema().fields();
    let mut fields: Vec<_> = had.iter().cloned().collect();
    for column in asked {
        let place = position(had, column.field.name());
        if *column.field.data_type() == DataType::Utf8View
            && let Some(field) = place.and_then(|place| fields.get_mut(place))
            && *field.data_type() == DataType::Utf8
        {
            let view = field.as_ref().clone().with_data_type(DataType::Utf8View);
            *field = Arc::new(view);
        }
    }
    with_fields(footer, fields.into())
}

/// The same footer with other types where the decoder can give them.
fn with_fields(footer: ArrowReaderMetadata, wanted: Fields) -> ArrowReaderMetadata {
    if wanted == *footer.schema().fields() {
        return footer;
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(wanted)));
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options).unwrap_or(footer)
}

/// Tells the store's errors from the file's.
pub(super) fn trouble(error: ParquetError, shown: &str) -> Trouble {
    match error {
        ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
            Ok(inner) => Trouble::Store(store::error(*inner, shown)),
            Err(inner) => Trouble::Corrupt(inner.to_string()),
        },
        ParquetError::General(text) | ParquetError::EOF(text) => Trouble::Corrupt(text),
        other => Trouble::Corrupt(other.to_string()),
    }
}

/// The bytes of a file: on the disk, or those parts of an object that were fetched.
#[derive(Debug, Clone)]
pub(super) enum Chunks {
    /// A local file.
    Local(Arc<File>),
    /// Parts of an object by their offset, in order, and its length.
    Fetched(Arc<Vec<(u64, Bytes)>>, u64),
}

/// Reads on from an offset of [`Chunks`].
#[derive(Debug)]
pub(super) enum ChunkRead {
    Local(BufReader<File>),
    Fetched(bytes::buf::Reader<Bytes>),
}

impl Chunks {
    /// Fetches parts of an object.
    pub(super) async fn fetch(
        location: &Location,
        file: &Entry,
        ranges: Vec<Range<u64>>,
    ) -> weir_engine::Result<Self> {
        let path = key(file)?;
        // One part is one request; several are joined where they are near.
        let fetched = match ranges.as_slice() {
            [one] => location
                .store
                .get_range(&path, one.clone())
                .await
                .map(|bytes| vec![bytes]),
            several => location.store.get_ranges(&path, several).await,
        };
        let fetched = fetched.map_err(|error| store::error(error, &file.shown))?;
        let starts = ranges.iter().map(|range| range.start);
        Ok(Self::Fetched(
            Arc::new(starts.zip(fetched).collect()),
            file.size,
        ))
    }

    fn slice(&self, start: u64) -> Option<Bytes> {
        let Self::Fetched(parts, _) = self else {
            return None;
        };
        let after = parts.partition_point(|(at, _)| *at <= start);
        let (at, bytes) = parts.get(after.checked_sub(1)?)?;
        let skip = usize::try_from(start - at).ok()?;
        (skip <= bytes.len()).then(|| bytes.slice(skip..))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => file.metadata().map_or(0, |metadata| metadata.len()),
            Self::Fetched(_, length) => *length,
        }
    }
}

impl ChunkReader for Chunks {
    type T = ChunkRead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<ChunkRead> {
        match self {
            Self::Local(file) => Ok(ChunkRead::Local(file.get_read(start)?)),
            Self::Fetched(..) => {
                let bytes = self.slice(start).ok_or_else(missing)?;
                Ok(ChunkRead::Fetched(bytes.reader()))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Fetched(..) => {
                let bytes = self.slice(start).filter(|bytes| bytes.len() >= length);
                Ok(bytes.ok_or_else(missing)?.slice(..length))
            }
        }
    }
}

fn missing() -> ParquetError {
    ParquetError::General("the footer points outside of the column chunks".to_owned())
}

impl Read for ChunkRead {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Local(file) => file.read(into),
            Self::Fetched(bytes) => bytes.read(into),
        }
    }
}
