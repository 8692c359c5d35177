//! What can go wrong: a configuration that makes no sense, or bytes that are no state of it.

use std::fmt;

/// The result of what can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a model could not be made or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A setting is out of its bounds: its name, and what it may be.
    Setting(&'static str, &'static str),
    /// The bytes end before the state does.
    Truncated,
    /// The bytes are of a version that this build does not read.
    Version(u8),
    /// The bytes are the state of a model with another configuration.
    OtherConfiguration,
    /// The bytes contradict themselves.
    Damaged(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(name, bounds) => write!(f, "{name} must be {bounds}"),
            Self::Truncated => f.write_str("the state of an anomaly model ends too early"),
            Self::Version(version) => {
                write!(f, "the state of an anomaly model has version {version}")
            }
            Self::OtherConfiguration => {
                f.write_str("the state is of an anomaly model with another configuration")
            }
            Self::Damaged(what) => write!(f, "the state of an anomaly model is damaged: {what}"),
        }
    }
}

impl std::error::Error for Error {}
