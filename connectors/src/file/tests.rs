//! Reads files of all kinds and of all kinds of damage through the source's own interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::memory_pool::UnboundedMemoryPool;
use tempfile::TempDir;
use tokio::sync::watch;
use weir_engine::connector::SourceRequest;
use weir_engine::dead_letter::{DeadLetter, DeadLetters, MemoryStore, OnError};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::options::{OptionValue, Options};
use weir_engine::source::{Read, Source, Split};
use weir_engine::{Error, Result};

use super::config::OPTIONS;
use super::source::FileSource;
use crate::store::{self, Location, Scheme};

mod avro;
mod csv;
mod estimate;
mod json;
mod listing;
mod parquet;
mod records;
mod remote;
mod watch_mode;

/// A folder with files, and what is wanted of them.
struct Case {
    folder: TempDir,
    options: BTreeMap<String, OptionValue>,
    columns: Option<Vec<FieldRef>>,
    metadata: Vec<(FieldRef, String)>,
    on_error: OnError,
    streaming: bool,
    batch_rows: usize,
    env: Env,
    letters: Arc<MemoryStore>,
    job: JobContext,
}

/// All that a source gave.
struct Outcome {
    batch: RecordBatch,
    letters: Vec<DeadLetter>,
}

fn env() -> Env {
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1)
}

impl Case {
    fn new(path: &str) -> Self {
        let env = env();
        let letters = Arc::new(MemoryStore::default());
        let (_, stop) = watch::channel(Stop::Run);
        let job = JobContext {
            env: env.clone(),
            memory: Arc::new(UnboundedMemoryPool::default()),
            batch_rows: 8192,
            dead_letters: DeadLetters::new(Arc::clone(&letters) as _),
            datafusion: Arc::new(DataFusionContext::default()),
            metrics: Metrics::default(),
            stop,
            pipeline: "test".into(),
            run_id: "test".into(),
        };
        let case = Self {
            folder: tempfile::tempdir().unwrap(),
            options: BTreeMap::new(),
            columns: None,
            metadata: Vec::new(),
            on_error: OnError::DeadLetter,
            streaming: false,
            batch_rows: 8192,
            env,
            letters,
            job,
        };
        let path = case.path(path).to_str().unwrap().to_owned();
        case.option("path", &path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn option(mut self, name: &str, text: &str) -> Self {
        let value = OptionValue {
            text: text.to_owned(),
            place: None,
        };
        self.options.insert(name.to_owned(), value);
        self
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    fn columns(mut self, columns: &[(&str, DataType)]) -> Self {
        let fields = columns
            .iter()
            .map(|(name, t)| Field::new(*name, t.clone(), true).into());
        self.columns = Some(fields.collect());
        self
    }

    fn failing(mut self) -> Self {
        self.on_error = OnError::Fail;
        self
    }

    fn rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    fn context(&self) -> TaskContext {
        let mut job = self.job.clone();
        job.batch_rows = self.batch_rows;
        TaskContext {
            job,
            node: "source".into(),
            subtask: 0,
            parallelism: 1,
            metrics: Arc::new(SubtaskMetrics::default()),
        }
    }

    async fn open(&self) -> Result<FileSource> {
        let specs = [store::options(Scheme::File), OPTIONS];
        let options = Options::check("connector 'file'", &specs, self.options.clone())?;
        let location = Location::open(Scheme::File, &options)?;
        self.open_at(location, &options).await
    }

    async fn open_at(&self, location: Location, options: &Options) -> Result<FileSource> {
        let request = SourceRequest {
            name: "orders".to_owned(),
            options: self.options.clone(),
            columns: self.columns.clone(),
            metadata: self.metadata.clone(),
            on_error: self.on_error,
            deviations: Default::default(),
            streaming: self.streaming,
            env: self.env.clone(),
        };
        FileSource::open(request, location, options).await
    }

    async fn read(&self) -> Result<Outcome> {
        let source = self.open().await?;
        self.read_all(&source).await
    }

    async fn read_all(&self, source: &FileSource) -> Result<Outcome> {
        let all: Vec<usize> = (0..source.schema().fields().len()).collect();
        let splits = source.discover().await?;
        self.read_splits(source, &splits, &all).await
    }

    async fn read_splits(
        &self,
        source: &FileSource,
        splits: &[Split],
        projection: &[usize],
    ) -> Result<Outcome> {
        let schema = Arc::new(source.schema().project(projection).unwrap());
        let mut batches = Vec::new();
        for split in splits {
            let mut reader = source.open(split, projection, &self.context()).await?;
            while let Read::Rows { batch, .. } = reader.next().await? {
                assert!(batch.num_rows() <= self.batch_rows);
                assert_eq!(batch.schema(), schema);
                batches.push(batch);
            }
            assert!(
                matches!(reader.next().await?, Read::End),
                "the end stays the end"
            );
        }
        let batch = concat_batches(&schema, &batches).unwrap();
        Ok(Outcome {
            batch,
            letters: self.letters(),
        })
    }

    fn letters(&self) -> Vec<DeadLetter> {
        self.job.dead_letters.flush().unwrap();
        self.letters.letters()
    }

    async fn error(&self) -> Error {
        match self.read().await {
            Err(error) => error,
            Ok(outcome) => panic!("no error but\n{}", outcome.show()),
        }
    }
}

impl Outcome {
    fn show(&self) -> String {
        let table = pretty_format_batches(std::slice::from_ref(&self.batch)).unwrap();
        let mut text = table.to_string();
        for letter in &self.letters {
            text.push_str(&format!(
                "\n{} at {:?}: {} | {}",
                letter.reason,
                letter.offset,
                letter.detail,
                String::from_utf8_lossy(&letter.raw)
            ));
        }
        text
    }

    fn ints(&self, column: usize) -> Vec<i64> {
        self.batch
            .column(column)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .values()
            .to_vec()
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.letters.iter().map(|letter| letter.reason).collect()
    }
}

/// `id` from `start`, a name, and a time that grows by a second.
fn sample(start: i64, rows: i64) -> RecordBatch {
    let ids = start..start + rows;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        (
            "name",
            Arc::new(StringArray::from_iter_values(
                ids.clone().map(|id| format!("n{id}")),
            )),
        ),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                ids.map(|id| id * 1_000_000),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write_parquet(path: &Path, batches: &[RecordBatch], group_rows: usize) {
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let file = std::fs::File::create(path).unwrap();
    let schema = batches[0].schema();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

/// Lines `id,name` of CSV from 0, without a header.
fn csv_lines(rows: usize) -> String {
    (0..rows).map(|row| format!("{row},name {row}\n")).collect()
}

fn projected(schema: &Schema, names: &[&str]) -> Vec<usize> {
    names
        .iter()
        .map(|name| schema.index_of(name).unwrap())
        .collect()
}
