//! The connector `postgres`: tables of PostgreSQL, asked for rows by key and read as a whole.
//!
//! A lookup asks one query per batch of keys, with the keys as parameters. A source reads the table
//! as it is at one moment, in a read-only transaction. Columns are brought into the declared types
//! by the server, and what a type cannot hold is refused when the source is made. No name or value of
//! a script is ever a part of a query's text unquoted.

use std::sync::Arc;

use async_trait::async_trait;
use weir_engine::Result;
use weir_engine::connector::{Connector, LookupRequest, SourceRequest};
use weir_engine::lookup::{self, Lookup, Settings};
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::source::Source;

mod column;
mod decode;
mod failure;
mod keys;
mod peer;
mod query;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod tls;

const OWNER: &str = "connector 'postgres'";

const TABLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("table", OptionKind::Text, "Table or view."),
    OptionSpec::default(
        "schema",
        OptionKind::Text,
        "public",
        "Schema that the table is in.",
    ),
];

/// The connector `postgres`.
#[derive(Debug, Default)]
pub struct PostgresConnector;

fn check(request: &SourceRequest) -> Result<Options> {
    let tables = [peer::OPTIONS, TABLE_OPTIONS, lookup::OPTIONS];
    Options::check(OWNER, &tables, request.options.clone())
}

#[async_trait]
impl Connector for PostgresConnector {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn summary(&self) -> &'static str {
        "Tables of PostgreSQL: looked up by key, or read whole"
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![peer::OPTIONS, TABLE_OPTIONS, lookup::OPTIONS])
    }

    fn has_lookup(&self) -> bool {
        true
    }

    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        let options = check(&request)?;
        Settings::of(&options)?;
        let table = table::Table::open(&options, &request).await?;
        Ok(Arc::new(snapshot::Snapshot::new(table)))
    }

    async fn lookup(&self, request: LookupRequest) -> Result<Arc<dyn Lookup>> {
        let options = check(&request.source)?;
        let settings = Settings::of(&options)?;
        let table = table::Table::open(&options, &request.source).await?;
        Ok(Arc::new(query::ByKey::new(table, &request, settings)?))
    }
}
