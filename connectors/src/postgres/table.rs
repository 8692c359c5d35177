//! A table: its columns as the server's catalog has them and as the source gives them.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use tokio_postgres::{Client, Row};
use weir_engine::connector::SourceRequest;
use weir_engine::error::{Error, Result, codes};
use weir_engine::options::{Options, unknown};

use super::column::{Column, Own, quoted};
use super::failure;
use super::peer::Peer;

/// Columns of a table, view or foreign table in their order, with the type under a domain.
const COLUMNS: &str = "SELECT a.attname::text, coalesce(b.typname, t.typname)::text,
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ORDER BY a.attnum";

/// The names that the table might have been.
const TABLES: &str = "SELECT c.relname::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1 LIMIT 1000";

/// A table of a server.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) peer: Peer,
    namespace: String,
    name: String,
    pub(super) columns: Vec<Column>,
    pub(super) schema: SchemaRef,
}

impl Table {
    /// Finds the table and checks the declared columns against it; without any, gives all.
    pub(super) async fn open(options: &Options, request: &SourceRequest) -> Result<Self> {
        let peer = Peer::new(options, &request.env).await?;
        let (namespace, name) = (options.need("schema")?, options.need("table")?);
        let client = peer.connect().await?;
        let own = catalog(&peer, &client, namespace, name).await?;
        let columns = match &request.columns {
            Some(declared) => declared
                .iter()
                .map(|field| find(field, &own))
                .collect::<Result<Vec<_>>>()?,
            None => own
                .into_iter()
                .map(|own| {
                    let field = Field::new(&own.name, own.data_type(), true);
                    Column::new(Arc::new(field), own)
                })
                .collect::<Result<Vec<_>>>()?,
        };
        let fields: Vec<FieldRef> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
        Ok(Self {
            peer,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            columns,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Its name as a part of a query.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.namespace), quoted(&self.name))
    }

    /// Its name for people.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Some of its columns, in this order.
    pub(super) fn pick(&self, columns: &[usize]) -> Result<Vec<Column>> {
        let picked = columns.iter().map(|at| self.columns.get(*at).cloned());
        let picked: Option<Vec<_>> = picked.collect();
        picked.ok_or_else(|| Error::internal("postgres has no such column"))
    }
}

async fn catalog(peer: &Peer, client: &Client, namespace: &str, name: &str) -> Result<Vec<Own>> {
    let doing = format!("looking for table \"{namespace}.{name}\"");
    let rows = peer
        .call(client.query(COLUMNS, &[&namespace, &name]), &doing)
        .await?;
    if rows.is_empty() {
        let tables = peer
            .call(client.query(TABLES, &[&namespace]), &doing)
            .await?;
        let tables = tables.iter().map(|row| row.try_get::<_, String>(0));
        let tables: Vec<String> = tables
            .collect::<Result<_, _>>()
            .map_err(|error| failure::error(&error, &doing))?;
        let what = format!("table of schema \"{namespace}\" in {peer}:");
        let known = tables.iter().map(String::as_str);
        return Err(unknown(codes::NOT_FOUND, &what, name, known));
    }
    let own = |row: &Row| {
        Ok::<_, tokio_postgres::Error>(Own {
            name: row.try_get(0)?,
            type_name: row.try_get(1)?,
            shown: row.try_get(2)?,
            modifier: row.try_get(3)?,
        })
    };
    let columns = rows.iter().map(own).collect::<Result<Vec<_>, _>>();
    columns.map_err(|error| failure::error(&error, &doing))
}

fn find(field: &FieldRef, own: &[Own]) -> Result<Column> {
    match own.iter().find(|own| own.name == *field.name()) {
        Some(own) => Column::new(Arc::clone(field), own.clone()),
        None => {
            let known = own.iter().map(|own| own.name.as_str());
            Err(unknown(
                codes::UNKNOWN_COLUMN,
                "column of the table:",
                field.name(),
                known,
            ))
        }
    }
}
