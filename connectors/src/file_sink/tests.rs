//! File sinks written to a temporary folder and to a store in memory, and read back.

mod existing;
mod formats;
mod objects;
mod partitions;
mod protocol;
mod resumed;
mod rolling;
mod staged;
mod stopped;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::watch;
use weir_engine::connector::SinkRequest;
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::env::{BoxFuture, Clock, Env, TokioSpawner};
use weir_engine::error::Result;
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::message::Epoch;
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::options::{OptionValue, Options};
use weir_engine::sink::{Owner, Sink, SinkWriter, Start};

use super::{OPTIONS, create};
use crate::store::{Location, PATH};

/// A clock that goes only when it is told to.
#[derive(Debug, Default)]
struct FakeClock(AtomicU64);

impl FakeClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000 + 1000 * self.0.load(Ordering::Relaxed) as i64
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// A pause between two attempts passes at once; a limit on time never comes.
    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        if time < Duration::from_secs(1) {
            self.pass(time);
            return Box::pin(std::future::ready(()));
        }
        Box::pin(std::future::pending())
    }
}

/// A folder, a clock and a memory pool to run sinks in.
struct Rig {
    dir: tempfile::TempDir,
    clock: Arc<FakeClock>,
    env: Env,
    memory: Arc<dyn MemoryPool>,
    streaming: bool,
    partitions: Vec<String>,
    run_id: String,
    origin: String,
}

impl Rig {
    fn new() -> Self {
        let clock = Arc::new(FakeClock::default());
        let runtime = tokio::runtime::Handle::current();
        let spawner = Arc::new(TokioSpawner::new(runtime.clone(), runtime));
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Env::new(Arc::<FakeClock>::clone(&clock), spawner, 0),
            clock,
            memory: Arc::new(GreedyMemoryPool::new(1 << 30)),
            streaming: false,
            partitions: Vec::new(),
            run_id: "run1".to_owned(),
            origin: "run1".to_owned(),
        }
    }

    fn by(mut self, columns: &[&str]) -> Self {
        self.partitions = columns.iter().map(|column| (*column).to_owned()).collect();
        self
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    async fn sink(&self, schema: &SchemaRef, given: &[(&str, &str)]) -> Result<Arc<dyn Sink>> {
        let location = Location::local("out", &self.root()).unwrap();
        self.sink_at(location, schema, given).await
    }

    async fn sink_at(
        &self,
        location: Location,
        schema: &SchemaRef,
        given: &[(&str, &str)],
    ) -> Result<Arc<dyn Sink>> {
        let value = |text: &str| OptionValue {
            text: text.to_owned(),
            place: None,
        };
        let given = given.iter().chain([&("path", "out")]);
        let given = given
            .map(|(name, text)| ((*name).to_owned(), value(text)))
            .collect();
        let options = Options::check("connector 'file'", &[&[PATH], OPTIONS], given)?;
        let request = SinkRequest {
            name: "lake".to_owned(),
            options: Default::default(),
            schema: Arc::clone(schema),
            partition_columns: self.partitions.clone(),
            streaming: self.streaming,
            env: self.env.clone(),
        };
        let sink = create(request, location, options).await?;
        sink.own(&Owner {
            pipeline: "test".into(),
            node: "lake/sink".into(),
            origin: self.origin.as_str().into(),
            fence: Epoch(100),
            checkpoints: true,
        });
        Ok(sink)
    }

    async fn writer(&self, sink: &Arc<dyn Sink>, schema: &SchemaRef) -> Box<dyn SinkWriter> {
        let context = TaskContext {
            job: JobContext {
                env: self.env.clone(),
                memory: Arc::clone(&self.memory),
                batch_rows: 8192,
                dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
                datafusion: Arc::default(),
                metrics: Metrics::default(),
                stop: watch::channel(Stop::Run).1,
                pipeline: "test".into(),
                run_id: self.run_id.as_str().into(),
            },
            node: "lake/sink".into(),
            subtask: 0,
            parallelism: 1,
            metrics: Arc::new(SubtaskMetrics::default()),
        };
        sink.writer(schema, &context).await.unwrap()
    }

    /// Writes batches from check to commit, as a job does.
    async fn run(&self, given: &[(&str, &str)], batches: &[RecordBatch]) {
        let schema = batches.first().unwrap().schema();
        let sink = self.sink(&schema, given).await.unwrap();
        self.run_sink(&sink, batches).await;
    }

    async fn run_sink(&self, sink: &Arc<dyn Sink>, batches: &[RecordBatch]) {
        let schema = batches.first().unwrap().schema();
        sink.check(&schema, Start::Fresh).await.unwrap();
        let mut writer = self.writer(sink, &schema).await;
        for batch in batches {
            writer.write(batch.clone()).await.unwrap();
        }
        let tokens = writer.prepare().await.unwrap();
        let rows: u64 = tokens.iter().map(|token| token.rows).sum();
        assert_eq!(
            rows,
            batches
                .iter()
                .map(|batch| batch.num_rows() as u64)
                .sum::<u64>()
        );
        for token in &tokens {
            sink.commit(Epoch(1), std::slice::from_ref(token))
                .await
                .unwrap();
        }
        drop(writer);
        assert_eq!(self.memory.reserved(), 0);
    }

    /// The visible files, as paths relative to the folder, in order.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.root(), &mut found);
        let relative = |path: PathBuf| {
            path.strip_prefix(self.root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let mut files: Vec<String> = found.into_iter().map(relative).collect();
        files.sort();
        files
    }

    fn read_parquet(&self, file: &str) -> RecordBatch {
        read_parquet(fs::read(self.root().join(file)).unwrap())
    }

    fn read_text(&self, file: &str) -> String {
        let bytes = fs::read(self.root().join(file)).unwrap();
        let mut text = String::new();
        if file.ends_with(".gz") {
            flate2::read::GzDecoder::new(bytes.as_slice())
                .read_to_string(&mut text)
                .unwrap();
        } else if file.ends_with(".zst") {
            text = String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
        } else {
            text = String::from_utf8(bytes).unwrap();
        }
        text
    }
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, found)
        } else {
            found.push(path)
        }
    }
}

fn read_parquet(bytes: Vec<u8>) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder
        .build()
        .unwrap()
        .map(|batch| batch.unwrap())
        .collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Rows with a number and a text.
fn rows(numbers: std::ops::Range<i64>, text: impl Fn(i64) -> Option<String>) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("k", DataType::Utf8, true),
    ]);
    let texts: StringArray = numbers.clone().map(text).collect();
    let numbers = Int64Array::from_iter_values(numbers);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
}

/// Rows whose text does not compress.
fn noise(numbers: std::ops::Range<i64>) -> RecordBatch {
    let text = |n: i64| {
        let mut x = n as u64 + 1;
        let next = |_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("{x:016x}")
        };
        Some((0..8).map(next).collect())
    };
    rows(numbers, text)
}
