//! The files of a quarantine: read whole, written whole, created once.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_engine::error::{Error, Kind, Result, codes};

use crate::store::io_error;

/// Gives the names in a folder; none if there is no such folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(error, folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| failed(error, folder))?.file_name();
        names.extend(name.to_str().map(str::to_owned));
    }
    Ok(names)
}

/// Gives the files with the rows of a table, in the order in which a run has begun them.
pub(super) fn rows(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<(String, u64)> = Vec::new();
    for name in names(folder)? {
        let stem = name
            .strip_suffix(".parquet")
            .filter(|_| !name.starts_with('.'));
        let parts = stem.and_then(|stem| stem.rsplit_once('-'));
        let known = parts.and_then(|(run, number)| Some((run.to_owned(), number.parse().ok()?)));
        files.extend(known);
    }
    files.sort_unstable();
    let path = |(run, number)| folder.join(format!("{run}-{number}.parquet"));
    Ok(files.into_iter().map(path).collect())
}

/// Reads the rows of a file, of these columns alone if they are named; and the columns of the file.
pub(super) fn read(path: &Path, columns: Option<&[&str]>) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let file = File::open(path).map_err(|error| failed(error, path))?;
    let unreadable = |error: parquet::errors::ParquetError| {
        damaged(path, "it is no Parquet file of rows").caused_by(error)
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let schema = Arc::clone(builder.schema());
    let reader = builder.with_projection(mask).build().map_err(unreadable)?;
    let rows = reader.map(|rows| Ok(rows?)).collect::<Result<_>>()?;
    Ok((schema, rows))
}

/// Gives the content of a file, if there is one.
pub(super) fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|error| failed(error, path)),
    }
}

pub(super) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| failed(error, folder))
}

/// Writes rows to the disk.
pub(super) fn write(path: &Path, rows: &RecordBatch) -> Result<()> {
    let unencodable = |error: parquet::errors::ParquetError| {
        Error::internal("rows of a quarantine table cannot be encoded").caused_by(error)
    };
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).map_err(unencodable)?;
    writer.write(rows).map_err(unencodable)?;
    write_bytes(path, &writer.into_inner().map_err(unencodable)?)
}

/// Writes bytes to the disk.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| failed(error, path))
}

/// Gives a file that is whole its name, unless another one has it.
pub(super) fn create(hidden: &Path, path: &Path) -> Result<bool> {
    match fs::hard_link(hidden, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        linked => linked.map_err(|error| failed(error, path))?,
    }
    let folder = path.parent().map(File::open);
    if let Some(folder) = folder {
        let synced = folder.and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(error, path))?;
    }
    Ok(true)
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| failed(error, path)),
    }
}

pub(super) fn failed(error: io::Error, path: &Path) -> Error {
    io_error(error, &path.display().to_string())
}

pub(super) fn damaged(path: &Path, detail: &str) -> Error {
    let message = format!("{} is damaged", path.display());
    Error::new(Kind::Data, codes::CORRUPT, message).detail(detail.to_owned())
}
