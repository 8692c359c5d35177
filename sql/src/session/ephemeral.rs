//! Jobs that live as long as a statement: what they put aside is kept by nobody, but what rules found can be asked of them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use tokio::sync::watch;
use weir_engine::dead_letter::{DeadLetter, DeadLetterStore, DeadLetters};
use weir_engine::error::Result;
use weir_engine::job::{JobContext, Stop};
use weir_engine::metrics::Metrics;
use weir_engine::rules::RESULTS;
use weir_engine::sink::CommitToken;

use super::Session;

impl Session {
    /// What such a job runs with.
    pub(super) fn ephemeral(
        &self,
        pipeline: &str,
        dead_letters: DeadLetters,
        stop: watch::Receiver<Stop>,
    ) -> JobContext {
        JobContext {
            env: self.env.clone(),
            memory: Arc::clone(&self.runtime.memory_pool),
            batch_rows: self.settings.batch_rows(),
            dead_letters,
            datafusion: self.planner.state().task_ctx(),
            metrics: Metrics::default(),
            stop,
            pipeline: pipeline.into(),
            run_id: self.env.next_id().into(),
        }
    }
}

/// Rows that such a job keeps back are left out; what its rules find is remembered until it is taken.
#[derive(Debug, Default)]
pub(super) struct Found {
    results: Mutex<Vec<RecordBatch>>,
}

impl Found {
    /// What rules found since it was last taken.
    pub(super) fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut *self.results.lock())
    }
}

impl DeadLetterStore for Found {
    fn write(&self, _letters: Vec<DeadLetter>) -> Result<()> {
        Ok(())
    }

    fn stage(&self, _letters: Vec<DeadLetter>) -> Result<CommitToken> {
        Ok(CommitToken::new(String::new(), 0, 0))
    }

    fn stage_rows(&self, _table: &str, _rows: &[RecordBatch]) -> Result<CommitToken> {
        Ok(CommitToken::new(String::new(), 0, 0))
    }

    fn stage_system(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken> {
        if table == RESULTS {
            self.results.lock().extend_from_slice(rows);
        }
        Ok(CommitToken::new(String::new(), 0, 0))
    }

    fn commit(&self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }

    fn abort(&self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }
}
