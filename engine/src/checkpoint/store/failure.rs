//! What an object store's error means: whether another attempt may help, and what the user is told.

use object_store::Error as StoreError;

use crate::error::{Error, Kind, codes};

/// Whether another attempt cannot help.
pub(super) fn is_permanent(error: &StoreError) -> bool {
    match error {
        StoreError::Generic { .. } | StoreError::JoinError { .. } => {
            matches!(io_kind(error), Some(kind) if no_room(kind))
        }
        _ => true,
    }
}

/// Gives the error for the user.
pub(super) fn told(error: StoreError, what: &str) -> Error {
    let (kind, code, message) = match &error {
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => (
            Kind::Invalid,
            codes::PERMISSION,
            "the checkpoint store refuses access",
        ),
        StoreError::NotFound { .. } => (
            Kind::Data,
            codes::CHECKPOINT_CORRUPT,
            "a file of the checkpoint store is missing",
        ),
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => (
            Kind::Invalid,
            codes::UNSUPPORTED,
            "the store cannot hold checkpoints: it has no conditional writes",
        ),
        _ if matches!(io_kind(&error), Some(kind) if no_room(kind)) => (
            Kind::Limit,
            codes::DISK,
            "the disk of the checkpoint store is full or not writable",
        ),
        _ => (
            Kind::Unavailable,
            codes::UNAVAILABLE,
            "the checkpoint store does not answer",
        ),
    };
    Error::new(kind, code, message)
        .detail(format!("while it {what}"))
        .caused_by(error)
}

fn no_room(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        kind,
        Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem | Io::PermissionDenied
    )
}

fn io_kind(error: &StoreError) -> Option<std::io::ErrorKind> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = inner.source();
    }
    None
}
