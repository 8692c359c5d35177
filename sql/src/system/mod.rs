//! The schema `weir`: what pipelines have kept of themselves, as tables.
//!
//! `weir.quality_results` is read from files; all others are queries over it, so that they say the same of any
//! history, also of one that was kept before they were changed.

mod results;

use datafusion::sql::sqlparser::ast::Query;
use weir_engine::error::Result;
use weir_engine::rules::RESULTS;

use crate::parse::skeleton;
pub(crate) use results::Results;

/// The schema.
const SCHEMA: &str = "weir";

/// Its tables that are queries.
const VIEWS: [(&str, &str); 2] = [
    ("quality_issues", include_str!("issues.sql")),
    ("quality_scores", include_str!("scores.sql")),
];

/// Whether a name is that of the results of rules.
pub(crate) fn is_results(name: &str) -> bool {
    within(name) == Some(RESULTS)
}

/// The query that a table of the schema is, if it is one.
pub(crate) fn query_of(name: &str) -> Result<Option<Box<Query>>> {
    let found = within(name).and_then(|name| VIEWS.iter().find(|(known, _)| *known == name));
    found.map(|(_, text)| skeleton::query(text)).transpose()
}

/// The full names of its tables.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let names = std::iter::once(RESULTS).chain(VIEWS.iter().map(|(name, _)| *name));
    names.map(|name| format!("{SCHEMA}.{name}"))
}

fn within(name: &str) -> Option<&str> {
    name.strip_prefix(SCHEMA)?.strip_prefix('.')
}
