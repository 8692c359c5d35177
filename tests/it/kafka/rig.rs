//! What the tests of the connector have in common: a job around it, a producer, a consumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion_execution::memory_pool::UnboundedMemoryPool;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use weir_connectors::kafka::KafkaConnector;
use weir_engine::connector::{Connector as _, SinkRequest, SourceRequest};
use weir_engine::dead_letter::{DeadLetters, MemoryStore, OnError};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::error::Result;
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::options::{GivenOptions, OptionValue};
use weir_engine::sink::{Sink, SinkWriter, Start};
use weir_engine::source::{Read, Source, Split, SplitReader};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A job around the connector.
pub(crate) struct Rig {
    /// Two runtimes' worth of tasks.
    pub(crate) runtime: tokio::runtime::Runtime,
    /// Where rows go that are wrong.
    pub(crate) letters: Arc<MemoryStore>,
    /// The job.
    pub(crate) job: JobContext,
    options: BTreeMap<String, String>,
    columns: Option<Vec<FieldRef>>,
    metadata: Vec<(FieldRef, String)>,
    on_error: OnError,
    streaming: bool,
}

impl Rig {
    /// A job that reads or writes a topic at these brokers.
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let spawner = TokioSpawner::new(handle.clone(), handle);
        let env = Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1);
        let letters = Arc::new(MemoryStore::default());
        let job = JobContext {
            env,
            memory: Arc::new(UnboundedMemoryPool::default()),
            batch_rows: 8_192,
            dead_letters: DeadLetters::new(Arc::clone(&letters) as _),
            datafusion: Arc::default(),
            metrics: Metrics::default(),
            stop: tokio::sync::watch::channel(Stop::Run).1,
            pipeline: "test".into(),
            run_id: "test".into(),
        };
        let rig = Self {
            runtime,
            letters,
            job,
            options: BTreeMap::new(),
            columns: None,
            metadata: Vec::new(),
            on_error: OnError::DeadLetter,
            streaming: false,
        };
        rig.with("bootstrap_servers", bootstrap)
            .with("topic", topic)
    }

    /// Sets an option.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes an option away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.options.remove(name);
        self
    }

    /// Declares columns.
    pub(crate) fn columns(mut self, columns: &[(&str, DataType)]) -> Self {
        let fields = columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true));
        self.columns = Some(fields.map(Arc::new).collect());
        self
    }

    /// Declares a metadata column.
    pub(crate) fn metadata(mut self, name: &str, key: &str) -> Self {
        let known = KafkaConnector.metadata_columns();
        let column = known.iter().find(|column| column.key == key).unwrap();
        let field = Field::new(name, column.data_type.clone(), true);
        self.metadata.push((Arc::new(field), key.to_owned()));
        self
    }

    /// Goes on when all is read.
    pub(crate) fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }

    /// Ends at the first record that is wrong.
    pub(crate) fn failing(mut self) -> Self {
        self.on_error = OnError::Fail;
        self
    }

    /// The options as a script gives them.
    pub(crate) fn given(&self) -> GivenOptions {
        let options = self.options.iter().map(|(name, text)| {
            let value = OptionValue {
                text: text.clone(),
                place: None,
            };
            (name.clone(), value)
        });
        options.collect()
    }

    /// Makes the source.
    pub(crate) fn source(&self) -> Result<Arc<dyn Source>> {
        let request = SourceRequest {
            name: "s".to_owned(),
            options: self.given(),
            columns: self.columns.clone(),
            metadata: self.metadata.clone(),
            on_error: self.on_error,
            deviations: Default::default(),
            streaming: self.streaming,
            env: self.job.env.clone(),
        };
        self.runtime.block_on(KafkaConnector.source(request))
    }

    /// Makes the sink of rows.
    pub(crate) fn sink(&self, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        let request = SinkRequest {
            name: "out".to_owned(),
            options: self.given(),
            schema: Arc::clone(schema),
            partition_columns: Vec::new(),
            streaming: true,
            env: self.job.env.clone(),
        };
        self.runtime.block_on(KafkaConnector.sink(request))
    }

    /// Checks the sink and makes its writer, as a job does that starts.
    pub(crate) fn start(&self, sink: &Arc<dyn Sink>, start: Start) -> Result<Box<dyn SinkWriter>> {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let task = self.task();
        self.runtime.block_on(async {
            sink.check(&schema, start).await?;
            sink.writer(&schema, &task).await
        })
    }

    /// What a subtask is given.
    pub(crate) fn task(&self) -> TaskContext {
        TaskContext {
            job: self.job.clone(),
            node: "source/s".into(),
            subtask: 0,
            parallelism: 1,
            metrics: Arc::new(SubtaskMetrics::default()),
        }
    }

    /// Opens a split with all columns.
    pub(crate) fn open(&self, source: &Arc<dyn Source>, split: &Split) -> Box<dyn SplitReader> {
        let all: Vec<usize> = (0..source.schema().fields().len()).collect();
        let task = self.task();
        let reader = self.runtime.block_on(source.open(split, &all, &task));
        reader.unwrap()
    }

    /// Finds partitions.
    pub(crate) fn discover(&self, source: &Arc<dyn Source>) -> Result<Vec<Split>> {
        self.runtime.block_on(source.discover())
    }

    /// Reads on: rows, or nothing more.
    pub(crate) fn next(&self, reader: &mut dyn SplitReader) -> Result<Option<RecordBatch>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.runtime.block_on(reader.next())? {
                Read::Rows { batch, .. } if batch.num_rows() == 0 => {}
                Read::Rows { batch, .. } => return Ok(Some(batch)),
                Read::End => return Ok(None),
                Read::Pending => {
                    assert!(Instant::now() < deadline, "no record has come");
                    let clock = self.job.env.clock();
                    let wait = async { clock.sleep(Duration::from_millis(5)).await };
                    self.runtime.block_on(wait);
                }
            }
        }
    }

    /// Reads at least so many rows, as JSON lines.
    pub(crate) fn take(&self, reader: &mut dyn SplitReader, rows: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < rows {
            let batch = self.next(reader).unwrap().expect("more rows");
            lines.extend(json(&batch));
        }
        lines
    }

    /// Reads a bounded source to its end, all partitions, as JSON lines in the partitions' order.
    pub(crate) fn read_all(&self) -> Result<Vec<String>> {
        let source = self.source()?;
        let mut lines = Vec::new();
        for split in self.discover(&source)? {
            let mut reader = self.open(&source, &split);
            while let Some(batch) = self.next(&mut *reader)? {
                lines.extend(json(&batch));
            }
        }
        Ok(lines)
    }
}

/// The rows of a batch as JSON lines.
pub(crate) fn json(batch: &RecordBatch) -> Vec<String> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Put {
    /// The partition.
    pub(crate) partition: i32,
    /// The key.
    pub(crate) key: Option<String>,
    /// The value.
    pub(crate) value: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
}

/// A record with a value for partition 0.
pub(crate) fn value(value: impl AsRef<[u8]>) -> Put {
    Put {
        value: Some(value.as_ref().to_vec()),
        ..Put::default()
    }
}

/// Writes records in order and waits until the broker has them.
pub(crate) fn produce(config: &ClientConfig, topic: &str, records: &[Put]) {
    // What the client sends again by itself must not be there twice.
    let mut config = config.clone();
    config.set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().unwrap();
    send(&producer, topic, records);
    producer.flush(PATIENCE).unwrap();
}

/// Hands records to a producer.
pub(crate) fn send(producer: &BaseProducer, topic: &str, records: &[Put]) {
    for put in records {
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(put.partition);
        record.key = put.key.as_deref();
        record.payload = put.value.as_deref();
        record.timestamp = put.timestamp;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}
/// Reads all that is committed in a topic, by another reader than Weir's: per partition in order.
pub(crate) fn consume(config: &ClientConfig, topic: &str) -> Vec<OwnedMessage> {
    let mut config = config.clone();
    config
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut read = Vec::new();
    for partition in metadata.topics()[0].partitions() {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) if message.partition() == partition.id() => {
                    read.push(message.detach());
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(p))) if p == partition.id() => {
                    break;
                }
                _ => assert!(Instant::now() < deadline, "{topic} cannot be read"),
            }
        }
    }
    read
}
