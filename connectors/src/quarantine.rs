//! Quarantine tables on the local disk, in `<state>/quarantine/<table>/`: rows as Parquet files that
//! [`crate::dead_letter`] writes, and beside them the requests, `requests/<number>.parquet`, each
//! created whole or not at all, and `applied.json`, which says how far the pipeline has come. Sources
//! that are paused are told of beside it, in `<state>/paused/`.

mod expire;
mod files;
mod kept;
mod pauses;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use weir_engine::error::{Error, Result};
use weir_engine::quarantine::{Action, Kept, Quarantine, Request};
use weir_engine::rules::Pause;

use crate::dead_letter::QUARANTINE;
use crate::file_sink::{escape, unescape};

/// The folder of a table's requests.
const REQUESTS: &str = "requests";
/// The file that says which requests were shown.
const APPLIED: &str = "applied.json";
/// The name under which a request's file says what is asked.
const ACTION: &str = "weir.action";

/// The quarantine of a pipeline whose state is in a folder.
#[derive(Debug)]
pub struct LocalQuarantine {
    folder: PathBuf,
    /// Where sources that are paused are told of.
    paused: PathBuf,
    /// Names what this instance writes before it has its own name.
    writer: Arc<str>,
    written: AtomicU64,
    oldest: Mutex<expire::Oldest>,
}

/// The content of [`APPLIED`].
#[derive(Debug, Default, Serialize, Deserialize)]
struct Applied {
    request: u64,
}

impl LocalQuarantine {
    /// The quarantine in a pipeline's state; nobody else writes under the name `writer`.
    pub fn new(state: &Path, writer: Arc<str>) -> Self {
        Self {
            folder: state.join(QUARANTINE),
            paused: state.join(pauses::PAUSED),
            writer,
            written: AtomicU64::new(0),
            oldest: Mutex::default(),
        }
    }

    fn table(&self, table: &str) -> PathBuf {
        self.folder.join(escape(table))
    }

    fn requests(&self, table: &str) -> PathBuf {
        self.table(table).join(REQUESTS)
    }

    /// A name in a folder that readers pass over.
    fn hidden(&self, folder: &Path) -> PathBuf {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        folder.join(format!(".{}-{number}.tmp", self.writer))
    }

    fn statuses(&self, table: &str, last: u64) -> Result<kept::Statuses> {
        let applied = self.applied(table)?;
        let mut statuses = kept::Statuses::default();
        for number in 1..=last {
            let path = request_path(&self.requests(table), number);
            let (schema, rows) = files::read(&path, Some(&kept::NAMED))?;
            let action = action_of(&schema, &path)?;
            for rows in &rows {
                statuses.add(rows, action.status(number <= applied))?;
            }
        }
        Ok(statuses)
    }
}

impl Quarantine for LocalQuarantine {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn tables(&self) -> Result<Vec<String>> {
        let folders = files::names(&self.folder)?;
        let mut tables = Vec::new();
        for name in folders.iter().filter(|name| !name.starts_with('.')) {
            let has_rows = !files::rows(&self.folder.join(name))?.is_empty();
            tables.extend(has_rows.then(|| unescape(name)));
        }
        tables.sort_unstable();
        Ok(tables)
    }

    fn open(&self, table: &str) -> Result<Option<Arc<dyn Kept>>> {
        // Rows before requests: one that is named later is open here.
        let rows = files::rows(&self.table(table))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let last = self.last(table)?;
        let statuses = self.statuses(table, last)?;
        Ok(Some(Arc::new(kept::LocalKept::try_new(
            rows, statuses, last,
        )?)))
    }

    fn ask(&self, table: &str, request: &Request) -> Result<bool> {
        let folder = self.requests(table);
        files::make(&folder)?;
        let mut schema = Schema::clone(&request.rows.schema());
        let action = request.action.word().to_owned();
        schema.metadata.insert(ACTION.to_owned(), action);
        let rows = RecordBatch::try_new(Arc::new(schema), request.rows.columns().to_vec())?;
        let hidden = self.hidden(&folder);
        let created = files::write(&hidden, &rows)
            .and_then(|()| files::create(&hidden, &request_path(&folder, request.number)));
        files::remove(&hidden)?;
        created
    }

    fn request(&self, table: &str, number: u64) -> Result<Option<Request>> {
        let path = request_path(&self.requests(table), number);
        if !path.exists() {
            return Ok(None);
        }
        let (schema, batches) = files::read(&path, None)?;
        let action = action_of(&schema, &path)?;
        let rows = arrow::compute::concat_batches(&schema, &batches)?;
        Ok(Some(Request {
            number,
            action,
            rows,
        }))
    }

    fn last(&self, table: &str) -> Result<u64> {
        let names = files::names(&self.requests(table))?;
        let numbers = names.iter().filter_map(|name| {
            let digits = name.strip_suffix(".parquet")?;
            digits.parse().ok()
        });
        Ok(numbers.max().unwrap_or(0))
    }

    fn applied(&self, table: &str) -> Result<u64> {
        let path = self.table(table).join(APPLIED);
        let Some(bytes) = files::bytes(&path)? else {
            return Ok(0);
        };
        let applied: Applied = serde_json::from_slice(&bytes).map_err(|error| {
            files::damaged(&path, "it is not what was written").caused_by(error)
        })?;
        Ok(applied.request)
    }

    fn note_applied(&self, table: &str, number: u64) -> Result<()> {
        if self.applied(table)? >= number {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&Applied { request: number })
            .map_err(|error| Error::internal("a number cannot be written").caused_by(error))?;
        let folder = self.table(table);
        files::make(&folder)?;
        let hidden = self.hidden(&folder);
        files::write_bytes(&hidden, &bytes)?;
        let path = folder.join(APPLIED);
        fs::rename(&hidden, &path).map_err(|error| files::failed(error, &path))
    }

    fn expire(&self, before: i64) -> Result<()> {
        expire::expire(self, &mut self.oldest.lock(), before)
    }

    fn note_paused(&self, pause: &Pause) -> Result<()> {
        pauses::begin(self, pause)
    }

    fn paused(&self) -> Result<Vec<Pause>> {
        pauses::open(&self.paused)
    }

    fn resume(&self, pause: &Pause) -> Result<()> {
        pauses::end(&self.paused, pause)
    }

    fn is_resumed(&self, pause: &Pause) -> Result<bool> {
        pauses::is_over(&self.paused, pause)
    }
}

fn request_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.parquet"))
}

fn action_of(schema: &Schema, path: &Path) -> Result<Action> {
    let word = schema.metadata().get(ACTION);
    word.and_then(|word| Action::of_word(word))
        .ok_or_else(|| files::damaged(path, "it does not say what is asked"))
}
