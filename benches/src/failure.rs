//! The harness's error: a sentence for the person who measures.

use std::fmt;

/// The result of everything in the harness that can fail.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a measurement could not be made.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// Takes the sentence.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when something failed.
pub(crate) trait During<T> {
    /// Puts the words before the error's own.
    fn during(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{doing}: {error}")))
    }
}
