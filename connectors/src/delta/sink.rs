//! The sink: files as a file sink writes them, named by one commit of the log per epoch.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use deltalake_core::kernel::{Action, Add, Transaction};
use parking_lot::Mutex;
use weir_engine::connector::SinkRequest;
use weir_engine::env::Env;
use weir_engine::error::{Error, Result};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::Options;
use weir_engine::sink::{CommitToken, Owner, Sink, SinkWriter, Start};

use super::compaction::{self, Compaction, Compactor};
use super::merged::Merged;
use super::table::Table;
use super::{partition, shape};
use crate::file_sink::{Staging, io};
use crate::store::Location;

/// A table that is written to.
#[derive(Debug)]
pub(super) struct DeltaSink {
    files: Arc<Staging>,
    table: Arc<Table>,
    /// The rows as the table has them.
    schema: SchemaRef,
    compaction: Option<Compaction>,
    env: Env,
    url: String,
    /// Told before all else.
    owner: Mutex<Option<Owner>>,
}

impl DeltaSink {
    /// Checks the options and that a table takes the rows.
    pub(super) fn new(
        mut request: SinkRequest,
        location: Location,
        options: &Options,
    ) -> Result<Self> {
        let schema = shape::schema(&request.schema);
        request.schema = Arc::clone(&schema);
        let partition_by = request.partition_columns.clone();
        for name in &partition_by {
            if schema
                .field_with_name(name)
                .is_ok_and(|field| field.data_type().is_binary())
            {
                let why = format!("\"{name}\" is bytes, which no partition of a table is");
                return Err(options.invalid("partition_by", why));
            }
        }
        let table = Arc::new(Table::new(&location, &schema, partition_by)?);
        let url = location.url.clone();
        let compaction = Compaction::of(options, &location, &request, &table)?;
        Ok(Self {
            files: Arc::new(Staging::new(&request, location, options)?),
            table,
            schema,
            compaction,
            env: request.env,
            url,
            owner: Mutex::default(),
        })
    }

    /// A short name of whose sink it is.
    fn mark(&self) -> Result<String> {
        let owner = self.owner.lock();
        let mark = owner.as_ref().map(Owner::mark);
        mark.ok_or_else(|| Error::internal("a table was not told whose sink it is"))
    }

    /// The name under which the table's log keeps the last epoch of this sink.
    fn application(&self) -> Result<String> {
        let owner = self.owner.lock();
        let owner = owner.as_ref();
        let owner =
            owner.ok_or_else(|| Error::internal("a table was not told whose sink it is"))?;
        let (pipeline, node) = (&owner.pipeline, &owner.node);
        Ok(format!("weir-{pipeline}-{node}-{}", owner.mark()))
    }

    fn add(&self, path: String, token: &CommitToken) -> Result<Add> {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(Add {
            partition_values: partition::values(&path, &self.schema)?,
            path,
            size: number(token.bytes),
            modification_time: self.env.clock().now_micros() / 1000,
            data_change: true,
            stats: Some(format!("{{\"numRecords\":{}}}", token.rows)),
            ..Add::default()
        })
    }
}

#[async_trait]
impl Sink for DeltaSink {
    fn own(&self, owner: &Owner) {
        self.files.own(owner);
        *self.owner.lock() = Some(owner.clone());
    }

    async fn check(&self, _schema: &SchemaRef, start: Start) -> Result<()> {
        self.files.check(start).await?;
        let (table, files, url) = (
            Arc::clone(&self.table),
            Arc::clone(&self.files),
            self.url.clone(),
        );
        let names = Merged::of(&self.mark()?);
        io(&self.env, async move {
            table.check().await?;
            let Start::Resumed(last) = start else {
                return Ok(());
            };
            let merged = table.files().await?;
            let merged = merged.iter().filter_map(|file| names.epoch(&file.path));
            if let Some(epoch) = merged.max().filter(|epoch| *epoch > last) {
                return Err(compaction::went_back(&url, epoch, last));
            }
            // What epochs that do not count any more have shown comes again.
            let is_later = |path: &str| files.is_later(path, last).unwrap_or(false);
            let removed = table.remove(is_later).await?;
            if removed > 0 {
                tracing::warn!(
                    table = url,
                    files = removed,
                    epoch = last.0,
                    "took the files of later epochs out of the table: their rows come again"
                );
            }
            Ok(())
        })
        .await
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        // One of the subtasks looks after the table.
        let compaction = self.compaction.as_ref().filter(|_| context.subtask == 0);
        let compactor = compaction
            .map(|compaction| compaction.compactor(&self.mark()?, &self.files, context))
            .transpose()?;
        Ok(Box::new(DeltaWriter {
            files: self.files.writer(context).await?,
            schema: Arc::clone(&self.schema),
            compactor,
        }))
    }

    async fn commit(&self, epoch: Epoch, tokens: &[CommitToken]) -> Result<()> {
        let mut adds = Vec::with_capacity(tokens.len());
        // Runs without checkpoints commit once and in any order: their epochs say nothing.
        let mut numbered = false;
        for token in tokens {
            let path = self.files.show(token).await?;
            numbered |= self.files.epoch(&path)?.is_some();
            adds.push(Action::Add(self.add(path, token)?));
        }
        if adds.is_empty() {
            return Ok(());
        }
        let version = i64::try_from(epoch.0)
            .map_err(|e| Error::internal("an epoch is too large for a table").caused_by(e))?;
        let application = self.application()?;
        let now = self.env.clock().now_micros() / 1000;
        let txn =
            numbered.then(|| Transaction::new_with_last_update(application, version, Some(now)));
        let table = Arc::clone(&self.table);
        io(&self.env, async move { table.append(adds, txn).await }).await
    }

    async fn abort(&self, token: &CommitToken) -> Result<()> {
        self.files.abort(token).await
    }

    fn describe(&self) -> String {
        format!("delta {}", self.files.describe())
    }
}

/// The writer of one subtask.
#[derive(Debug)]
struct DeltaWriter {
    files: Box<dyn SinkWriter>,
    schema: SchemaRef,
    compactor: Option<Arc<Compactor>>,
}

#[async_trait]
impl SinkWriter for DeltaWriter {
    fn begin(&mut self, epoch: Epoch) {
        self.files.begin(epoch);
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.files.write(shape::fit(&batch, &self.schema)?).await
    }

    async fn tick(&mut self) -> Result<()> {
        if let Some(compactor) = &self.compactor {
            compactor.poke();
        }
        self.files.tick().await
    }

    fn finished(&mut self) -> Vec<CommitToken> {
        self.files.finished()
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        self.files.prepare().await
    }

    async fn discard(&mut self) -> Result<()> {
        self.files.discard().await
    }
}
