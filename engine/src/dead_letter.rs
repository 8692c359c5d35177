//! Rows that are kept aside, with the epoch that they belong to: those that cannot be processed, with
//! raw bytes, reason and place, counted per reason; and those that rules quarantine, as typed.

mod memory;
mod pauses;
mod requests;
#[cfg(test)]
mod tests;
mod unread;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use crate::error::{Error, Kind, Result, codes};
use crate::job::JobContext;
use crate::limits;
use crate::quarantine::Quarantine;
use crate::rules::ledger::{Counts, Ledger};
use crate::rules::results::{RESULTS, RuleResult, results_batch};
use crate::rules::{Pause, Table, TableTally};
use crate::sink::CommitToken;
pub(crate) use requests::Numbers;
use requests::Taken;
use unread::Unread;

pub use memory::MemoryStore;

/// What to do with a row that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// End the job.
    Fail,
    /// Keep the row in the dead-letter table and go on.
    #[default]
    DeadLetter,
    /// Count the row and go on.
    Skip,
    /// Keep the row in the quarantine table of its source and go on; as a dead letter where that has none.
    Quarantine,
}

/// One row that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source's name in the script.
    pub source: String,
    /// The file, topic or object that it came from.
    pub origin: String,
    /// Where in it: byte offset, or row number, as the format has it.
    pub offset: Option<u64>,
    /// A short stable word to count by: `decode`, `value`, `null`, `corrupt`, `late`, `schema`.
    pub reason: &'static str,
    /// What was wrong, for people.
    pub detail: String,
    /// The raw bytes, cut at [`limits::DEAD_LETTER_RAW_BYTES_MAX`].
    pub raw: Vec<u8>,
    /// When it was seen, in microseconds since 1970.
    pub time_micros: i64,
}

/// Where full buffers of dead letters are written; implemented over a sink's file writer.
pub trait DeadLetterStore: fmt::Debug + Send + Sync {
    /// Makes the letters durable and visible.
    fn write(&self, letters: Vec<DeadLetter>) -> Result<()>;

    /// Makes the letters durable; they become visible by [`DeadLetterStore::commit`].
    fn stage(&self, letters: Vec<DeadLetter>) -> Result<CommitToken>;

    /// Makes rows of a quarantine table durable; they become visible by [`DeadLetterStore::commit`].
    fn stage_rows(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken>;

    /// Makes rows of a table of the schema `weir` durable, such as what rules have found; they become
    /// visible by [`DeadLetterStore::commit`].
    fn stage_system(&self, table: &str, rows: &[RecordBatch]) -> Result<CommitToken>;

    /// Makes staged letters visible. Idempotent.
    fn commit(&self, token: &CommitToken) -> Result<()>;

    /// Throws staged letters away.
    fn abort(&self, token: &CommitToken) -> Result<()>;
}

/// Which checkpoint the letters of a task go with.
#[derive(Debug, Clone)]
enum Visible {
    /// None: they are visible once they are written.
    AtOnce,
    /// The one after the last barrier that the task has passed.
    With(Arc<AtomicU64>),
}

/// Collects dead letters of a job: cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    inner: Arc<Inner>,
    muted: bool,
    /// Whether requests about rows in quarantine are taken.
    takes: bool,
    visible: Visible,
    /// Where rows of its source go that cannot be read.
    unread: Option<Arc<Unread>>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn DeadLetterStore>,
    quarantine: Option<Arc<dyn Quarantine>>,
    /// How long rows are kept in it; for ever without.
    keep: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffers: BTreeMap<u64, Buffer>,
    counts: BTreeMap<(String, &'static str), u64>,
    /// Rows that were skipped, by source.
    skipped: BTreeMap<String, u64>,
    /// Rows in quarantine that cannot be read, by source.
    unread: BTreeMap<String, u64>,
    ledger: Ledger,
    /// The names of the pipeline and of the run, once a rule was asked.
    run: Option<(Arc<str>, Arc<str>)>,
    taken: Taken,
    /// When rows in quarantine are to be looked at that may be too old.
    expires: i64,
}

/// The letters of one epoch, or of none.
#[derive(Debug, Default)]
struct Buffer {
    letters: Vec<DeadLetter>,
    bytes: usize,
    /// The rows of each quarantine table.
    rows: BTreeMap<Arc<str>, Waiting>,
    /// What rules over many rows have found.
    results: Vec<RuleResult>,
    staged: Vec<CommitToken>,
}

/// The number under which letters wait that go with no checkpoint.
const AT_ONCE: u64 = 0;

impl Buffer {
    fn take(&mut self) -> Vec<DeadLetter> {
        self.bytes = 0;
        std::mem::take(&mut self.letters)
    }
}

/// Rows of one quarantine table that wait to be written out.
#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, rows: RecordBatch) {
        self.rows += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.batches.push(rows);
    }

    fn is_full(&self) -> bool {
        self.rows >= limits::QUARANTINED_BUFFERED_MAX || self.bytes >= BUFFER_BYTES_MAX
    }
}

/// Bytes of raw rows at which the buffer is written out.
const BUFFER_BYTES_MAX: usize = 8 << 20;

impl DeadLetters {
    /// Makes a collector over a store.
    pub fn new(store: Arc<dyn DeadLetterStore>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                quarantine: None,
                keep: None,
                state: Mutex::default(),
            }),
            muted: false,
            takes: false,
            visible: Visible::AtOnce,
            unread: None,
        }
    }

    /// The same collector for one task of a job with checkpoints: what it puts becomes visible with
    /// the epoch after the last that [`DeadLetters::pass`] was told.
    pub fn of_task(&self, epoch: u64) -> Self {
        Self {
            visible: Visible::With(Arc::new(AtomicU64::new(epoch + 1))),
            ..self.clone()
        }
    }

    /// Notes that the task has passed the barrier of an epoch.
    pub fn pass(&self, epoch: u64) {
        if let Visible::With(next) = &self.visible {
            next.store(epoch + 1, Relaxed);
        }
    }

    /// The same collector for a reader whose bad rows another reader keeps: they can fail the job,
    /// but are neither kept nor counted.
    pub fn muted(&self) -> Self {
        Self {
            muted: true,
            ..self.clone()
        }
    }

    /// Keeps a row, or fails the job, as its source says.
    pub fn put(&self, on_error: OnError, mut letter: DeadLetter) -> Result<()> {
        if on_error == OnError::Fail {
            let at = letter
                .offset
                .map_or_else(String::new, |offset| format!(" at {offset}"));
            return Err(Error::new(
                Kind::Data,
                codes::DECODE,
                format!("source \"{}\": {}", letter.source, letter.detail),
            )
            .detail(format!("in {}{at}", letter.origin))
            .hint("set on_error = 'dead_letter' on the source to keep such rows aside and go on"));
        }
        if self.muted {
            return Ok(());
        }
        if on_error == OnError::Skip {
            let mut state = self.inner.state.lock();
            *state.skipped.entry(letter.source).or_default() += 1;
            return Ok(());
        }
        letter.raw.truncate(limits::DEAD_LETTER_RAW_BYTES_MAX);
        if let (OnError::Quarantine, Some(unread)) = (on_error, &self.unread) {
            unread.keep(&letter)?;
            let mut state = self.inner.state.lock();
            *state.unread.entry(letter.source).or_default() += 1;
            return Ok(());
        }
        let epoch = self.epoch();
        let full = {
            let mut state = self.inner.state.lock();
            *state
                .counts
                .entry((letter.source.clone(), letter.reason))
                .or_default() += 1;
            let buffer = state.buffers.entry(epoch).or_default();
            buffer.bytes += letter.raw.len() + letter.detail.len();
            buffer.letters.push(letter);
            let full = buffer.letters.len() >= limits::DEAD_LETTERS_BUFFERED_MAX
                || buffer.bytes >= BUFFER_BYTES_MAX;
            full.then(|| buffer.take())
        };
        match full {
            None => Ok(()),
            Some(letters) if epoch == AT_ONCE => self.inner.store.write(letters),
            Some(letters) => {
                let token = self.inner.store.stage(letters)?;
                let mut state = self.inner.state.lock();
                state.buffers.entry(epoch).or_default().staged.push(token);
                Ok(())
            }
        }
    }

    /// The epoch under which rows go now.
    fn epoch(&self) -> u64 {
        match &self.visible {
            Visible::AtOnce => AT_ONCE,
            Visible::With(next) => next.load(Relaxed),
        }
    }

    /// Whether what is put here is neither kept nor counted.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// How many rows that break each rule of a table are to be shown, if any.
    pub(crate) fn samples_wanted(&self, table: &Table, counts: &Counts) -> Option<Vec<usize>> {
        if self.muted || counts.rules.iter().all(|[_, violated, _]| *violated == 0) {
            return None;
        }
        let state = self.inner.state.lock();
        state.ledger.samples_wanted(self.epoch(), table, counts)
    }

    /// Takes what rules over many rows have found.
    pub(crate) fn checked(
        &self,
        table: &Arc<Table>,
        counts: &Counts,
        results: Vec<RuleResult>,
        job: &JobContext,
    ) -> Result<()> {
        if self.muted {
            return Ok(());
        }
        let epoch = self.epoch();
        let mut state = self.inner.state.lock();
        state.run.get_or_insert_with(|| names(job));
        let now_micros = job.env.clock().now_micros();
        state
            .ledger
            .add(epoch, table, counts, 0, now_micros, None)?;
        let buffer = state.buffers.entry(epoch).or_default();
        buffer.results.extend(results);
        Ok(())
    }

    /// Takes what rules have decided over a batch, with the rows for quarantine tables.
    pub(crate) fn judged(
        &self,
        table: &Arc<Table>,
        counts: &Counts,
        quarantined: Vec<(Arc<str>, RecordBatch)>,
        job: &JobContext,
    ) -> Result<()> {
        if self.muted {
            return Ok(());
        }
        let epoch = self.epoch();
        let rows = quarantined.iter().map(|(_, rows)| rows.num_rows() as u64);
        let mut full = Vec::new();
        {
            let mut state = self.inner.state.lock();
            state.run.get_or_insert_with(|| names(job));
            let now_micros = job.env.clock().now_micros();
            let kept = rows.sum();
            let pausing = self.takes_requests().then_some(&job.run_id);
            state
                .ledger
                .add(epoch, table, counts, kept, now_micros, pausing)?;
            let buffer = state.buffers.entry(epoch).or_default();
            for (into, rows) in quarantined {
                let waiting = buffer.rows.entry(Arc::clone(&into)).or_default();
                waiting.push(rows);
                if waiting.is_full() {
                    full.push((into, std::mem::take(waiting).batches));
                }
            }
        }
        for (into, rows) in full {
            let token = self.inner.store.stage_rows(&into, &rows)?;
            let mut state = self.inner.state.lock();
            state.buffers.entry(epoch).or_default().staged.push(token);
        }
        Ok(())
    }

    /// Goes on from what the rules of a pipeline have counted before; `whole` when nothing becomes
    /// visible before the end. `applied` is what requests of the quarantine it has taken, `paused` the
    /// sources that were paused.
    pub(crate) fn begin(
        &self,
        counted: &[TableTally],
        (applied, paused): (Option<&Numbers>, &[Pause]),
        whole: bool,
    ) -> Result<()> {
        self.inner.state.lock().ledger.begin(counted, whole);
        self.begin_paused(paused)?;
        self.begin_requests(applied)
    }

    /// Writes out the letters that go with no checkpoint.
    pub fn flush(&self) -> Result<()> {
        let letters = {
            let mut state = self.inner.state.lock();
            state.buffers.get_mut(&AT_ONCE).map(Buffer::take)
        };
        match letters {
            Some(letters) if !letters.is_empty() => self.inner.store.write(letters),
            _ => Ok(()),
        }
    }

    /// Makes durable what goes with an epoch, once all tasks have passed it; `last` when no other
    /// follows. It is an error if rows are lost, or if too many break a rule.
    pub fn prepare(&self, epoch: u64, last: bool) -> Result<Vec<CommitToken>> {
        let (mut buffer, found, run) = {
            let mut state = self.inner.state.lock();
            let found = state.ledger.settle(epoch, last)?;
            let buffer = state.buffers.remove(&epoch).unwrap_or_default();
            (buffer, found, state.run.clone())
        };
        buffer.results.extend(found);
        if let Some((pipeline, run)) = run.filter(|_| !buffer.results.is_empty()) {
            let rows = results_batch(&buffer.results, (&pipeline, &run), epoch)?;
            let token = self.inner.store.stage_system(RESULTS, &[rows])?;
            buffer.staged.push(token);
        }
        buffer.staged.extend(self.settle_requests(epoch)?);
        buffer.staged.extend(self.settle_paused(epoch)?);
        if !buffer.letters.is_empty() {
            buffer.staged.push(self.inner.store.stage(buffer.letters)?);
        }
        for (into, waiting) in buffer.rows.iter().filter(|(_, waiting)| waiting.rows > 0) {
            let token = self.inner.store.stage_rows(into, &waiting.batches)?;
            buffer.staged.push(token);
        }
        Ok(buffer.staged)
    }

    /// Ends a job without checkpoints that went well: what no epoch has becomes visible.
    pub(crate) fn prepare_all(&self) -> Result<Vec<CommitToken>> {
        self.prepare(AT_ONCE, true)
    }

    /// Makes prepared letters visible. Idempotent.
    pub fn commit(&self, tokens: &[CommitToken]) -> Result<()> {
        tokens.iter().try_for_each(|token| {
            match self.commit_requests(token)? || self.commit_paused(token)? {
                true => Ok(()),
                false => self.inner.store.commit(token),
            }
        })
    }

    /// Takes what rules have found that ends the job.
    pub(crate) fn ended(&self, found: impl IntoIterator<Item = RuleResult>, job: &JobContext) {
        let epoch = self.epoch();
        let mut state = self.inner.state.lock();
        state.run.get_or_insert_with(|| names(job));
        state.ledger.halts.ended(epoch, found);
    }

    /// Throws away what was staged and goes with no durable checkpoint; shows what has ended the job, if
    /// a rule did.
    pub fn discard(&self) -> Result<()> {
        let (buffers, ended, run) = {
            let mut state = self.inner.state.lock();
            state.ledger.discard();
            let ended = state.ledger.halts.take_ended();
            (std::mem::take(&mut state.buffers), ended, state.run.clone())
        };
        for (epoch, found) in ended {
            let Some((pipeline, run)) = &run else { break };
            let rows = results_batch(&found, (pipeline, run), epoch)?;
            let token = self.inner.store.stage_system(RESULTS, &[rows])?;
            self.inner.store.commit(&token)?;
        }
        buffers
            .values()
            .flat_map(|buffer| &buffer.staged)
            .try_for_each(|token| self.inner.store.abort(token))
    }

    /// Counts per (source, reason).
    pub fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        self.inner.state.lock().counts.clone()
    }

    /// Counts all.
    pub fn total(&self) -> u64 {
        self.inner.state.lock().counts.values().sum()
    }

    /// Counts the rows of one source that were skipped.
    pub fn skipped(&self, source: &str) -> u64 {
        let state = self.inner.state.lock();
        state.skipped.get(source).copied().unwrap_or(0)
    }

    /// Counts the rows of one source that are in quarantine because they cannot be read.
    pub(crate) fn unread(&self, source: &str) -> u64 {
        let state = self.inner.state.lock();
        state.unread.get(source).copied().unwrap_or(0)
    }

    /// Counts those of one source that never became rows of a query. Late rows did: they are
    /// counted by the operator that they were late for.
    pub fn of_source(&self, source: &str) -> u64 {
        let state = self.inner.state.lock();
        state
            .counts
            .iter()
            .filter(|((name, reason), _)| name == source && *reason != crate::late::REASON)
            .map(|(_, n)| n)
            .sum()
    }
}

fn names(job: &JobContext) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&job.pipeline), Arc::clone(&job.run_id))
}

/// What rules have decided, per table.
impl DeadLetters {
    /// All of it, with what earlier runs of the pipeline counted.
    pub fn tallies(&self) -> Vec<TableTally> {
        self.inner.state.lock().ledger.now()
    }

    /// What a checkpoint keeps of it: the epochs that are prepared.
    pub(crate) fn settled(&self) -> Vec<TableTally> {
        self.inner.state.lock().ledger.settled()
    }

    /// Rows of a table that rules have kept back in this run.
    pub fn kept_back(&self, table: &str) -> u64 {
        self.inner.state.lock().ledger.kept_back(table)
    }
}
