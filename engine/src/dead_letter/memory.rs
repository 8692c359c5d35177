//! A store of what is kept aside in memory.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use super::{DeadLetter, DeadLetterStore};
use crate::error::Result;
use crate::limits;
use crate::sink::CommitToken;

/// Keeps letters in memory: for queries in a shell and for tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    letters: Mutex<Vec<DeadLetter>>,
    rows: Mutex<BTreeMap<String, Vec<RecordBatch>>>,
    staged: Mutex<BTreeMap<String, Staged>>,
}

/// What is not visible yet.
#[derive(Debug, Default)]
struct Staged {
    letters: Vec<DeadLetter>,
    rows: Vec<(String, RecordBatch)>,
}

impl MemoryStore {
    /// Gives a copy of what was kept.
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().clone()
    }

    /// Gives a copy of the rows of a quarantine table.
    pub fn rows(&self, table: &str) -> Vec<RecordBatch> {
        self.rows.lock().get(table).cloned().unwrap_or_default()
    }

    fn put(&self, staged: Staged) -> CommitToken {
        let mut all = self.staged.lock();
        let (name, rows) = (
            all.len().to_string(),
            staged.letters.len() + staged.rows.len(),
        );
        all.insert(name.clone(), staged);
        CommitToken::new(name, rows as u64, 0)
    }
}

impl DeadLetterStore for MemoryStore {
    fn write(&self, letters: Vec<DeadLetter>) -> Result<()> {
        let mut kept = self.letters.lock();
        let room = limits::DEAD_LETTERS_BUFFERED_MAX.saturating_sub(kept.len());
        kept.extend(letters.into_iter().take(room));
        Ok(())
    }

    fn stage(&self, letters: Vec<DeadLetter>) -> Result<CommitToken> {
        Ok(self.put(Staged {
            letters,
            ..Staged::default()
        }))
    }

    fn stage_rows(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken> {
        let rows = rows.iter().map(|rows| (table.to_owned(), rows.clone()));
        Ok(self.put(Staged {
            rows: rows.collect(),
            ..Staged::default()
        }))
    }

    fn stage_system(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken> {
        self.stage_rows(&format!("weir.{table}"), rows)
    }

    fn commit(&self, token: &CommitToken) -> Result<()> {
        let staged = self
            .staged
            .lock()
            .get_mut(&token.payload)
            .map(std::mem::take);
        let staged = staged.unwrap_or_default();
        for (table, rows) in staged.rows {
            self.rows.lock().entry(table).or_default().push(rows);
        }
        self.write(staged.letters)
    }

    fn abort(&self, token: &CommitToken) -> Result<()> {
        if let Some(staged) = self.staged.lock().get_mut(&token.payload) {
            *staged = Staged::default();
        }
        Ok(())
    }
}
