//! Puts what a file source cannot decode among the dead letters.

use weir_engine::dead_letter::{DeadLetter, DeadLetters, OnError};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

/// The dead letters of one file.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    source: String,
    origin: String,
    on_error: OnError,
    env: Env,
    /// `None` when the file is only looked at: what is wrong is told when it is read.
    kept: Option<DeadLetters>,
}

impl Letters {
    /// Letters of a file that is read.
    pub(super) fn new(
        source: &str,
        origin: &str,
        on_error: OnError,
        env: &Env,
        kept: Option<DeadLetters>,
    ) -> Self {
        Self {
            source: source.to_owned(),
            origin: origin.to_owned(),
            on_error,
            env: env.clone(),
            kept,
        }
    }

    /// Whether the file is only looked at.
    pub(super) fn is_look(&self) -> bool {
        self.kept.is_none()
    }

    /// Puts one record.
    pub(super) fn record(
        &self,
        reason: &'static str,
        offset: Option<u64>,
        detail: String,
        raw: &[u8],
    ) -> Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        kept.put(
            self.on_error,
            DeadLetter {
                source: self.source.clone(),
                origin: self.origin.clone(),
                offset,
                reason,
                detail,
                raw: raw.to_vec(),
                time_micros: self.env.clock().now_micros(),
            },
        )
    }

    /// Puts the rest of a file that is damaged from an offset on.
    pub(super) fn corrupt(&self, offset: u64, detail: &str, raw: &[u8]) -> Result<()> {
        if self.fails() {
            return Err(Error::new(
                Kind::Data,
                codes::CORRUPT,
                format!("the file {} is damaged", self.origin),
            )
            .detail(detail)
            .hint("set on_error = 'dead_letter' on the source to keep what can be read"));
        }
        self.record("corrupt", Some(offset), detail.to_owned(), raw)
    }

    /// Puts a whole file whose schema does not fit.
    pub(super) fn schema(&self, detail: &str) -> Result<()> {
        if self.fails() {
            return Err(Error::new(
                Kind::Data,
                codes::SCHEMA,
                format!(
                    "the file {} does not fit the columns of \"{}\"",
                    self.origin, self.source
                ),
            )
            .detail(detail)
            .hint(
                "declare the columns, or set on_error = 'dead_letter' to leave such files aside",
            ));
        }
        self.record("schema", None, detail.to_owned(), &[])
    }

    /// The error of a file whose columns are not those of the source, where they have to be.
    pub(super) fn changed(&self, detail: &str) -> Error {
        let message = format!(
            "the columns of the file {} are not those of \"{}\"",
            self.origin, self.source
        );
        Error::new(Kind::Data, codes::SCHEMA, message)
            .detail(detail)
            .hint("declare them as they are, or say ON SCHEMA CHANGE RESCUE or IGNORE")
    }

    fn fails(&self) -> bool {
        self.on_error == OnError::Fail && self.kept.is_some()
    }
}
