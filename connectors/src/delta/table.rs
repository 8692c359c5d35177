//! A table's log: opened or made, and extended by one commit at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, PROTOCOL};
use deltalake_core::kernel::{Action, Add, Remove, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use tokio::sync::Mutex;
use url::Url;
use weir_engine::error::{Error, Kind, Result, codes};

use super::failure::{error, is_conflict, is_unanswered};
use crate::store::Location;

/// How often a commit looks at the table anew after another writer was faster, beside the attempts
/// within each look.
const LOOKS_MAX: usize = 8;

/// A file of a table.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its path in the table.
    pub(super) path: String,
    /// Its size.
    pub(super) bytes: u64,
    /// When it came into the table, by the clock of its writer.
    pub(super) modified_millis: i64,
    /// Its rows, if its writer has said so.
    pub(super) rows: Option<usize>,
    /// The values of its partition.
    pub(super) partition: BTreeMap<String, Option<String>>,
    /// Whether some of its rows do not count any more.
    pub(super) has_deletes: bool,
    remove: Remove,
}

impl Member {
    fn remove(&self, data_change: bool) -> Remove {
        Remove {
            data_change,
            ..self.remove.clone()
        }
    }
}

/// A table as one sink has it.
#[derive(Debug)]
pub(super) struct Table {
    log: LogStoreRef,
    url: String,
    columns: StructType,
    partition_by: Vec<String>,
    /// What was last seen of the log: the next look reads only what came since.
    seen: Mutex<Option<DeltaTable>>,
}

impl Table {
    /// Takes the place and the columns of a table, which need not be there yet.
    pub(super) fn new(
        location: &Location,
        schema: &SchemaRef,
        partition_by: Vec<String>,
    ) -> Result<Self> {
        let url = match &location.local_root {
            Some(root) => Url::from_directory_path(root).ok(),
            None => Url::parse(&format!("{}/{}/", location.base, location.path)).ok(),
        };
        let url = url.ok_or_else(|| {
            let message = format!("the path {} cannot be used", location.url);
            Error::new(Kind::Invalid, codes::OPTION, message)
        })?;
        let columns: StructType = schema.as_ref().try_into_kernel().map_err(|e| {
            let message = format!("a table of Delta Lake has no place for {}", location.url);
            Error::new(Kind::Invalid, codes::SCHEMA, message).detail(e.to_string())
        })?;
        let root = Arc::clone(&location.store);
        let inside = PrefixStore::new(Arc::clone(&root), location.path.clone());
        let inside: Arc<dyn ObjectStore> = Arc::new(inside);
        Ok(Self {
            log: default_logstore(inside, root, &url, &StorageConfig::default()),
            url: location.url.clone(),
            columns,
            partition_by,
            seen: Mutex::default(),
        })
    }

    /// Makes the table if there is none, and checks that rows can be appended to it.
    pub(super) async fn check(&self) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let exists = self.log.is_delta_table_location().await;
            if exists.map_err(|e| error(e, &self.url))? {
                let mut seen = self.seen.lock().await;
                let table = self.look(&mut seen).await?;
                return self.compare(table);
            }
            let create = CreateBuilder::new()
                .with_log_store(Arc::clone(&self.log))
                .with_columns(self.columns.fields().cloned())
                .with_partition_columns(self.partition_by.iter().cloned())
                .with_save_mode(SaveMode::Ignore);
            match create.await {
                Ok(table) => {
                    *self.seen.lock().await = Some(table);
                    return Ok(());
                }
                // Somebody else makes it at this moment.
                Err(e) if is_conflict(&e) => {}
                Err(e) => return Err(error(e, &self.url)),
            }
        }
        Err(self.crowded())
    }

    fn compare(&self, table: &DeltaTable) -> Result<()> {
        let state = table.snapshot().map_err(|e| error(e, &self.url))?;
        PROTOCOL
            .can_write_to(state)
            .map_err(|e| error(e.into(), &self.url))?;
        let mapping = state.metadata().configuration();
        if mapping
            .get("delta.columnMapping.mode")
            .is_some_and(|mode| mode != "none")
        {
            return Err(self.other("it maps the names of its columns, which cannot be written"));
        }
        let (has, has_partitions) = (state.schema(), state.metadata().partition_columns());
        if *has_partitions != self.partition_by {
            return Err(self.other(&format!(
                "it is partitioned by ({}), the sink by ({})",
                has_partitions.join(", "),
                self.partition_by.join(", ")
            )));
        }
        let mut differences = Vec::new();
        for ours in self.columns.fields() {
            match has.field(ours.name()) {
                None => differences.push(format!("it has no column {}", ours.name())),
                Some(column) if column.data_type() != ours.data_type() => {
                    differences.push(format!(
                        "{} is {} there and {} here",
                        ours.name(),
                        column.data_type(),
                        ours.data_type()
                    ));
                }
                Some(column) if !column.is_nullable() => {
                    differences.push(format!("{} must not be NULL there", ours.name()));
                }
                Some(_) => {}
            }
        }
        let missing = has
            .fields()
            .filter(|column| !column.is_nullable() && self.columns.field(column.name()).is_none());
        differences.extend(missing.map(|column| format!("{} is not given", column.name())));
        if differences.is_empty() {
            return Ok(());
        }
        Err(self.other(&differences.join("; ")))
    }

    fn other(&self, detail: &str) -> Error {
        let message = format!("the table {} does not take these rows", self.url);
        Error::new(Kind::Invalid, codes::SCHEMA, message)
            .detail(detail.to_owned())
            .hint("name and CAST the columns of the query as the table has them, or choose another path")
    }

    fn crowded(&self) -> Error {
        let message = format!("too many writers change the table {}", self.url);
        Error::new(Kind::Unavailable, codes::COMMIT, message)
    }

    /// Extends the log by one commit. One that has this `txn`, or a later one of the same
    /// application, is there already: nothing is done.
    pub(super) async fn append(
        &self,
        actions: Vec<Action>,
        txn: Option<Transaction>,
    ) -> Result<()> {
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: (!self.partition_by.is_empty()).then(|| self.partition_by.clone()),
            predicate: None,
        };
        let mut seen = self.seen.lock().await;
        for _ in 0..LOOKS_MAX {
            let table = self.look(&mut seen).await?;
            if let Some(txn) = &txn {
                let state = table.snapshot().map_err(|e| error(e, &self.url))?;
                let last = state.transaction_version(&*self.log, &txn.app_id).await;
                let last = last.map_err(|e| error(e, &self.url))?;
                if last.is_some_and(|last| last >= txn.version) {
                    return Ok(());
                }
            }
            let settles = txn.is_some();
            let txn = txn.clone().into_iter().collect();
            if self
                .commit(table, &actions, txn, &operation, settles)
                .await?
            {
                return Ok(());
            }
        }
        Err(self.crowded())
    }

    /// Takes the files whose paths are wanted out of the table, in one commit; gives how many.
    pub(super) async fn remove(&self, is_wanted: impl Fn(&str) -> bool) -> Result<usize> {
        let operation = DeltaOperation::Delete { predicate: None };
        let mut seen = self.seen.lock().await;
        for _ in 0..LOOKS_MAX {
            let table = self.look(&mut seen).await?;
            let files = self.members(table).await?;
            let actions: Vec<Action> = files
                .iter()
                .filter(|file| is_wanted(&file.path))
                .map(|file| Action::Remove(file.remove(true)))
                .collect();
            if actions.is_empty()
                || self
                    .commit(table, &actions, Vec::new(), &operation, true)
                    .await?
            {
                return Ok(actions.len());
            }
        }
        Err(self.crowded())
    }

    /// The files that the newest version of the table has.
    pub(super) async fn files(&self) -> Result<Vec<Member>> {
        let mut seen = self.seen.lock().await;
        let table = self.look(&mut seen).await?;
        self.members(table).await
    }

    async fn members(&self, table: &DeltaTable) -> Result<Vec<Member>> {
        let state = table.snapshot().map_err(|e| error(e, &self.url))?;
        let files = state.snapshot().file_views(&*self.log, None);
        let members = files.map_ok(|file| Member {
            path: file.path().into_owned(),
            bytes: u64::try_from(file.size()).unwrap_or(0),
            modified_millis: file.modification_time(),
            rows: file.num_records(),
            partition: file.partition_values_map().into_iter().collect(),
            has_deletes: file.deletion_vector_descriptor().is_some(),
            remove: file.remove_action(false),
        });
        let members = members.try_collect().await;
        members.map_err(|e| error(e, &self.url))
    }

    /// Puts one file in the place of others that have the same rows, in one commit; false when
    /// another writer has changed what it is about.
    pub(super) async fn exchange(&self, old: &[&Member], new: Add, target: u64) -> Result<bool> {
        let operation = DeltaOperation::Optimize {
            predicate: None,
            target_size: i64::try_from(target).unwrap_or(i64::MAX),
        };
        let mut actions: Vec<Action> = old
            .iter()
            .map(|file| Action::Remove(file.remove(false)))
            .collect();
        actions.push(Action::Add(new));
        // The version that is seen now may be newer than the one that was planned from.
        let mut seen = self.seen.lock().await;
        let table = self.look(&mut seen).await?;
        let files = self.members(table).await?;
        let is_there = |old: &&Member| files.iter().any(|file| file.path == old.path);
        if !old.iter().all(is_there) {
            return Ok(false);
        }
        self.commit(table, &actions, Vec::new(), &operation, false)
            .await
    }

    /// Makes one commit; false when another writer was faster and the table is to be looked at
    /// anew. An answer that was lost looks the same, or as if the store did not answer: when the
    /// next look `settles` whether the commit is there, that is no failure.
    async fn commit(
        &self,
        table: &mut DeltaTable,
        actions: &[Action],
        txn: Vec<Transaction>,
        operation: &DeltaOperation,
        settles: bool,
    ) -> Result<bool> {
        let state = table.snapshot().map_err(|e| error(e, &self.url))?;
        let properties = CommitProperties::default().with_application_transactions(txn);
        let commit = CommitBuilder::from(properties)
            .with_actions(actions.to_vec())
            .build(Some(state), Arc::clone(&self.log), operation.clone());
        let committed = commit.await;
        match committed {
            Ok(committed) => {
                table.state = Some(committed.snapshot());
                Ok(true)
            }
            Err(e) if is_conflict(&e) || settles && is_unanswered(&e) => Ok(false),
            Err(e) => Err(error(e, &self.url)),
        }
    }

    async fn look<'a>(&self, seen: &'a mut Option<DeltaTable>) -> Result<&'a mut DeltaTable> {
        let table = seen.get_or_insert_with(|| DeltaTable::new(Arc::clone(&self.log)));
        let looked: Result<(), DeltaTableError> = table.update_state().await;
        looked.map_err(|e| error(e, &self.url))?;
        Ok(table)
    }
}
