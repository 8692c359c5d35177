//! The hidden command `bare-writer`: arrow-rs's reader and writer of Parquet with nothing around
//! them, as the measure of a sink.
//!
//! It reads row groups of files as they come and writes one file per thread, with the properties
//! that Weir's sink has by default, to a folder or an S3 server, and prints its time as JSON.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, AsyncArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::clock::timed;
use crate::failure::{During, Failure, Result};
use crate::report;

/// The command's name.
pub(crate) const NAME: &str = "bare-writer";
/// Whose code is measured.
pub(crate) const VERSION: &str = "arrow-rs of this build";
/// Rows per batch, as in Weir.
const BATCH_ROWS: usize = 8_192;
/// Most rows of a row group, as in Weir's sink.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Most bytes of a row group, as in Weir's sink.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// The command: its fields are its flags.
#[derive(Debug, Args)]
pub(crate) struct BareWriter {
    /// Files to read
    #[arg(long, value_delimiter = ',', required = true)]
    from: Vec<PathBuf>,

    /// Folder to write to, or s3://bucket/prefix
    #[arg(long)]
    to: String,

    /// Files that are written at the same time
    #[arg(long, default_value_t = 1)]
    threads: usize,

    /// URL of the S3 server
    #[arg(long, requires_all = ["key", "secret"])]
    endpoint: Option<String>,

    /// Its access key
    #[arg(long)]
    key: Option<String>,

    /// Its secret key
    #[arg(long)]
    secret: Option<String>,
}

/// Row groups that are still to be read: a file and the group's number in it.
struct Work {
    groups: Vec<(PathBuf, usize)>,
    next: AtomicUsize,
}

impl BareWriter {
    /// The command, which is not for people.
    pub(crate) fn command() -> Command {
        Self::augment_args(Command::new(NAME).hide(true))
    }

    /// Copies and prints the time.
    pub(crate) fn run(flags: &ArgMatches) -> Result<()> {
        let this = Self::from_arg_matches(flags).during("reading flags")?;
        let (rows, time) = timed(|| this.copy());
        report::say(&json!({"rows": rows?, "seconds": time.as_secs_f64()}).to_string());
        Ok(())
    }

    fn copy(&self) -> Result<u64> {
        let mut groups = Vec::new();
        for path in &self.from {
            let count = open(path)?.metadata().num_row_groups();
            groups.extend((0..count).map(|group| (path.clone(), group)));
        }
        let first = self.from.first().ok_or_else(|| Failure::new("no files"))?;
        let schema = Arc::clone(open(first)?.schema());
        let next = AtomicUsize::new(0);
        let work = Work { groups, next };
        match self.store()? {
            Some(store) => self.to_store(&work, &schema, &store),
            None => self.to_folder(&work, &schema),
        }
    }

    fn to_folder(&self, work: &Work, schema: &SchemaRef) -> Result<u64> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|number| {
                    let path = Path::new(&self.to).join(format!("{number}.parquet"));
                    scope.spawn(move || to_file(work, schema, &path))
                })
                .collect();
            sum(threads.into_iter().map(|thread| {
                let panicked = Failure::new("a writer panicked");
                thread.join().unwrap_or(Err(panicked))
            }))
        })
    }

    fn to_store(
        &self,
        work: &Work,
        schema: &SchemaRef,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<u64> {
        let (_, prefix) = self.bucket()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads)
            .enable_all()
            .build()
            .during("starting the writers")?;
        // A thread per writer encodes; what is encoded is sent by the runtime's own threads.
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|number| {
                    let path = object_store::path::Path::from(format!("{prefix}/{number}.parquet"));
                    let object = BufWriter::new(Arc::clone(store), path);
                    let handle = runtime.handle();
                    scope.spawn(move || handle.block_on(to_object(work, schema, object)))
                })
                .collect();
            sum(threads.into_iter().map(|thread| {
                let panicked = Failure::new("a writer panicked");
                thread.join().unwrap_or(Err(panicked))
            }))
        })
    }

    fn bucket(&self) -> Result<(&str, &str)> {
        let place = self.to.strip_prefix("s3://");
        place
            .and_then(|place| place.split_once('/'))
            .ok_or_else(|| Failure::new("--to is s3://bucket/prefix where --endpoint is given"))
    }

    fn store(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        let (Some(endpoint), Some(key), Some(secret)) = (&self.endpoint, &self.key, &self.secret)
        else {
            return Ok(None);
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(self.bucket()?.0)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .build()
            .during("making a client of the S3 server")?;
        Ok(Some(Arc::new(store)))
    }
}

impl Work {
    /// The batches of the next row group.
    fn take(&self) -> Result<Option<impl Iterator<Item = Result<RecordBatch>> + use<>>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let Some((path, group)) = self.groups.get(next) else {
            return Ok(None);
        };
        let reader = open(path)?
            .with_batch_size(BATCH_ROWS)
            .with_row_groups(vec![*group])
            .build()
            .during("reading a row group")?;
        Ok(Some(
            reader.map(|batch| batch.during("reading a row group")),
        ))
    }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let doing = || format!("opening {}", path.display());
    let file = File::open(path).during(doing())?;
    ParquetRecordBatchReaderBuilder::try_new(file).during(doing())
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

fn to_file(work: &Work, schema: &SchemaRef, path: &Path) -> Result<u64> {
    let file = File::create(path).during(format!("creating {}", path.display()))?;
    let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties()));
    let mut writer = writer.during("starting a file")?;
    let mut rows = 0;
    while let Some(batches) = work.take()? {
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            writer.write(&batch).during("writing rows")?;
        }
    }
    drop(writer.close().during("finishing a file")?);
    Ok(rows)
}

async fn to_object(work: &Work, schema: &SchemaRef, object: BufWriter) -> Result<u64> {
    let writer = AsyncArrowWriter::try_new(object, Arc::clone(schema), Some(properties()));
    let mut writer = writer.during("starting an object")?;
    let mut rows = 0;
    while let Some(batches) = work.take()? {
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            writer.write(&batch).await.during("writing rows")?;
        }
    }
    drop(writer.close().await.during("finishing an object")?);
    Ok(rows)
}

fn sum(parts: impl Iterator<Item = Result<u64>>) -> Result<u64> {
    parts.sum()
}
