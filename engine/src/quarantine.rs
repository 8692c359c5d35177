//! Quarantine tables as those see them who read them or ask something of their rows.
//!
//! A row in quarantine is never changed. What is to become of it is said by *requests*, a log per
//! table in which each has a number that nobody else can take: a row belongs to the first request
//! that names it. The pipeline takes requests in their order and keeps in its checkpoint how far it
//! has come, so that the rows of each are published in one epoch, once.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::rules::Pause;

/// Rows of one request: a pipeline takes them as one batch, within one epoch.
pub const REQUEST_ROWS_MAX: usize = 8_192;

/// What is asked of rows in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They are published past the rules of their table.
    Release,
    /// They are judged once more.
    Replay,
    /// They are not wanted.
    Discard,
}

impl Action {
    const ALL: [Self; 3] = [Self::Release, Self::Replay, Self::Discard];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }

    /// Finds one by its word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }

    /// The status of rows that it was asked for, before and after the pipeline has shown them.
    pub fn status(self, done: bool) -> &'static str {
        match (self, done) {
            (Self::Release, false) => "releasing",
            (Self::Release, true) => "released",
            (Self::Replay, false) => "replaying",
            (Self::Replay, true) => "replayed",
            (Self::Discard, _) => "discarded",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its place in the log of its table, from 1.
    pub number: u64,
    /// What is asked.
    pub action: Action,
    /// The rows, with all the columns of the quarantine table, as they are to be published.
    pub rows: RecordBatch,
}

/// The quarantine of one pipeline, and its sources that wait for users too. Calls block.
pub trait Quarantine: fmt::Debug + Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// The names of the tables that have rows.
    fn tables(&self) -> Result<Vec<String>>;

    /// The rows of a table as they are now, with what has become of each; `None` if it has none.
    fn open(&self, table: &str) -> Result<Option<Arc<dyn Kept>>>;

    /// Adds a request to the log of a table; false when its number is taken, and nothing is done.
    fn ask(&self, table: &str, request: &Request) -> Result<bool>;

    /// Reads a request; `None` if there is none of this number yet.
    fn request(&self, table: &str, number: u64) -> Result<Option<Request>>;

    /// The number of the last request of a table; 0 without any.
    fn last(&self, table: &str) -> Result<u64>;

    /// The number up to which the rows of requests were shown.
    fn applied(&self, table: &str) -> Result<u64>;

    /// Notes that the rows of requests up to a number are shown. Idempotent.
    fn note_applied(&self, table: &str, number: u64) -> Result<()>;

    /// Forgets what rows hold that came before a time, in microseconds since 1970.
    fn expire(&self, before: i64) -> Result<()>;

    /// Notes that a rule has paused a source. Idempotent.
    fn note_paused(&self, pause: &Pause) -> Result<()>;

    /// The pauses that nobody has ended.
    fn paused(&self) -> Result<Vec<Pause>>;

    /// Lets a source read on. Idempotent.
    fn resume(&self, pause: &Pause) -> Result<()>;

    /// Whether somebody has ended a pause.
    fn is_resumed(&self, pause: &Pause) -> Result<bool>;
}

/// The rows of a quarantine table at one time.
pub trait Kept: fmt::Debug + Send + Sync {
    /// Their columns.
    fn schema(&self) -> SchemaRef;

    /// How many parts they are in, in the order in which they came.
    fn parts(&self) -> usize;

    /// Reads one of the parts.
    fn read(&self, part: usize) -> Result<Vec<RecordBatch>>;

    /// The last request that the statuses are as of.
    fn last(&self) -> u64;
}
