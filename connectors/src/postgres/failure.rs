//! What a failure of the server or of the way to it means for the user: its kind, its code, what to
//! do.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use weir_engine::error::{Code, Error, Kind, codes};

/// The error of a call. `doing` says what was tried; no value of a row is told.
pub(super) fn error(failure: &tokio_postgres::Error, doing: &str) -> Error {
    let (kind, code, hint) = match failure.code() {
        Some(state) => class(state),
        None if failure.to_string().contains("password missing") => login(),
        None => away(),
    };
    let detail = match failure.as_db_error() {
        Some(told) => format!("{} (SQLSTATE {})", told.message(), told.code().code()),
        None => {
            let mut detail = failure.to_string();
            let mut cause = failure.source();
            while let Some(inner) = cause {
                detail = format!("{detail}: {inner}");
                cause = inner.source();
            }
            detail
        }
    };
    let error = Error::new(kind, code, format!("postgres: {doing} failed")).detail(detail);
    match hint {
        "" => error,
        hint => error.hint(hint),
    }
}

/// The error of a call that took too long.
pub(super) fn timeout(doing: &str, limit: Duration) -> Error {
    let (kind, code, hint) = away();
    Error::new(kind, code, format!("postgres: {doing} failed"))
        .detail(format!("no answer within {limit:?}"))
        .hint(hint)
}

/// The error of a connection that is gone.
pub(super) fn closed(doing: &str) -> Error {
    let (kind, code, hint) = away();
    Error::new(kind, code, format!("postgres: {doing} failed"))
        .detail("the connection is closed")
        .hint(hint)
}

type Class = (Kind, Code, &'static str);

fn away() -> Class {
    let hint = "look whether the server runs, and host, port and ssl_mode are right";
    (Kind::Unavailable, codes::UNAVAILABLE, hint)
}

fn login() -> Class {
    let hint = "look at user and password, and at what the server's pg_hba.conf allows";
    (Kind::Invalid, codes::PERMISSION, hint)
}

fn class(state: &SqlState) -> Class {
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        let hint = "GRANT SELECT on the table, and USAGE on its schema, to the user";
        return (Kind::Invalid, codes::PERMISSION, hint);
    }
    if *state == SqlState::UNDEFINED_TABLE || *state == SqlState::UNDEFINED_COLUMN {
        let hint = "the table has changed since the source was made: look at its columns";
        return (Kind::Invalid, codes::SCHEMA, hint);
    }
    match state.code().get(..2).unwrap_or_default() {
        "28" => login(),
        "3D" => (
            Kind::Invalid,
            codes::NOT_FOUND,
            "look at the option \"database\"",
        ),
        // A plan that an ALTER TABLE has made useless is made anew on another connection.
        "0A" if *state == SqlState::FEATURE_NOT_SUPPORTED => away(),
        // Connections, resources, deadlocks, shutdowns and cancelled queries, the system.
        "08" | "40" | "53" | "55" | "57" | "58" => away(),
        "22" => (Kind::Data, codes::EXECUTION, ""),
        _ => (Kind::Invalid, codes::EXECUTION, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_says_what_to_do() {
        let cases = [
            ("28P01", Kind::Invalid, codes::PERMISSION),
            ("42501", Kind::Invalid, codes::PERMISSION),
            ("3D000", Kind::Invalid, codes::NOT_FOUND),
            ("42P01", Kind::Invalid, codes::SCHEMA),
            ("42703", Kind::Invalid, codes::SCHEMA),
            ("0A000", Kind::Unavailable, codes::UNAVAILABLE),
            ("53300", Kind::Unavailable, codes::UNAVAILABLE),
            ("57P01", Kind::Unavailable, codes::UNAVAILABLE),
            ("57014", Kind::Unavailable, codes::UNAVAILABLE),
            ("40P01", Kind::Unavailable, codes::UNAVAILABLE),
            ("22012", Kind::Data, codes::EXECUTION),
            ("42883", Kind::Invalid, codes::EXECUTION),
        ];
        for (state, kind, code) in cases {
            let (found_kind, found_code, _) = class(&SqlState::from_code(state));
            assert_eq!((found_kind, found_code), (kind, code), "{state}");
        }
    }
}
