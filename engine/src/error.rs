//! The one error type: a coarse [`Kind`] that tells the caller what to do, a stable code with a
//! page in `docs/errors/`, a message, a detail and a hint.
//!
//! The kind decides behaviour (retry, stop, report a bug); the code is for people and searches.

use std::borrow::Cow;
use std::fmt;

/// The result of everything in Weir that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The user's script, option or command is wrong: change it.
    Invalid,
    /// A peer does not answer for now: retry.
    Unavailable,
    /// Another instance holds what is asked for: stop.
    Conflict,
    /// Data is corrupt or cannot be decoded.
    Data,
    /// A resource bound is reached: memory, disk, a limit of `limits`.
    Limit,
    /// The job was asked to stop.
    Cancelled,
    /// A bug in Weir.
    Internal,
}

/// A place in a script, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A stable error code such as `E0107`; each has a page in `docs/errors/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An error with a kind, a code, and words for the user in PostgreSQL's style: a primary message
/// in lower case without a period, a detail and a hint.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    code: Code,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    place: Option<Place>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of a kind and a code with its primary message.
    pub fn new(kind: Kind, code: Code, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                code,
                message: message.into(),
                detail: None,
                hint: None,
                place: None,
                source: None,
            }),
        }
    }

    /// Makes an error that only a bug in Weir can cause.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, codes::INTERNAL, message)
    }

    /// Makes the error of a job that was asked to stop.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, codes::CANCELLED, "the job was stopped")
    }

    /// Adds what was seen, in one sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds what the user can do, in one sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the place in the script, unless one is known already: the innermost is the best.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.inner.place = self.inner.place.or(place);
        self
    }

    /// Says another place: of what was written, where the error is of what was made of it.
    #[must_use]
    pub fn moved(mut self, place: Place) -> Self {
        self.inner.place = Some(place);
        self
    }

    /// Adds the error underneath.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Returns what the caller should do.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Returns the stable code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// Returns the primary message alone.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the place in the script.
    pub fn place(&self) -> Option<Place> {
        self.inner.place
    }

    /// Returns what was seen.
    pub fn detail_text(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    /// Returns what the user can do.
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Renders the whole error for a terminal: message with code and place, detail, hint.
    pub fn report(&self, script: Option<&str>) -> String {
        let place = match (script, self.inner.place) {
            (Some(name), Some(p)) => Cow::Owned(format!("{name}:{}:{}: ", p.line, p.column)),
            (Some(name), None) => Cow::Owned(format!("{name}: ")),
            (None, Some(p)) => Cow::Owned(format!("line {}, column {}: ", p.line, p.column)),
            (None, None) => Cow::Borrowed(""),
        };
        let mut text = format!("error[{}]: {place}{}", self.inner.code, self.inner.message);
        if let Some(detail) = &self.inner.detail {
            text.push_str("\n  detail: ");
            text.push_str(detail);
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str("\n  cause: ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        if let Some(hint) = &self.inner.hint {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|e| &**e as &(dyn std::error::Error + 'static))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError;
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::new(Kind::Data, codes::EXPRESSION, other.to_string()),
            },
            ArrowError::IoError(_, inner) if is_full(&inner) => no_room(ROWS, inner),
            other => Self::new(Kind::Data, codes::EXPRESSION, other.to_string())
                .hint("use TRY_CAST or a CASE expression where a value may not fit"),
        }
    }
}

impl From<datafusion_common::DataFusionError> for Error {
    fn from(error: datafusion_common::DataFusionError) -> Self {
        use datafusion_common::DataFusionError as Df;
        match error {
            Df::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::new(Kind::Data, codes::EXECUTION, other.to_string()),
            },
            Df::ArrowError(inner, _) => Self::from(*inner),
            Df::IoError(inner) if is_full(&inner) => no_room(ROWS, inner),
            Df::Context(_, inner) | Df::Diagnostic(_, inner) => Self::from(*inner),
            Df::Shared(inner) => Self::from_shared(&inner),
            Df::ResourcesExhausted(message) => no_memory(message),
            Df::NotImplemented(message) => Self::new(Kind::Invalid, codes::UNSUPPORTED, message),
            Df::Internal(message) => Self::internal(message),
            other => Self::new(Kind::Data, codes::EXECUTION, other.strip_backtrace()),
        }
    }
}

fn no_memory(message: String) -> Error {
    Error::new(Kind::Limit, codes::MEMORY, message)
        .hint("give the job more memory with --memory, or lower --parallelism")
}

/// Only temporary files are written where errors of arrow and DataFusion come from.
const ROWS: &str = "rows";

/// Whether a disk without room is the cause, however deep it lies.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    let full = [Io::StorageFull, Io::QuotaExceeded, Io::ReadOnlyFilesystem];
    if full.contains(&error.kind()) {
        return true;
    }
    let mut cause = error.get_ref().map(|inner| inner as &dyn std::error::Error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return is_full(io);
        }
        cause = inner.source();
    }
    false
}

/// The error of a temporary file that cannot be written or read, for `what` was to be in it.
pub(crate) fn no_room(
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(
        Kind::Limit,
        codes::DISK,
        format!("{what} cannot be put into a temporary file"),
    )
    .hint("free some room where TMPDIR is, or give the job more memory with --memory")
    .caused_by(cause)
}

impl Error {
    /// An error that several partitions share can't be taken apart: its own error is copied.
    fn from_shared(error: &datafusion_common::DataFusionError) -> Self {
        use datafusion_common::DataFusionError as Df;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(own) = inner.downcast_ref::<Self>() {
                let mut copy = Self::new(own.kind(), own.code(), own.message());
                copy.inner.detail.clone_from(&own.inner.detail);
                copy.inner.hint.clone_from(&own.inner.hint);
                return copy.at(own.place());
            }
            if let Some(io) = inner.downcast_ref::<std::io::Error>()
                && is_full(io)
            {
                return no_room(ROWS, std::io::Error::other(io.to_string()));
            }
            if let Some(Df::ResourcesExhausted(message)) = inner.downcast_ref() {
                return no_memory(message.clone());
            }
            cause = inner.source();
        }
        Self::new(Kind::Data, codes::EXECUTION, error.strip_backtrace())
    }
}

impl From<Error> for datafusion_common::DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// The codes, one page each in `docs/errors/`. 01 script, 02 options and connectors, 03 data,
/// 04 execution, 05 resources, 06 checkpoints, 09 internal.
pub mod codes {
    use super::Code;

    macro_rules! codes {
        ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
            $($(#[$doc])* pub const $name: Code = Code($code);)*
            /// Every code, in order.
            pub const ALL: &[Code] = &[$($name),*];
        };
    }

    codes! {
        /// The text is not a statement.
        SYNTAX = "E0101";
        /// A string, comment or quoted name is not terminated.
        UNTERMINATED = "E0102";
        /// A table, view, source or sink is unknown.
        UNKNOWN_TABLE = "E0103";
        /// A column is unknown or ambiguous.
        UNKNOWN_COLUMN = "E0104";
        /// A function is unknown or called wrongly.
        UNKNOWN_FUNCTION = "E0105";
        /// An expression's types do not fit.
        TYPE = "E0106";
        /// A name is taken already.
        DUPLICATE = "E0107";
        /// A variable `${NAME}` has no value.
        VARIABLE = "E0108";
        /// The statement is right but not supported here.
        UNSUPPORTED = "E0109";
        /// The query cannot run over unbounded input.
        UNBOUNDED = "E0110";
        /// A window table function is called wrongly.
        WINDOW = "E0111";
        /// A setting is unknown or has a wrong value.
        SETTING = "E0112";
        /// The script does nothing.
        EMPTY_SCRIPT = "E0113";
        /// The query is wrong in another way.
        PLAN = "E0114";
        /// Updating results cannot go into this sink.
        CHANGELOG = "E0115";
        /// A rule over rows cannot be planned.
        RULE = "E0116";
        /// Anomalies are asked for in a way that cannot be planned.
        ANOMALY = "E0117";
        /// A connector or format is unknown.
        UNKNOWN_CONNECTOR = "E0201";
        /// An option is unknown.
        UNKNOWN_OPTION = "E0202";
        /// An option is missing or has a wrong value.
        OPTION = "E0203";
        /// A file, folder or bucket is missing, or no file matches.
        NOT_FOUND = "E0204";
        /// A store refuses the credentials or the permission.
        PERMISSION = "E0205";
        /// A store does not answer.
        UNAVAILABLE = "E0206";
        /// A schema cannot be discovered, or a file's does not fit.
        SCHEMA = "E0207";
        /// The offset to go on from is gone.
        OFFSET = "E0208";
        /// A sink cannot tell what of a commit is there already.
        COMMIT = "E0209";
        /// A file is corrupt or truncated.
        CORRUPT = "E0301";
        /// A row cannot be decoded and `on_error = 'fail'`.
        DECODE = "E0302";
        /// A value does not fit in an expression.
        EXPRESSION = "E0303";
        /// A row breaks a rule that ends the job.
        RULE_BROKEN = "E0304";
        /// Rows cannot come back from quarantine in this way.
        QUARANTINE = "E0305";
        /// An operator failed.
        EXECUTION = "E0401";
        /// A task panicked.
        PANIC = "E0402";
        /// The job was stopped.
        CANCELLED = "E0403";
        /// Memory is used up.
        MEMORY = "E0501";
        /// The disk is full or not writable.
        DISK = "E0502";
        /// A bound of `limits` is reached.
        LIMIT = "E0503";
        /// Another instance has taken the pipeline over.
        FENCED = "E0601";
        /// A checkpoint is damaged.
        CHECKPOINT_CORRUPT = "E0602";
        /// Nobody knows whether a checkpoint was published.
        CHECKPOINT_UNKNOWN = "E0603";
        /// A checkpoint is of a newer version.
        CHECKPOINT_FORMAT = "E0604";
        /// A bug in Weir.
        INTERNAL = "E0901";
    }
}
