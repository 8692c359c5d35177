//! What other engines, or the next versions, understand: refused by name, with the way around.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use weir_engine::error::{Error, Kind, codes};

use super::{emit, place_of, syntax};

/// The error for something that this version does not do.
pub(super) fn unsupported(what: &str, hint: &str) -> Error {
    let message = format!("{what} is not supported in this version");
    let error = Error::new(Kind::Invalid, codes::UNSUPPORTED, message);
    if hint.is_empty() {
        error
    } else {
        error.hint(hint)
    }
}

/// Finds the refusal of a statement by its first word.
pub(super) fn statement(word: &str) -> Option<Error> {
    let hint = match word.to_ascii_lowercase().as_str() {
        "replay" => "read the dead letters' Parquet files with a source, and insert them again",
        "release" => "rows that rules have kept back come out with RELEASE FROM quarantine.name",
        "copy" | "load" | "unload" | "import" | "export" => {
            "read files with CREATE SOURCE, write them with CREATE SINK ... AS SELECT"
        }
        "delete" | "update" | "merge" | "truncate" | "replace" | "upsert" => {
            "pipelines only append: filter or change the rows with SELECT ... WHERE"
        }
        "begin" | "start" | "commit" | "rollback" | "end" | "savepoint" | "abort" => {
            "a script needs no transaction: leave it out"
        }
        "use" => "all names live in one catalog: leave it out",
        "grant" | "revoke" | "deny" => "access is not managed by SQL: leave it out",
        "from" => "start with SELECT: SELECT * FROM ...",
        "pivot" | "unpivot" => "write sum(...) FILTER (WHERE ...) for each column",
        "reset" => "SET the value, or leave it out for the default",
        "declare" | "prepare" | "execute" | "deallocate" => {
            "use variables: '${NAME}' with --set NAME=value"
        }
        "refresh" => "a MATERIALIZED VIEW is always up to date",
        "call" | "do" | "analyze" | "vacuum" | "comment" | "pragma" | "install" | "attach"
        | "detach" | "lock" | "unlock" | "kill" | "fetch" | "close" | "cache" | "uncache"
        | "optimize" | "checkpoint" | "listen" | "notify" | "discard" | "flush" | "rename"
        | "msck" | "print" | "raise" => "",
        _ => return None,
    };
    Some(unsupported(&word.to_ascii_uppercase(), hint))
}

/// Finds the refusal of `CREATE` or `DROP` of a kind of thing, by its first word.
pub(super) fn object(verb: &str, word: &str) -> Option<Error> {
    let lower = word.to_ascii_lowercase();
    let (what, hint) = match lower.as_str() {
        "secret" => (
            "SECRET",
            "use a variable: password = '${PASSWORD}' with --set",
        ),
        "function" | "procedure" | "aggregate" | "macro" => (
            "FUNCTION",
            "write the expression itself, in a VIEW or a computed column",
        ),
        "table" | "external" | "foreign" | "unbounded" | "stream" | "streaming" | "dynamic"
        | "hybrid" => (
            "TABLE",
            "use a SOURCE for what is read, a SINK for what is written",
        ),
        "temp" | "temporary" | "local" | "global" | "recursive" => {
            ("TEMPORARY", "use a VIEW, which lives as long as the script")
        }
        "connection" | "connector" | "server" | "catalog" => (
            "CONNECTION",
            "give the connector's options to each SOURCE and SINK",
        ),
        "database" | "schema" => ("SCHEMA", "all names live in one catalog: leave it out"),
        "index" | "unique" => ("INDEX", "nothing is indexed: leave it out"),
        "type" | "domain" | "extension" | "sequence" | "trigger" | "role" | "user" | "policy"
        | "operator" | "cast" | "collation" | "model" | "rule" | "pipeline" | "job" => {
            return Some(unsupported(
                &format!("{verb} {}", lower.to_ascii_uppercase()),
                "",
            ));
        }
        _ => return None,
    };
    Some(unsupported(&format!("{verb} {what}"), hint))
}

/// Finds the refusal of what `SHOW` is asked for.
pub(super) fn show(word: &str) -> Option<Error> {
    let hint = match word.to_ascii_lowercase().as_str() {
        "columns" => "use DESCRIBE name",
        "expectations" | "rules" => "use SHOW CONSTRAINTS, or SHOW CONSTRAINTS FROM table",
        "databases" | "schemas" | "catalogs" => "use SHOW SOURCES, SHOW VIEWS or SHOW SINKS",
        "secrets" | "functions" | "jobs" | "pipelines" | "connections" | "indexes" => "",
        _ => return None,
    };
    Some(unsupported(
        &format!("SHOW {}", word.to_ascii_uppercase()),
        hint,
    ))
}

/// Finds the refusal of a clause in a query, by the word at which parsing stopped or the one
/// before it, which was taken for an alias.
pub(super) fn clause(last: Option<&TokenWithSpan>, found: Option<&TokenWithSpan>) -> Option<Error> {
    [last, found].into_iter().flatten().find_map(|token| {
        let Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) = &token.token
        else {
            return None;
        };
        let error = match value.to_ascii_lowercase().as_str() {
            "emit" => emit::misplaced(),
            "system_time" => system_time(),
            "match_recognize" => unsupported("MATCH_RECOGNIZE", ""),
            _ => return None,
        };
        Some(error.at(place_of(token)))
    })
}

/// The error for FOR SYSTEM_TIME in any other form than that of a lookup.
pub(super) fn system_time() -> Error {
    syntax::error("a table's version can only be the one at the time of the row")
        .hint("write JOIN table FOR SYSTEM_TIME AS OF PROCTIME() ON ...")
}
