//! Turns the errors of stores and disks into Weir's: which code, and what the user can do.

use std::io::ErrorKind;

use object_store::Error as StoreError;
use weir_engine::Error;
use weir_engine::error::{Kind, codes};

/// Turns a store's error into Weir's; `what` names the file or the place.
pub fn error(error: StoreError, what: &str) -> Error {
    if let Some(io) = io_kind(&error) {
        return with_cause(of_io(io, what), error);
    }
    let class = match &error {
        StoreError::NotFound { .. } => Class::NotFound,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            Class::Permission
        }
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => Class::Conflict,
        StoreError::InvalidPath { .. } => Class::Path,
        StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. }
        | StoreError::UnknownConfigurationKey { .. } => Class::Unsupported,
        other => of_text(&other.to_string()),
    };
    let (missing_bucket, text) = (error.to_string().contains("NoSuchBucket"), class);
    let made = match text {
        Class::NotFound if missing_bucket => not_found(&format!("the bucket of {what}"))
            .hint("create the bucket, or check its name and the endpoint"),
        Class::NotFound => not_found(what),
        Class::Permission => Error::new(
            Kind::Invalid,
            codes::PERMISSION,
            format!("the store refuses access to {what}"),
        )
        .hint("check the credentials and what they may do in this bucket"),
        Class::Conflict => Error::new(
            Kind::Conflict,
            codes::EXECUTION,
            format!("{what} exists already"),
        ),
        Class::Path => Error::new(
            Kind::Invalid,
            codes::OPTION,
            format!("the path {what} cannot be used"),
        ),
        Class::Unsupported => Error::new(
            Kind::Invalid,
            codes::UNSUPPORTED,
            format!("the store cannot do what is needed for {what}"),
        ),
        Class::Unavailable => Error::new(
            Kind::Unavailable,
            codes::UNAVAILABLE,
            format!("the store of {what} does not answer"),
        )
        .hint("check the endpoint and that the server runs; calls are retried for retry_timeout"),
    };
    with_cause(made, error)
}

/// Turns a local disk's error into Weir's.
pub fn io_error(error: std::io::Error, what: &str) -> Error {
    let made = of_io(error.kind(), what);
    if made.code() == codes::NOT_FOUND {
        made
    } else {
        made.detail(error.to_string())
    }
}

/// Whether a store has given no answer, so that nobody knows whether it did what it was asked.
pub fn is_unanswered(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. })
        && io_kind(error).is_none()
        && matches!(of_text(&error.to_string()), Class::Unavailable)
}

#[derive(Clone, Copy)]
enum Class {
    NotFound,
    Permission,
    Conflict,
    Path,
    Unsupported,
    Unavailable,
}

fn not_found(what: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::NOT_FOUND,
        format!("{what} does not exist"),
    )
}

fn of_io(kind: ErrorKind, what: &str) -> Error {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => not_found(what),
        ErrorKind::PermissionDenied => Error::new(
            Kind::Invalid,
            codes::PERMISSION,
            format!("no permission for {what}"),
        )
        .hint("check the owner and the mode of the file and its folder"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Error::new(
            Kind::Limit,
            codes::DISK,
            format!("the disk is full: {what}"),
        )
        .hint("free some room; nothing half written is left visible"),
        ErrorKind::ReadOnlyFilesystem => Error::new(
            Kind::Limit,
            codes::DISK,
            format!("the disk is read-only: {what}"),
        ),
        _ => Error::new(
            Kind::Unavailable,
            codes::UNAVAILABLE,
            format!("cannot read or write {what}"),
        ),
    }
}

/// The kind of the I/O error of a local disk underneath. A network's I/O error is not one: it
/// speaks of the peer, not of the file.
fn io_kind(error: &StoreError) -> Option<ErrorKind> {
    let StoreError::Generic {
        store: "LocalFileSystem",
        ..
    } = error
    else {
        return None;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = inner.source();
    }
    None
}

/// The client hides the status of a listing in its text: it is read from there.
fn of_text(text: &str) -> Class {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&[
        "NoSuchBucket",
        "NoSuchKey",
        "ContainerNotFound",
        "code: 404",
    ]) {
        Class::NotFound
    } else if has(&[
        "code: 401",
        "code: 403",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AuthenticationFailed",
        "InvalidToken",
        "ExpiredToken",
    ]) {
        Class::Permission
    } else {
        Class::Unavailable
    }
}

fn with_cause(error: Error, cause: StoreError) -> Error {
    error.caused_by(cause)
}
