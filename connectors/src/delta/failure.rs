//! What goes wrong with a table's log, as errors that say what to do.

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitConflictError, TransactionError};
use weir_engine::error::{Error, Kind, codes};

use crate::store;

/// The error for people.
pub(super) fn error(failure: DeltaTableError, url: &str) -> Error {
    match failure {
        DeltaTableError::ObjectStore { source }
        | DeltaTableError::Transaction {
            source: TransactionError::ObjectStore { source },
        } => store::error(source, url),
        DeltaTableError::Transaction {
            source:
                source @ (TransactionError::UnsupportedTableFeatures(_)
                | TransactionError::TableFeaturesRequired(_)),
        } => Error::new(
            Kind::Invalid,
            codes::SCHEMA,
            format!("the table {url} has features that cannot be written"),
        )
        .detail(source.to_string()),
        failure if is_conflict(&failure) => Error::new(
            Kind::Conflict,
            codes::COMMIT,
            format!("another writer has changed the table {url}"),
        )
        .detail(failure.to_string()),
        failure => Error::new(
            Kind::Data,
            codes::COMMIT,
            format!("the log of the table {url} cannot be used"),
        )
        .detail(failure.to_string()),
    }
}

/// Whether another writer was faster, so that the table is to be looked at anew.
pub(super) fn is_conflict(failure: &DeltaTableError) -> bool {
    matches!(
        failure,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::VersionAlreadyExists(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::CommitConflict(
                        CommitConflictError::ConcurrentTransaction
                            | CommitConflictError::ConcurrentAppend
                            | CommitConflictError::ConcurrentDeleteRead
                            | CommitConflictError::ConcurrentDeleteDelete
                            | CommitConflictError::MetadataChanged
                            | CommitConflictError::ProtocolChanged(_)
                    )
            }
    )
}

/// Whether the store has given no answer, so that nobody knows whether it did what it was asked.
pub(super) fn is_unanswered(failure: &DeltaTableError) -> bool {
    match failure {
        DeltaTableError::ObjectStore { source }
        | DeltaTableError::Transaction {
            source: TransactionError::ObjectStore { source },
        } => store::is_unanswered(source),
        _ => false,
    }
}
