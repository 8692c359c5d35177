//! Merges the small files of partitions that rest, in the background: one commit of the log takes
//! them out and puts a file with the same rows in, so that no reader sees rows twice or not at all.
//!
//! Only files that this sink has written with checkpoints are merged, since only their names say
//! which epochs they hold. Nothing is deleted: readers of older versions need the files, and the
//! table's own VACUUM knows when they do not. What goes wrong is told and tried again later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryPool};
use deltalake_core::kernel::Add;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir_engine::connector::SinkRequest;
use weir_engine::env::{Env, Work};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::Options;

use super::merged::Merged;
use super::table::{Member, Table};
use crate::file_sink::Staging;
use crate::store::{self, Location};

/// The most that a merged file holds: it is made in memory, beside one of the old ones.
const TARGET_BYTES_MAX: u64 = 64 << 20;
/// Encoded bytes of a row group of a merged file.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// Files that one commit replaces at most, so that it stays small.
const FILES_MAX: usize = 1_000;
/// Merges of one look at the table.
const MERGES_MAX: usize = 64;
/// The least and the most time between two looks at the table.
const LOOK_EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);

/// What the options say of compaction, and where it works.
#[derive(Debug)]
pub(super) struct Compaction {
    place: Place,
    after: Duration,
    target: u64,
    table: Arc<Table>,
}

#[derive(Debug, Clone)]
struct Place {
    store: Arc<dyn ObjectStore>,
    url: String,
    /// The columns that stand in the files.
    schema: SchemaRef,
}

impl Compaction {
    /// Reads the options; `None` when nothing is to be merged.
    pub(super) fn of(
        options: &Options,
        location: &Location,
        request: &SinkRequest,
        table: &Arc<Table>,
    ) -> Result<Option<Self>> {
        if !options.bool("compact") {
            return if options.is_given("compact_after") {
                Err(options.invalid("compact_after", "needs compact = 'true'"))
            } else {
                Ok(None)
            };
        }
        let in_path = |name: &String| request.partition_columns.contains(name);
        let columns = request
            .schema
            .fields()
            .iter()
            .filter(|field| !in_path(field.name()));
        let store = PrefixStore::new(Arc::clone(&location.store), location.path.clone());
        Ok(Some(Self {
            place: Place {
                store: Arc::new(store),
                url: location.url.clone(),
                schema: Arc::new(Schema::new(columns.cloned().collect::<Vec<_>>())),
            },
            after: options.duration("compact_after").unwrap_or_default(),
            target: options
                .bytes("roll_size")
                .unwrap_or(u64::MAX)
                .min(TARGET_BYTES_MAX),
            table: Arc::clone(table),
        }))
    }

    /// Makes the one that works for a job.
    pub(super) fn compactor(
        &self,
        mark: &str,
        files: &Arc<Staging>,
        context: &TaskContext,
    ) -> Result<Arc<Compactor>> {
        Ok(Arc::new(Compactor {
            names: Merged::of(mark),
            files: Arc::clone(files),
            table: Arc::clone(&self.table),
            place: self.place.clone(),
            after: self.after,
            target: self.target,
            env: context.job.env.clone(),
            memory: Arc::clone(&context.job.memory),
            next: Mutex::new(context.job.env.clock().monotonic()),
            is_busy: AtomicBool::new(false),
        }))
    }
}

/// Looks after a table while a job runs.
#[derive(Debug)]
pub(super) struct Compactor {
    names: Merged,
    files: Arc<Staging>,
    table: Arc<Table>,
    place: Place,
    after: Duration,
    target: u64,
    env: Env,
    memory: Arc<dyn MemoryPool>,
    /// When the table is looked at again.
    next: Mutex<Duration>,
    is_busy: AtomicBool,
}

impl Compactor {
    /// Looks at the table behind the caller's back, when it is time and nobody does so already.
    pub(super) fn poke(self: &Arc<Self>) {
        let now = self.env.clock().monotonic();
        if now < *self.next.lock() || self.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let compactor = Arc::clone(self);
        let work = async move {
            if let Err(error) = compactor.run().await {
                tracing::warn!(table = compactor.place.url, %error, "files could not be merged");
            }
            let pause = compactor
                .after
                .clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end());
            *compactor.next.lock() = compactor.env.clock().monotonic() + pause;
            compactor.is_busy.store(false, Ordering::Release);
        };
        drop(self.env.spawn(Work::Io, work));
    }

    /// Merges what can be merged now; gives how many files went into others.
    pub(super) async fn run(&self) -> Result<usize> {
        let now = self.env.clock().now_micros() / 1000;
        let after = i64::try_from(self.after.as_millis()).unwrap_or(i64::MAX);
        let files = self.table.files().await?;
        let epoch = |file: &Member| {
            let own = self.files.epoch(&file.path).ok().flatten();
            own.or_else(|| self.names.epoch(&file.path))
        };
        let mut merged = 0;
        for (last, files) in plan(&files, epoch, self.target, now.saturating_sub(after)) {
            if self.merge(last, &files).await? {
                merged += files.len();
            }
        }
        Ok(merged)
    }

    /// Merges files of one partition, whose last epoch is given.
    async fn merge(&self, last: Epoch, files: &[&Member]) -> Result<bool> {
        let Some(first) = files.first() else {
            return Ok(false);
        };
        let bytes = files
            .iter()
            .map(|file| usize::try_from(file.bytes).unwrap_or(usize::MAX));
        let (all, most) = bytes.fold((0, 0), |(all, most): (usize, usize), bytes| {
            (all.saturating_add(bytes), most.max(bytes))
        });
        let memory = MemoryConsumer::new("merging of files").register(&self.memory);
        let needs = all.saturating_add(most).saturating_add(2 * ROW_GROUP_BYTES);
        // Files that are small do no harm for a while longer.
        if memory.try_grow(needs).is_err() {
            return Ok(false);
        }
        let mut writer = Some(writer(&self.place.schema)?);
        for file in files {
            let path = Path::parse(&file.path)
                .map_err(|e| Error::internal(format!("{} is no path", file.path)).caused_by(e))?;
            let failed = |e| store::error(e, &format!("{path} of {}", self.place.url));
            let got = self.place.store.get(&path).await.map_err(failed)?;
            let bytes = got.bytes().await.map_err(failed)?;
            let (into, schema) = (writer.take(), Arc::clone(&self.place.schema));
            writer = self
                .env
                .blocking(move || copy(bytes, into, &schema))
                .await??;
        }
        let Some(writer) = writer else {
            // A file of other columns is among them.
            return Ok(false);
        };
        let (bytes, rows) = self.env.blocking(move || finish(writer)).await??;
        let wanted: Option<usize> = files.iter().map(|file| file.rows).sum();
        if wanted != Some(rows) {
            let text = format!(
                "files of {} that have {wanted:?} rows gave {rows}",
                self.place.url
            );
            return Err(Error::internal(text));
        }
        let size = bytes.len();
        let path = self.names.path(&first.path, last, &self.env.next_id());
        let key = Path::parse(&path)
            .map_err(|e| Error::internal(format!("{path} is no path")).caused_by(e))?;
        let put = self.place.store.put(&key, PutPayload::from(bytes)).await;
        put.map_err(|e| store::error(e, &self.place.url))?;
        let new = Add {
            path,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            partition_values: first.partition.clone().into_iter().collect(),
            // The partition rests as before: a merge is no new file.
            modification_time: files.iter().map(|f| f.modified_millis).max().unwrap_or(0),
            data_change: false,
            stats: Some(format!("{{\"numRecords\":{rows}}}")),
            ..Add::default()
        };
        // When another writer was faster the new file stays unnamed: whether the answer to our own
        // commit was only lost cannot be known, so it is not deleted.
        self.table.exchange(files, new, self.target).await
    }
}

/// Finds files to merge: of partitions that got nothing after `rest_since`, those that are small,
/// in the order of their epochs, up to `target` bytes each time. Gives the last epoch of each.
fn plan(
    files: &[Member],
    epoch: impl Fn(&Member) -> Option<Epoch>,
    target: u64,
    rest_since: i64,
) -> Vec<(Epoch, Vec<&Member>)> {
    let mut partitions: BTreeMap<_, Vec<&Member>> = BTreeMap::new();
    for file in files {
        partitions.entry(&file.partition).or_default().push(file);
    }
    let mut merges = Vec::new();
    for files in partitions.into_values() {
        if files.iter().any(|file| file.modified_millis > rest_since) {
            continue;
        }
        let is_small = |file: &&&Member| file.bytes <= target / 2 && !file.has_deletes;
        let mut small: Vec<_> = files
            .iter()
            .filter(is_small)
            .filter_map(|file| Some((epoch(file)?, *file)))
            .collect();
        small.sort_by(|(a, one), (b, other)| (a, &one.path).cmp(&(b, &other.path)));
        let (mut bytes, mut merge) = (0, (Epoch(0), Vec::new()));
        for (epoch, file) in small {
            if bytes + file.bytes > target || merge.1.len() == FILES_MAX {
                merges.push(std::mem::replace(&mut merge, (Epoch(0), Vec::new())));
                bytes = 0;
            }
            bytes += file.bytes;
            merge.0 = merge.0.max(epoch);
            merge.1.push(file);
        }
        merges.push(merge);
    }
    merges.retain(|(_, files)| files.len() > 1);
    merges.truncate(MERGES_MAX);
    merges
}

/// Copies the rows of a file; gives `None` when its columns are others.
fn copy(
    bytes: Bytes,
    writer: Option<ArrowWriter<Vec<u8>>>,
    schema: &SchemaRef,
) -> Result<Option<ArrowWriter<Vec<u8>>>> {
    let Some(mut writer) = writer else {
        return Ok(None);
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(unreadable)?;
    if reader.schema().fields() != schema.fields() {
        return Ok(None);
    }
    for batch in reader.build().map_err(unreadable)? {
        writer.write(&batch?).map_err(unreadable)?;
    }
    Ok(Some(writer))
}

fn writer(schema: &SchemaRef) -> Result<ArrowWriter<Vec<u8>>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(unreadable)
}

fn finish(mut writer: ArrowWriter<Vec<u8>>) -> Result<(Vec<u8>, usize)> {
    writer.flush().map_err(unreadable)?;
    let groups = writer.flushed_row_groups().iter();
    let rows: i64 = groups.map(|group| group.num_rows()).sum();
    let rows = usize::try_from(rows).unwrap_or(0);
    Ok((writer.into_inner().map_err(unreadable)?, rows))
}

fn unreadable(error: parquet::errors::ParquetError) -> Error {
    Error::new(
        Kind::Data,
        codes::COMMIT,
        "files of a table cannot be merged",
    )
    .caused_by(error)
}

/// The error of a run that goes on from before what merged files hold: their rows would come again
/// and cannot be told apart.
pub(super) fn went_back(url: &str, merged: Epoch, last: Epoch) -> Error {
    Error::new(
        Kind::Conflict,
        codes::COMMIT,
        format!(
            "the table {url} has merged files with rows of checkpoint {}, but the job goes on \
             from checkpoint {}",
            merged.0, last.0
        ),
    )
    .hint("restore a version of the table from before the merge with its own tools, or go on from a later checkpoint")
}
