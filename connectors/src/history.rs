//! Tables of the schema `weir` on the local disk: Parquet files under `<state>/weir/<table>/`, of which a pipeline
//! adds one per checkpoint and merges many into one.
//!
//! A merged file names those that it holds, and readers pass over these: between the moment at which it
//! appears and that at which the others are gone, each row is read once, whatever crashes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::history::History;

use crate::dead_letter::{SYSTEM, encode};
use crate::file_sink::escape;
use crate::store::io_error;

/// The key under which a merged file names those that it holds.
const HOLDS: &str = "weir.holds";
/// The column by which rows grow old.
const TIME: &str = "recorded_at";
/// Files of a table from which on they are merged: a query opens each of them.
pub const FILES_MAX: usize = 64;

/// The tables of one pipeline.
#[derive(Debug, Clone)]
pub struct LocalHistory {
    folder: PathBuf,
}

impl LocalHistory {
    /// The tables in the folder of a pipeline's state.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join(SYSTEM),
        }
    }

    fn table(&self, table: &str) -> PathBuf {
        self.folder.join(escape(table))
    }

    fn wrong(&self, error: io::Error) -> Error {
        io_error(error, &self.folder.display().to_string())
    }

    /// The names of the visible files, in the order of their names.
    fn visible(&self, table: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.table(table)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| self.wrong(error))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.wrong(error))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with('.') && name.ends_with(".parquet") {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(
        &self,
        table: &str,
        file: &str,
    ) -> Result<Option<ParquetRecordBatchReaderBuilder<File>>> {
        let path = self.table(table).join(file);
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.wrong(error))?,
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened);
        reader.map(Some).map_err(|error| damaged(&path, error))
    }

    /// The files that a merged one holds.
    fn holds(&self, table: &str, file: &str) -> Result<BTreeSet<String>> {
        let Some(reader) = self.open(table, file)? else {
            return Ok(BTreeSet::new());
        };
        let pairs = reader.metadata().file_metadata().key_value_metadata();
        let names = pairs.into_iter().flatten().find(|pair| pair.key == HOLDS);
        let names = names.and_then(|pair| pair.value.as_deref()).unwrap_or("");
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Writes a file that appears only when it is whole.
    fn write(
        &self,
        table: &str,
        name: &str,
        rows: &[RecordBatch],
        pairs: Vec<KeyValue>,
    ) -> Result<()> {
        let Some(schema) = rows.first().map(RecordBatch::schema) else {
            return Ok(());
        };
        let bytes = encode(schema, rows, Some(pairs))?;
        let folder = self.table(table);
        let hidden = folder.join(format!(".{name}.tmp"));
        let shown = folder.join(format!("{name}.parquet"));
        let written = fs::create_dir_all(&folder).and_then(|()| File::create(&hidden));
        let written = written.and_then(|mut file| {
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
            fs::rename(&hidden, &shown)
        });
        written.map_err(|error| self.wrong(error))
    }

    /// Merges the files of a table into one if there are many, and leaves out rows that were recorded
    /// before a time. Called by the one pipeline that writes them.
    pub fn merge(&self, table: &str, name: &str, before_micros: i64) -> Result<()> {
        let visible = self.visible(table)?;
        if visible.len() < FILES_MAX {
            return Ok(());
        }
        let live = self.files(table)?;
        let mut rows = Vec::new();
        for file in &live {
            for batch in self.read(table, file)? {
                rows.push(since(batch, before_micros)?);
            }
        }
        let folder = self.table(table);
        let holds = KeyValue::new(HOLDS.to_owned(), visible.join("\n"));
        self.write(table, name, &rows, vec![holds])?;
        for file in &visible {
            match fs::remove_file(folder.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| self.wrong(error))?,
            }
        }
        Ok(())
    }
}

impl History for LocalHistory {
    fn files(&self, table: &str) -> Result<Vec<String>> {
        let visible = self.visible(table)?;
        let mut held = BTreeSet::new();
        for file in &visible {
            held.extend(self.holds(table, file)?);
        }
        Ok(visible
            .into_iter()
            .filter(|file| !held.contains(file))
            .collect())
    }

    fn add(&self, table: &str, file: &str, rows: &[RecordBatch]) -> Result<()> {
        self.write(table, file, rows, Vec::new())
    }

    fn read(&self, table: &str, file: &str) -> Result<Vec<RecordBatch>> {
        let Some(reader) = self.open(table, file)? else {
            return Ok(Vec::new());
        };
        let path = self.table(table).join(file);
        let rows = reader.build().map_err(|error| damaged(&path, error))?;
        rows.map(|batch| batch.map_err(|error| damaged(&path, error)))
            .collect()
    }
}

/// The newest time at which rows were recorded; the least time without rows.
pub(crate) fn newest(rows: &[RecordBatch]) -> i64 {
    let times = rows.iter().filter_map(|batch| {
        let times = batch.column_by_name(TIME)?;
        arrow::compute::max(times.as_primitive_opt::<TimestampMicrosecondType>()?)
    });
    times.max().unwrap_or(i64::MIN)
}

/// The rows of a batch that were recorded at a time or later.
fn since(batch: RecordBatch, micros: i64) -> Result<RecordBatch> {
    let times = batch.column_by_name(TIME);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let Some(times) = times else {
        return Ok(batch);
    };
    let young: BooleanArray = times
        .iter()
        .map(|time| Some(time.is_none_or(|time| time >= micros)))
        .collect();
    Ok(filter_record_batch(&batch, &young)?)
}

fn damaged(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("{} is no Parquet file that can be read", path.display());
    Error::new(Kind::Data, codes::CORRUPT, message)
        .hint("remove it: it holds a history of checks, no data")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use weir_engine::dead_letter::DeadLetterStore as _;

    use super::*;
    use crate::dead_letter::ParquetDeadLetters;

    fn rows(times: &[i64]) -> RecordBatch {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        RecordBatch::try_from_iter([(TIME, times)]).unwrap()
    }

    fn times(history: &LocalHistory) -> Vec<i64> {
        let mut all = Vec::new();
        for file in history.files("t").unwrap() {
            for batch in history.read("t", &file).unwrap() {
                let column = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                all.extend(column.values().iter());
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn rows_are_read_once_whatever_is_merged() {
        let dir = tempfile::tempdir().unwrap();
        let store = ParquetDeadLetters::local(dir.path(), "run".into());
        let history = LocalHistory::new(dir.path());
        assert!(times(&history).is_empty());
        for number in 0..64 {
            let token = store.stage_system("t", &[rows(&[number])]).unwrap();
            store.commit(&token).unwrap();
        }
        let all: Vec<i64> = (0..64).collect();
        assert_eq!(times(&history), all);
        // A crash before the files are removed leaves both.
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(dir.path().join("weir/t")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        history.merge("t", "merged", 30).unwrap();
        assert_eq!(times(&history), all[30..]);
        assert_eq!(history.files("t").unwrap(), ["merged.parquet"]);
        for entry in fs::read_dir(copy.path()).unwrap() {
            let path = entry.unwrap().path();
            let back = dir.path().join("weir/t").join(path.file_name().unwrap());
            fs::copy(&path, back).unwrap();
        }
        assert_eq!(times(&history), all[30..]);
        history.merge("t", "again", 0).unwrap();
        assert_eq!(times(&history), all[30..]);
    }
}
