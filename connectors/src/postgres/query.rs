//! Rows by key: one query per call over a few connections, which are kept.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};
use weir_engine::connector::LookupRequest;
use weir_engine::error::{Error, Result};
use weir_engine::limits;
use weir_engine::lookup::{Found, Lookup, Settings};

use super::column::Column;
use super::table::Table;
use super::{decode, keys};

/// Connections of one lookup over all subtasks: a server has about a hundred for all its clients.
const CONNECTIONS_MAX: usize = limits::LOOKUP_CALLS_MAX;

/// A table that is asked by some of its columns.
#[derive(Debug)]
pub(super) struct ByKey {
    table: Table,
    keys: Vec<Column>,
    columns: Vec<Column>,
    schema: SchemaRef,
    settings: Settings,
    text: String,
    idle: Mutex<Vec<Session>>,
    room: Semaphore,
}

/// A connection that knows the query.
#[derive(Debug)]
struct Session {
    client: Client,
    statement: Statement,
}

impl ByKey {
    /// Writes the query; connections are made when they are needed.
    pub(super) fn new(table: Table, request: &LookupRequest, settings: Settings) -> Result<Self> {
        let keys = table.pick(&request.keys)?;
        let columns = table.pick(&request.columns)?;
        let fields: Vec<FieldRef> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
        Ok(Self {
            text: text(&table.quoted(), &keys, &columns),
            table,
            keys,
            columns,
            schema: Arc::new(Schema::new(fields)),
            settings,
            idle: Mutex::default(),
            room: Semaphore::new(CONNECTIONS_MAX),
        })
    }

    fn doing(&self) -> String {
        format!("looking rows of {} up", self.table.shown())
    }

    /// A connection that is idle, or a new one.
    async fn session(&self) -> Result<Session> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(session) if session.client.is_closed() => {}
                Some(session) => return Ok(session),
                None => break,
            }
        }
        let (peer, doing) = (&self.table.peer, self.doing());
        let client = peer.connect().await?;
        // The server gives a query up when nobody waits for it any more.
        let limit = format!(
            "SET statement_timeout = {}",
            peer.query_time_max.as_millis().max(1)
        );
        peer.call(client.batch_execute(&limit), &doing).await?;
        let types: Vec<Type> = self.keys.iter().map(|key| key.wire().array()).collect();
        let prepared = client.prepare_typed(&self.text, &types);
        let statement = peer.call(prepared, &doing).await?;
        Ok(Session { client, statement })
    }
}

/// The query: its parameters are arrays, one per key column; its first column is the number of the
/// key that a row belongs to.
fn text(table: &str, keys: &[Column], columns: &[Column]) -> String {
    let numbers = || 0..keys.len();
    let parameters: Vec<String> = numbers().map(|at| format!("${}", at + 1)).collect();
    let names: Vec<String> = numbers().map(|at| format!("k{at}")).collect();
    let conditions = keys.iter().zip(&names);
    let conditions: Vec<String> = conditions
        .map(|(key, name)| key.is(&format!("k.{name}")))
        .collect();
    let columns: String = columns
        .iter()
        .map(|c| format!(", {}", c.select()))
        .collect();
    format!(
        "SELECT (k.n - 1)::int4{columns} FROM unnest({}) WITH ORDINALITY AS k({}, n) \
         JOIN {table} AS t ON {}",
        parameters.join(", "),
        names.join(", "),
        conditions.join(" AND ")
    )
}

#[async_trait]
impl Lookup for ByKey {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn settings(&self) -> Settings {
        self.settings
    }

    fn describe(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.own.name.as_str()).collect();
        format!("postgres {} by ({})", self.table.shown(), keys.join(", "))
    }

    async fn get(&self, keys: &[ArrayRef]) -> Result<Found> {
        let values = keys.iter().zip(&self.keys);
        let values = values.map(|(keys, column)| keys::values(keys, column));
        let values = values.collect::<Result<Vec<_>>>()?;
        let parameters: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|values| {
                let values: &(dyn ToSql + Sync) = values;
                values
            })
            .collect();
        let permit = self.room.acquire().await;
        let _permit = permit.map_err(|_| Error::cancelled())?;
        // A call that fails or is dropped takes its connection with it: what comes next on it would
        // be the answer to this call.
        let session = self.session().await?;
        let asked = session.client.query(&session.statement, &parameters);
        let rows = self.table.peer.call(asked, &self.doing()).await?;
        self.idle.lock().push(session);
        Ok(Found {
            keys: decode::numbers(&rows, 0)?,
            rows: decode::batch(&rows, 1, &self.columns, &self.schema)?,
        })
    }
}

/// A query that reads columns of all rows.
pub(super) fn all(table: &str, columns: &[Column]) -> String {
    let columns: Vec<String> = columns.iter().map(Column::select).collect();
    format!("SELECT {} FROM {table} AS t", columns.join(", "))
}

#[cfg(test)]
pub(super) fn texts(table: &str, keys: &[Column], columns: &[Column]) -> [String; 2] {
    [text(table, keys, columns), all(table, columns)]
}
