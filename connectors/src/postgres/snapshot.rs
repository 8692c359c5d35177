//! A table read whole, as it is at one moment.
//!
//! Rows come as the server has them, in an order that it may change: a run that has read a part
//! cannot be gone on with. A bounded source is asked for its one split once.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::limits;
use weir_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};

use super::column::Column;
use super::peer::Peer;
use super::table::Table;
use super::{decode, failure, query};

/// A table as a source.
#[derive(Debug)]
pub(super) struct Snapshot {
    table: Table,
}

impl Snapshot {
    pub(super) fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Source for Snapshot {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        let name = self.table.shown();
        Ok(vec![Split {
            id: name.clone(),
            order: name,
            payload: String::new(),
            bytes: None,
            position: None,
        }])
    }

    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let table = self.table.shown();
        if split
            .position
            .as_ref()
            .is_some_and(|position| position.0 != "0")
        {
            return Err(Error::new(
                Kind::Invalid,
                codes::OFFSET,
                format!(
                    "the reading of table \"{table}\" was broken off, and cannot be gone on with"
                ),
            )
            .detail("its rows have no order, so nobody knows which of them were read")
            .hint("begin anew with another --state"));
        }
        let columns = self.table.pick(projection)?;
        let fields: Vec<FieldRef> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
        let (peer, doing) = (
            self.table.peer.clone(),
            format!("reading table \"{table}\""),
        );
        let client = peer.connect().await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        peer.call(client.batch_execute(begin), &doing).await?;
        let text = query::all(&self.table.quoted(), &columns);
        let none: [&(dyn ToSql + Sync); 0] = [];
        let stream = peer.call(client.query_raw(&text, none), &doing).await?;
        Ok(Box::new(Reader {
            peer,
            doing,
            _client: client,
            stream: Box::pin(stream),
            schema: Arc::new(Schema::new(fields)),
            columns,
            rows: Vec::new(),
            rows_max: context.job.batch_rows.max(1),
            given: 0,
            over: false,
        }))
    }

    fn describe(&self) -> String {
        format!("postgres {} in {}", self.table.shown(), self.table.peer)
    }
}

/// Reads a table.
struct Reader {
    peer: Peer,
    doing: String,
    /// Its end is the end of the connection.
    _client: Client,
    stream: Pin<Box<RowStream>>,
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Rows that are read and not given yet: a call that is dropped loses none.
    rows: Vec<Row>,
    rows_max: usize,
    given: usize,
    over: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("doing", &self.doing)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SplitReader for Reader {
    async fn next(&mut self) -> Result<Read> {
        let mut bytes: usize = self.rows.iter().map(Row::raw_size_bytes).sum();
        while !self.over && self.rows.len() < self.rows_max && bytes < limits::BATCH_BYTES_MAX {
            let limit = self.peer.query_time_max;
            let next = self.peer.env.timeout(limit, self.stream.next()).await;
            match next {
                None => return Err(failure::timeout(&self.doing, limit)),
                Some(None) => self.over = true,
                Some(Some(row)) => {
                    let row = row.map_err(|error| failure::error(&error, &self.doing))?;
                    bytes += row.raw_size_bytes();
                    self.rows.push(row);
                }
            }
        }
        if self.rows.is_empty() {
            return Ok(Read::End);
        }
        let batch = decode::batch(&self.rows, 0, &self.columns, &self.schema)?;
        self.given += self.rows.len();
        self.rows.clear();
        let bytes = bytes as u64;
        Ok(Read::Rows { batch, bytes })
    }

    fn position(&self) -> Position {
        Position(self.given.to_string())
    }
}
