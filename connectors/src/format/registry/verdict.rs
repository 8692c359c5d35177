//! What an answer of the registry means: pure decisions over status and body.

use serde::Deserialize;
use url::Url;
use weir_engine::error::{Error, Kind, codes};

/// Characters of a registry's message that are shown.
const MESSAGE_CHARS_MAX: usize = 500;

/// What to do about an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the answer.
    Answer,
    /// The registry does not have it.
    Missing,
    /// Ask again: it is a passing trouble.
    Again(String),
    /// Asking again is of no use.
    Refused(Refusal),
}

/// Why the registry refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not let this user.
    Login(String),
    /// The schema does not fit those before it.
    Incompatible(String),
    /// Anything else.
    Other(String),
}

#[derive(Debug, Deserialize)]
struct Problem {
    error_code: i64,
    #[serde(default)]
    message: String,
}

/// Judges a status and its body.
pub(super) fn judge(status: u16, body: &[u8]) -> Verdict {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let said = match &problem {
        Some(Problem {
            error_code,
            message,
        }) => {
            let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
            format!("status {status}, code {error_code}: {message}")
        }
        None => format!("status {status}"),
    };
    match (status, problem) {
        (200..=299, _) => Verdict::Answer,
        // A 404 without the registry's own code comes from another server, or a wrong path.
        (404, Some(Problem { error_code, .. })) if (40_400..40_500).contains(&error_code) => {
            Verdict::Missing
        }
        (401 | 403, _) => Verdict::Refused(Refusal::Login(said)),
        (409, _) => Verdict::Refused(Refusal::Incompatible(said)),
        (408 | 425 | 429 | 500..=599, _) => Verdict::Again(said),
        _ => Verdict::Refused(Refusal::Other(said)),
    }
}

impl Refusal {
    /// The error for people.
    pub(super) fn error(self, registry: &str, url: &Url) -> Error {
        match self {
            Self::Login(said) => Error::new(
                Kind::Invalid,
                codes::PERMISSION,
                format!("the schema registry {registry} refuses access"),
            )
            .detail(said)
            .hint("check schema_registry_user, schema_registry_password or schema_registry_token"),
            Self::Incompatible(said) => Error::new(
                Kind::Invalid,
                codes::SCHEMA,
                "the sink's columns do not fit the schemas of earlier messages".to_owned(),
            )
            .detail(said)
            .hint("keep the columns, add only nullable ones, change the subject's compatibility, or choose another schema_registry_subject"),
            Self::Other(said) => Error::new(
                Kind::Invalid,
                codes::SCHEMA,
                format!("the schema registry cannot answer {url}"),
            )
            .detail(said)
            .hint("check that schema_registry is the URL of a registry with Confluent's interface"),
        }
    }
}
