//! The dead-letter table on disk: Parquet files under `<state>/dead_letters/<source>/`, readable
//! by any Parquet reader; beside it the rows that rules keep back, under `<state>/quarantine/<table>/`,
//! and what rules have found, under `<state>/weir/quality_results/`.
//!
//! Both are written from the tasks that find them, so the state is on a local disk: an object
//! store would make each of them wait. A file appears only when it is whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, io};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use weir_engine::dead_letter::{DeadLetter, DeadLetterStore};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::sink::CommitToken;

use crate::file_sink::escape;
use crate::history::{self, LocalHistory};
use crate::store::{Location, io_error};

/// The folder of quarantined rows, in that of the pipeline's state.
pub const QUARANTINE: &str = "quarantine";
/// The folder of the tables of the schema `weir`.
pub const SYSTEM: &str = "weir";

/// The columns of the dead-letter table.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("file", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("raw", DataType::Binary, false),
        Field::new("time", time_type(), false),
    ]))
}

/// A file of letters that is whole and not yet visible.
#[derive(Debug, Serialize, Deserialize)]
struct Hidden {
    temporary: PathBuf,
    path: PathBuf,
}

/// Writes dead letters as Parquet files, one per source and call.
#[derive(Debug)]
pub struct ParquetDeadLetters {
    folder: PathBuf,
    quarantine: PathBuf,
    system: PathBuf,
    history: LocalHistory,
    /// How long rows of the tables of the schema `weir` are kept, in microseconds.
    keep: i64,
    shown: String,
    run_id: Arc<str>,
    files: AtomicU64,
    /// Files of the tables of the schema `weir` so far.
    tables: AtomicU64,
}

impl ParquetDeadLetters {
    /// Keeps the letters beside the state of a pipeline. Nothing is made on the disk before the
    /// first letter. A state that is not on the local disk is refused.
    pub fn new(state: &Location, run_id: Arc<str>) -> Result<Self> {
        match &state.local_root {
            Some(root) => Ok(Self::local(root, run_id)),
            None => Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                format!("dead letters cannot be written to {}", state.url),
            )
            .hint("set pipeline.state to a folder on the local disk")),
        }
    }

    /// Keeps the letters in a folder of the local disk that holds a pipeline's state.
    pub fn local(state: &Path, run_id: Arc<str>) -> Self {
        let folder = state.join("dead_letters");
        Self {
            shown: folder.display().to_string(),
            quarantine: state.join(QUARANTINE),
            system: state.join(SYSTEM),
            history: LocalHistory::new(state),
            keep: i64::MAX,
            folder,
            run_id,
            files: AtomicU64::new(0),
            tables: AtomicU64::new(0),
        }
    }

    /// Leaves out what the tables of the schema `weir` say of longer ago, when their files are merged.
    #[must_use]
    pub fn keeping(mut self, history: Duration) -> Self {
        self.keep = i64::try_from(history.as_micros()).unwrap_or(i64::MAX);
        self
    }

    /// Merges the files of a table now and then: each checkpoint may add one.
    fn merge(&self, table: &str, number: u64, rows: &[RecordBatch]) -> Result<()> {
        if !number.is_multiple_of(history::FILES_MAX as u64) {
            return Ok(());
        }
        let name = format!("{}-merged-{number}", self.run_id);
        let before = history::newest(rows).saturating_sub(self.keep);
        self.history.merge(table, &name, before)
    }

    /// The folder of one source's letters; it exists once there is a letter.
    pub fn folder_of(&self, source: &str) -> PathBuf {
        self.folder.join(escape(source))
    }

    /// Makes the letters durable under hidden names, one file per source.
    fn hide(&self, letters: Vec<DeadLetter>) -> Result<Vec<Hidden>> {
        let mut sources: BTreeMap<String, Vec<DeadLetter>> = BTreeMap::new();
        for letter in letters {
            match sources.get_mut(&letter.source) {
                Some(same) => same.push(letter),
                None => drop(sources.insert(letter.source.clone(), vec![letter])),
            }
        }
        let mut hidden = Vec::new();
        for (source, letters) in &sources {
            match self.hide_source(source, letters) {
                Ok(file) => hidden.push(file),
                Err(error) => {
                    // The first failure is the one to tell.
                    hidden.iter().for_each(|file| drop(remove(file)));
                    return Err(error);
                }
            }
        }
        Ok(hidden)
    }

    fn hide_source(&self, source: &str, letters: &[DeadLetter]) -> Result<Hidden> {
        self.hide_rows(&self.folder_of(source), &[batch(letters)?])
    }

    fn stage_in(&self, folder: &Path, rows: &[RecordBatch]) -> Result<CommitToken> {
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        let hidden = self.hide_rows(folder, rows)?;
        Ok(CommitToken::new(payload(&[hidden])?, count, 0))
    }

    /// Writes rows under a hidden name in a folder.
    fn hide_rows(&self, folder: &Path, rows: &[RecordBatch]) -> Result<Hidden> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.run_id);
        let file = Hidden {
            // Readers skip names that begin with a point.
            temporary: folder.join(format!(".{name}.tmp")),
            path: folder.join(format!("{name}.parquet")),
        };
        let written = fs::create_dir_all(folder)
            .map_err(|e| io_error(e, &self.shown))
            .and_then(|()| self.write_file(&file.temporary, rows));
        match written {
            Ok(()) => Ok(file),
            Err(error) => {
                drop(remove(&file));
                Err(error)
            }
        }
    }

    fn show(&self, file: &Hidden) -> Result<()> {
        match fs::rename(&file.temporary, &file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.path.exists() => Ok(()),
            renamed => renamed.map_err(|e| io_error(e, &self.shown)),
        }
    }

    fn write_file(&self, path: &Path, rows: &[RecordBatch]) -> Result<()> {
        let Some(first) = rows.first() else {
            return Err(Error::internal("a file of no rows"));
        };
        let bytes = encode(first.schema(), rows, None)?;
        let write = || {
            let mut file = fs::File::create(path)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()
        };
        write().map_err(|e| io_error(e, &self.shown))
    }
}

impl DeadLetterStore for ParquetDeadLetters {
    fn write(&self, letters: Vec<DeadLetter>) -> Result<()> {
        let hidden = self.hide(letters)?;
        hidden.iter().try_for_each(|file| self.show(file))
    }

    fn stage(&self, letters: Vec<DeadLetter>) -> Result<CommitToken> {
        let rows = letters.len() as u64;
        let hidden = self.hide(letters)?;
        Ok(CommitToken::new(payload(&hidden)?, rows, 0))
    }

    fn stage_rows(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken> {
        self.stage_in(&self.quarantine.join(escape(table)), rows)
    }

    fn stage_system(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken> {
        let number = self.tables.fetch_add(1, Ordering::Relaxed);
        self.merge(table, number, rows)?;
        self.stage_in(&self.system.join(escape(table)), rows)
    }

    fn commit(&self, token: &CommitToken) -> Result<()> {
        hidden(token)?.iter().try_for_each(|file| self.show(file))
    }

    fn abort(&self, token: &CommitToken) -> Result<()> {
        hidden(token)?
            .iter()
            .try_for_each(|file| remove(file).map_err(|e| io_error(e, &self.shown)))
    }
}

/// Rows as the content of a Parquet file, with what else is to stand in it. They are encoded in memory, so
/// that an error of the disk keeps its kind; the rows of one file are bounded.
pub(crate) fn encode(
    schema: SchemaRef,
    rows: &[RecordBatch],
    pairs: Option<Vec<KeyValue>>,
) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(pairs)
        .build();
    let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties));
    let encoded = writer.and_then(|mut writer| {
        rows.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    });
    encoded.map_err(unencodable)
}

fn payload(hidden: &[Hidden]) -> Result<String> {
    serde_json::to_string(hidden)
        .map_err(|e| Error::internal("a commit token cannot be written").caused_by(e))
}

fn hidden(token: &CommitToken) -> Result<Vec<Hidden>> {
    serde_json::from_str(&token.payload)
        .map_err(|e| Error::internal("a commit token cannot be read").caused_by(e))
}

fn remove(file: &Hidden) -> io::Result<()> {
    match fs::remove_file(&file.temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn batch(letters: &[DeadLetter]) -> Result<RecordBatch> {
    let text = |get: fn(&DeadLetter) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(letters.iter().map(get)))
    };
    let offsets = letters
        .iter()
        .map(|l| l.offset.and_then(|offset| i64::try_from(offset).ok()));
    let times = letters.iter().map(|letter| letter.time_micros);
    let columns: Vec<ArrayRef> = vec![
        text(|letter| &letter.source),
        text(|letter| &letter.origin),
        Arc::new(offsets.collect::<Int64Array>()),
        text(|letter| letter.reason),
        text(|letter| &letter.detail),
        Arc::new(BinaryArray::from_iter_values(
            letters.iter().map(|letter| &letter.raw),
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn unencodable(error: parquet::errors::ParquetError) -> Error {
    Error::internal("rows that are kept aside cannot be encoded").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn letter(source: &str, offset: Option<u64>, raw: &[u8]) -> DeadLetter {
        DeadLetter {
            source: source.to_owned(),
            origin: "data/a.csv".to_owned(),
            offset,
            reason: "decode",
            detail: "too few fields".to_owned(),
            raw: raw.to_vec(),
            time_micros: 1_700_000_000_000_000,
        }
    }

    fn read(folder: &Path) -> Vec<RecordBatch> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        let open =
            |path| ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        files
            .into_iter()
            .flat_map(|path| open(path).build().unwrap())
            .map(|b| b.unwrap())
            .collect()
    }

    #[test]
    fn keeps_the_letters_of_each_source_apart() {
        let dir = tempfile::tempdir().unwrap();
        let state = Location::local("state", dir.path()).unwrap();
        let store = ParquetDeadLetters::new(&state, "run".into()).unwrap();
        let (odd, plain) = ("a/b", "orders");
        store
            .write(vec![
                letter(odd, Some(7), b"\xff\0"),
                letter(plain, None, b""),
            ])
            .unwrap();
        store.write(vec![letter(odd, Some(9), b"x")]).unwrap();

        let batches = read(&dir.path().join("dead_letters/a%2Fb"));
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        let expected = batch(&[letter(odd, Some(7), b"\xff\0")]).unwrap();
        assert_eq!(batches.first().unwrap().columns(), expected.columns());
        let batches = read(&store.folder_of(plain));
        assert_eq!(
            batches.first().unwrap().columns(),
            batch(&[letter(plain, None, b"")]).unwrap().columns()
        );
    }

    #[test]
    fn quarantined_rows_are_seen_once_they_are_committed() {
        let dir = tempfile::tempdir().unwrap();
        let store = ParquetDeadLetters::local(dir.path(), "run".into());
        let rows = batch(&[letter("s", Some(1), b"x")]).unwrap();
        let folder = dir.path().join("quarantine/a%2Fb");
        let visible = || {
            let names = fs::read_dir(&folder)
                .unwrap()
                .map(|e| e.unwrap().file_name());
            names
                .filter(|name| !name.to_string_lossy().starts_with('.'))
                .count()
        };
        let (kept, thrown) = (
            store
                .stage_rows("a/b", &[rows.clone(), rows.clone()])
                .unwrap(),
            store
                .stage_rows("a/b", std::slice::from_ref(&rows))
                .unwrap(),
        );
        assert_eq!((kept.rows, thrown.rows, visible()), (2, 1, 0));
        store.abort(&thrown).unwrap();
        store.commit(&kept).unwrap();
        store.commit(&kept).unwrap();
        assert_eq!(
            read(&folder)
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>(),
            2
        );
    }

    #[test]
    fn a_place_that_is_not_writable_is_an_error_with_a_code() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dead_letters"), b"a file in the way").unwrap();
        let store = ParquetDeadLetters::local(dir.path(), "run".into());
        let error = store.write(vec![letter("s", None, b"x")]).unwrap_err();
        assert!(
            matches!(error.code(), codes::NOT_FOUND | codes::UNAVAILABLE),
            "{error:?}"
        );
    }
}
