//! DataFusion's planning errors as Weir's: a code, a place, the nearest known name.

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::tokenizer::Span;
use weir_engine::error::{Code, Error, Kind, Place, codes};
use weir_engine::options::{nearest, unknown};

/// The start of a span of the script, unless it is unknown.
pub(crate) fn place_of(span: Span) -> Option<Place> {
    place_at(span.start.line, span.start.column)
}

/// The same of a span as DataFusion carries it.
pub(crate) fn place_of_span(span: datafusion::common::Span) -> Option<Place> {
    place_at(span.start.line, span.start.column)
}

/// Line 0 means that nothing is known.
fn place_at(line: u64, column: u64) -> Option<Place> {
    (line > 0).then_some(Place { line, column })
}

/// The error for a table that is not in the catalog.
pub(crate) fn unknown_table<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    unknown(codes::UNKNOWN_TABLE, "table", name, known)
}

/// Turns a planning error into Weir's; `place` is the statement's, for errors without a span.
pub(crate) fn convert(error: DataFusionError, state: &SessionState, place: Option<Place>) -> Error {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let span = span.or_else(|| column_span(&error));
    let found = span.and_then(place_of_span);
    let error = wrong_pattern(&error.to_string()).unwrap_or_else(|| root(error, state));
    error.at(found.or(place))
}

/// The error of a regular expression that is none, by the text of the kernel's error or of the optimiser's.
fn wrong_pattern(text: &str) -> Option<Error> {
    let texts = ["Regular expression did not compile", "regex parse error"];
    let (_, why) = texts.iter().find_map(|known| text.split_once(known))?;
    let why = why.lines().find_map(|line| line.strip_prefix("error: "));
    let message = "a pattern is no regular expression";
    let error = Error::new(Kind::Invalid, codes::RULE, message).hint(
        "the syntax is that of Rust's regex crate; a bracket is written \\( where it stands for itself",
    );
    Some(error.detail(why.unwrap_or("it does not compile").to_owned()))
}

/// Finds the span of the column that an error names, where no diagnostic carries one.
fn column_span(error: &DataFusionError) -> Option<datafusion::common::Span> {
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match &**schema {
            SchemaError::FieldNotFound { field, .. }
            | SchemaError::AmbiguousReference { field } => field.spans().first(),
            _ => None,
        },
        _ => None,
    }
}

fn root(error: DataFusionError, state: &SessionState) -> Error {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => {
            root(*inner, state)
        }
        DataFusionError::Collection(mut all) if !all.is_empty() => root(all.swap_remove(0), state),
        DataFusionError::SchemaError(schema, _) => schema_error(&schema),
        DataFusionError::Plan(text) => plan_error(&text, state),
        DataFusionError::NotImplemented(text) => invalid(codes::UNSUPPORTED, &text),
        DataFusionError::SQL(inner, _) => invalid(codes::SYNTAX, &inner.to_string()),
        DataFusionError::Configuration(text) => invalid(codes::PLAN, &text),
        DataFusionError::Execution(text) => invalid(codes::PLAN, &text),
        DataFusionError::ArrowError(inner, _) => match Error::from(*inner) {
            own if own.kind() == Kind::Data => invalid(codes::TYPE, without_kind(own.message()))
                .hint("use TRY_CAST where a value may not fit"),
            own => own,
        },
        other => Error::from(other),
    }
}

fn invalid(code: Code, text: &str) -> Error {
    Error::new(Kind::Invalid, code, polish(text))
}

fn column_name(column: &Column) -> String {
    column.flat_name().replace('"', "")
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let qualified = field.relation.is_some();
            let mut names: Vec<String> = valid_fields
                .iter()
                .map(|valid| {
                    if qualified {
                        column_name(valid)
                    } else {
                        valid.name.clone()
                    }
                })
                .collect();
            names.dedup();
            let found = column_name(field);
            unknown(
                codes::UNKNOWN_COLUMN,
                "column",
                &found,
                names.iter().map(String::as_str),
            )
        }
        SchemaError::AmbiguousReference { field } => Error::new(
            Kind::Invalid,
            codes::UNKNOWN_COLUMN,
            format!("column \"{}\" is ambiguous", column_name(field)),
        )
        .hint("write the table's name before it: table.column"),
        SchemaError::DuplicateQualifiedField { qualifier, name } => Error::new(
            Kind::Invalid,
            codes::DUPLICATE,
            format!("two columns are called \"{qualifier}.{name}\""),
        )
        .hint("give one of them another name: expression AS name"),
        SchemaError::DuplicateUnqualifiedField { name } => Error::new(
            Kind::Invalid,
            codes::DUPLICATE,
            format!("two columns are called \"{name}\""),
        )
        .hint(match name.contains('(') {
            // What is computed has its name before AS renames it, and a cast is no part of it.
            true => {
                "compute the argument of one of them in a query below: \
                 SELECT sum(b) FROM (SELECT CAST(a AS DOUBLE) AS b FROM t)"
            }
            false => "give one of them another name: expression AS name",
        }),
    }
}

fn plan_error(text: &str, state: &SessionState) -> Error {
    if let Some(name) = text.strip_prefix("Invalid function '") {
        let name = name.split('\'').next().unwrap_or_default();
        let scalar = state.udfs();
        let aggregate = state.udafs();
        let window = state.udwfs();
        let mut known: Vec<&str> = scalar
            .iter()
            .chain(aggregate.iter())
            .chain(window.iter())
            .map(String::as_str)
            .collect();
        known.sort_unstable();
        let error = Error::new(
            Kind::Invalid,
            codes::UNKNOWN_FUNCTION,
            format!("unknown function \"{name}\""),
        );
        // The list of all functions is too long to be a help.
        let close = known
            .iter()
            .map(|k| strsim::damerau_levenshtein(name, k))
            .min();
        return match close {
            Some(distance) if distance <= 1 + name.chars().count() / 3 => {
                nearest(error, name, known.into_iter())
            }
            _ => error,
        };
    }
    if let Some(error) = no_match(text) {
        return error;
    }
    let duplicate = Error::new(
        Kind::Invalid,
        codes::DUPLICATE,
        "two columns have the same name",
    )
    .hint("give one of them another name: expression AS name");
    if text.contains("require unique expression names") {
        let name = text.split('"').nth(1).unwrap_or_default();
        return duplicate.detail(format!("\"{name}\" stands twice in the list of columns"));
    }
    if text.contains("already contains column") {
        return duplicate.detail(polish(text));
    }
    invalid(code_of(text), text)
}

/// DataFusion names every candidate with the reason why it was refused; the signature is enough.
fn no_match(text: &str) -> Option<Error> {
    let (before, rest) =
        text.split_once("No function matches the given name and argument types '")?;
    let (call, rest) = rest.split_once('\'')?;
    let error = Error::new(
        Kind::Invalid,
        codes::TYPE,
        format!("no function matches {call}"),
    );
    let candidates: Vec<&str> = rest
        .split_once("Candidate functions:")
        .map(|(_, list)| {
            list.split('\n')
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .collect()
        })
        .unwrap_or_default();
    // Functions that look at their types themselves have said what they take, and their signature is no help.
    if candidates
        .iter()
        .any(|candidate| candidate.contains("UserDefined"))
    {
        let told = before
            .rsplit("Error during planning: ")
            .next()
            .unwrap_or(before);
        let told = told.trim_matches(|c: char| c.is_whitespace() || "\"'.".contains(c));
        let error = match told.is_empty() {
            true => error,
            false => error.detail(told.to_owned()),
        };
        return Some(error.hint(match told.contains("number") {
            true => "cast the column: TRY_CAST(column AS DOUBLE)",
            false => "docs/quality.md has a table of what each measure takes",
        }));
    }
    Some(match candidates.as_slice() {
        [] => error.hint("cast the arguments: CAST(value AS type)"),
        some => error.hint(format!("there are {}", some.join(", "))),
    })
}

/// The name of the function that an error is about.
pub(crate) fn function_of(error: &Error) -> Option<&str> {
    if error.code() == codes::ANOMALY {
        return Some(crate::anomaly::FUNCTION);
    }
    let (_, call) = error.message().split_once("no function matches ")?;
    call.split('(').next()
}

/// Arrow's errors begin with their kind.
fn without_kind(text: &str) -> &str {
    let kinds = [
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "Arithmetic overflow: ",
    ];
    kinds
        .iter()
        .find_map(|kind| text.strip_prefix(kind))
        .unwrap_or(text)
}

/// Functions that are called wrongly and types that do not fit come as text alone.
fn code_of(text: &str) -> Code {
    let function = [
        "No function matches",
        "function expects",
        "Function '",
        "argument",
    ];
    let types = [
        "coerc",
        "Cannot infer common",
        "data type",
        "Unsupported CAST",
        "type mismatch",
        "must return boolean",
        "non-boolean",
        "Cannot cast",
        "incompatible",
        "Invalid arithmetic",
        "automatically convert",
    ];
    if function.iter().any(|part| text.contains(part)) && !text.contains("argument type") {
        codes::UNKNOWN_FUNCTION
    } else if types.iter().any(|part| text.contains(part)) || text.contains("argument type") {
        codes::TYPE
    } else {
        codes::PLAN
    }
}

/// Brings a message into the house's form: its first sentence line, lower case, no period.
fn polish(text: &str) -> String {
    let text = text
        .trim()
        .strip_prefix("Error during planning: ")
        .unwrap_or(text.trim());
    let text = text.replace("\n\t", "; ").replace('\n', " ");
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    let first = letters.next();
    let second = letters.clone().next();
    match (first, second) {
        // An abbreviation keeps its capitals.
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
