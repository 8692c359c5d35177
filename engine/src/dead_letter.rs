//! Rows that cannot be processed: kept with raw bytes, reason and place, counted per reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result, codes};
use crate::limits;

/// What to do with a row that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// End the job.
    Fail,
    /// Keep the row in the dead-letter table and go on.
    #[default]
    DeadLetter,
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
    /// Makes the letters durable and visible, in one file. Called from a blocking thread.
    fn write(&self, letters: Vec<DeadLetter>) -> Result<()>;
}

/// Collects dead letters of a job: cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    inner: Arc<Inner>,
    muted: bool,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn DeadLetterStore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<DeadLetter>,
    buffered_bytes: usize,
    counts: BTreeMap<(String, &'static str), u64>,
}

/// Bytes of raw rows at which the buffer is written out.
const BUFFER_BYTES_MAX: usize = 8 << 20;

impl DeadLetters {
    /// Makes a collector over a store.
    pub fn new(store: Arc<dyn DeadLetterStore>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                state: Mutex::default(),
            }),
            muted: false,
        }
    }

    /// The same collector for a reader whose bad rows another reader keeps: they can fail the job,
    /// but are neither kept nor counted.
    pub fn muted(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            muted: true,
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
        letter.raw.truncate(limits::DEAD_LETTER_RAW_BYTES_MAX);
        let full = {
            let mut state = self.inner.state.lock();
            *state
                .counts
                .entry((letter.source.clone(), letter.reason))
                .or_default() += 1;
            state.buffered_bytes += letter.raw.len() + letter.detail.len();
            state.buffer.push(letter);
            let full = state.buffer.len() >= limits::DEAD_LETTERS_BUFFERED_MAX
                || state.buffered_bytes >= BUFFER_BYTES_MAX;
            full.then(|| {
                state.buffered_bytes = 0;
                std::mem::take(&mut state.buffer)
            })
        };
        full.map_or(Ok(()), |letters| self.inner.store.write(letters))
    }

    /// Writes out what is buffered.
    pub fn flush(&self) -> Result<()> {
        let letters = {
            let mut state = self.inner.state.lock();
            state.buffered_bytes = 0;
            std::mem::take(&mut state.buffer)
        };
        if letters.is_empty() {
            Ok(())
        } else {
            self.inner.store.write(letters)
        }
    }

    /// Counts per (source, reason).
    pub fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        self.inner.state.lock().counts.clone()
    }

    /// Counts all.
    pub fn total(&self) -> u64 {
        self.inner.state.lock().counts.values().sum()
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

/// Keeps letters in memory: for queries in a shell and for tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    letters: Mutex<Vec<DeadLetter>>,
}

impl MemoryStore {
    /// Gives a copy of what was kept.
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().clone()
    }
}

impl DeadLetterStore for MemoryStore {
    fn write(&self, letters: Vec<DeadLetter>) -> Result<()> {
        let mut kept = self.letters.lock();
        let room = limits::DEAD_LETTERS_BUFFERED_MAX.saturating_sub(kept.len());
        kept.extend(letters.into_iter().take(room));
        Ok(())
    }
}
