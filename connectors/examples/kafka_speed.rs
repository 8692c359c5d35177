//! How fast topics are read as JSON, beside the same bytes decoded from memory by arrow-json.
//!
//! `bash benches/peers/kafka.sh` starts a broker; `cargo run --release -p weir-connectors --example
//! kafka_speed [rows] [partitions]` writes bids of the Nexmark benchmark into a new topic, then in
//! turn reads it with the connector and decodes the values with arrow-json alone, in one thread.
//! It prints million rows per second of wall time and of processor time (of this process, the
//! client's threads included), and the ratios. `KAFKA_BOOTSTRAP` names another broker.

#![expect(clippy::print_stdout, reason = "the figures are the program's result")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time on real threads"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion_execution::memory_pool::UnboundedMemoryPool;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use weir_connectors::kafka::KafkaConnector;
use weir_engine::connector::{Connector as _, SourceRequest};
use weir_engine::dead_letter::{DeadLetters, MemoryStore, OnError};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::limits;
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::options::OptionValue;
use weir_engine::source::{Read, Source, SplitReader};

// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: usize = 5;

fn main() {
    let argument = |place: usize, default: usize| {
        std::env::args()
            .nth(place)
            .map_or(default, |text| text.parse().unwrap())
    };
    let (rows, partitions) = (argument(1, 2_000_000), argument(2, 1));
    let bootstrap =
        std::env::var("KAFKA_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let values = bids(rows);
    let bytes: usize = values.iter().map(Vec::len).sum();
    let topic = format!("weir-speed-{}", std::process::id());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(produce(&bootstrap, &topic, partitions, &values));
    println!(
        "{rows} bids, {:.1} MB, {:.0} bytes each, {partitions} partitions",
        bytes as f64 / 1e6,
        bytes as f64 / rows as f64
    );
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        times[0].push(timed(|| decode(&values)));
        times[1].push(timed(|| runtime.block_on(read(&bootstrap, &topic, rows))));
    }
    let [alone, kafka] = times.map(|mut times| {
        times.sort();
        let mut cpu: Vec<Duration> = times.iter().map(|(_, cpu)| *cpu).collect();
        cpu.sort();
        (times[RUNS / 2].0, cpu[RUNS / 2])
    });
    let speed = |time: Duration| rows as f64 / time.as_secs_f64() / 1e6;
    for (name, (wall, cpu)) in [("arrow-json", alone), ("kafka", kafka)] {
        println!(
            "{name:>10}: {:.2} M/s, {:.0} MB/s, {:.2} M/s of processor time",
            speed(wall),
            bytes as f64 / wall.as_secs_f64() / 1e6,
            speed(cpu)
        );
    }
    println!(
        "     ratio: {:.2} of wall time, {:.2} of processor time",
        speed(kafka.0) / speed(alone.0),
        speed(kafka.1) / speed(alone.1)
    );
}

/// The median run counts, of each kind of time.
fn timed(run: impl FnOnce()) -> (Duration, Duration) {
    let (wall, cpu) = (Instant::now(), processor_time());
    run();
    (wall.elapsed(), processor_time().saturating_sub(cpu))
}

/// What all threads of this process have used, as Linux counts it.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        Field::new("date_time", time, true),
        text("extra"),
    ]))
}

fn bids(rows: usize) -> Vec<Vec<u8>> {
    let config = NexmarkConfig {
        base_time: 1_700_000_000_000,
        ..NexmarkConfig::default()
    };
    let events = EventGenerator::new(config).with_type_filter(EventType::Bid);
    let values = events.take(rows).map(|event| {
        let Event::Bid(bid) = event else {
            unreachable!("only bids are asked for")
        };
        let time = arrow::temporal_conversions::timestamp_ms_to_datetime(bid.date_time as i64);
        serde_json::to_vec(&serde_json::json!({
            "auction": bid.auction,
            "bidder": bid.bidder,
            "price": bid.price,
            "channel": bid.channel,
            "url": bid.url,
            "date_time": time.unwrap().format("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
            "extra": bid.extra,
        }))
        .unwrap()
    });
    values.collect()
}

/// Decodes the values by arrow-json alone: one thread, the same batches.
fn decode(values: &[Vec<u8>]) {
    let builder = arrow::json::ReaderBuilder::new(schema()).with_batch_size(8_192);
    let mut decoder = builder.build_decoder().unwrap();
    let mut rows = 0;
    for block in values.chunks(8_192) {
        for value in block {
            assert_eq!(decoder.decode(value).unwrap(), value.len());
        }
        rows += decoder.flush().unwrap().unwrap().num_rows();
    }
    assert_eq!(rows, values.len());
}

async fn produce(bootstrap: &str, topic: &str, partitions: usize, values: &[Vec<u8>]) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200000");
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let count = i32::try_from(partitions).unwrap();
    let new = NewTopic::new(topic, count, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();
    let producer: BaseProducer = config.create().unwrap();
    for (number, value) in values.iter().enumerate() {
        let partition = i32::try_from(number % partitions).unwrap();
        let record = || BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        while producer.send(record().payload(value)).is_err() {
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}

/// Reads all partitions of the topic in one task, as a subtask of a job does.
async fn read(bootstrap: &str, topic: &str, expected: usize) {
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    let env = Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1);
    let options = [("bootstrap_servers", bootstrap), ("topic", topic)];
    let options = options.map(|(name, text)| {
        let value = OptionValue {
            text: text.to_owned(),
            place: None,
        };
        (name.to_owned(), value)
    });
    let columns: Vec<FieldRef> = schema().fields().iter().map(Arc::clone).collect();
    let request = SourceRequest {
        name: "bids".to_owned(),
        options: options.into(),
        columns: Some(columns),
        metadata: Vec::new(),
        on_error: OnError::Fail,
        streaming: false,
        env: env.clone(),
    };
    let source: Arc<dyn Source> = KafkaConnector.source(request).await.unwrap();
    let task = TaskContext {
        job: JobContext {
            env,
            memory: Arc::new(UnboundedMemoryPool::default()),
            batch_rows: 8_192,
            dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
            datafusion: Arc::default(),
            metrics: Metrics::default(),
            stop: tokio::sync::watch::channel(Stop::Run).1,
            pipeline: "speed".into(),
            run_id: "speed".into(),
        },
        node: "source/bids".into(),
        subtask: 0,
        parallelism: 1,
        metrics: Arc::new(SubtaskMetrics::default()),
    };
    let all: Vec<usize> = (0..schema().fields().len()).collect();
    let mut readers: Vec<Box<dyn SplitReader>> = Vec::new();
    for split in source.discover().await.unwrap() {
        readers.push(source.open(&split, &all, &task).await.unwrap());
    }
    let mut rows = 0;
    while !readers.is_empty() {
        let (mut ended, before) = (Vec::new(), rows);
        for (place, reader) in readers.iter_mut().enumerate() {
            match reader.next().await.unwrap() {
                Read::Rows { batch, .. } => rows += batch.num_rows(),
                Read::Pending => {}
                Read::End => ended.push(place),
            }
        }
        for place in ended.into_iter().rev() {
            drop(readers.remove(place));
        }
        if rows == before {
            task.job.env.clock().sleep(limits::PENDING_WAIT).await;
        }
    }
    assert_eq!(rows, expected);
}
