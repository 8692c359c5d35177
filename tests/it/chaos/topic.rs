//! A topic that is written while the pipeline that reads it is killed, and a reader of a topic's
//! committed records.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{PARTS, checker};
use crate::servers::kafka::Kafka;

/// Rows per second.
const RATE: f64 = 2_000.0;
/// How long a reader waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A producer of the judge's rows, at a steady rate.
#[derive(Debug)]
pub(crate) struct Writing {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writing {
    /// Begins to write a topic with [`PARTS`] partitions.
    pub(crate) fn start(kafka: &Kafka, topic: &str, seed: u64) -> Self {
        let (sent, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let producer: BaseProducer = kafka.client().create().unwrap();
        let (counted, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let topic = topic.to_owned();
        let thread = std::thread::spawn(move || {
            let (made, lines) = checker::rows(seed, PARTS);
            write(&producer, &topic, lines, &counted, &stopped);
            end(made);
        });
        Self {
            sent,
            stop,
            thread: Some(thread),
        }
    }

    /// Rows so far, or a few less.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Writes up to this many rows more, ends, and says how many there are.
    pub(crate) fn finish(mut self, more: u64) -> u64 {
        let enough = self.sent() + more;
        while self.sent() < enough {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.join();
        self.sent()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.join();
        }
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn write(
    producer: &BaseProducer,
    topic: &str,
    lines: BufReader<ChildStdout>,
    sent: &AtomicU64,
    stop: &AtomicBool,
) {
    let started = Instant::now();
    for (number, line) in lines.lines().enumerate() {
        let due = number as f64 / RATE;
        while started.elapsed().as_secs_f64() < due && !stop.load(Ordering::SeqCst) {
            producer.poll(Duration::from_millis(1));
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let line = line.unwrap();
        let (part, json) = line.split_once('\t').unwrap();
        let mut record = BaseRecord::<(), str>::to(topic)
            .partition(part.parse().unwrap())
            .payload(json);
        // A broker on a busy machine is slow now and then: what it has not taken waits here.
        while let Err((error, back)) = producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full, "the topic cannot be written: {error}");
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        sent.store(number as u64 + 1, Ordering::SeqCst);
    }
    producer.flush(PATIENCE).unwrap();
}

fn end(mut child: Child) {
    child.kill().ok();
    child.wait().ok();
}

/// What a reader of committed records has read of a topic so far, as files of lines in a folder.
#[derive(Debug)]
pub(crate) struct Committed {
    topic: String,
    client: rdkafka::ClientConfig,
    folder: PathBuf,
    next: Vec<i64>,
    files: u32,
    /// Rows so far.
    pub(crate) rows: u64,
}

impl Committed {
    /// A reader that has read nothing yet.
    pub(crate) fn new(kafka: &Kafka, topic: &str, partitions: usize, folder: PathBuf) -> Self {
        let mut client = kafka.client();
        client
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            topic: topic.to_owned(),
            client,
            folder,
            next: vec![0; partitions],
            files: 0,
            rows: 0,
        }
    }

    /// Reads what has been committed since the last call, into one more file.
    pub(crate) fn read_on(&mut self) {
        let consumer: BaseConsumer = self.client.create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, next) in self.next.iter().enumerate() {
            list.add_partition_offset(&self.topic, partition as i32, Offset::Offset(*next))
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut lines = Vec::new();
        let mut open = self.next.len();
        let deadline = Instant::now() + PATIENCE;
        while open > 0 {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    lines.extend_from_slice(message.payload().unwrap());
                    lines.push(b'\n');
                    self.next[message.partition() as usize] = message.offset() + 1;
                    self.rows += 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                _ => assert!(Instant::now() < deadline, "{} cannot be read", self.topic),
            }
        }
        if !lines.is_empty() {
            let path = self.folder.join(format!("{:06}.lines", self.files));
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(&lines).unwrap();
            self.files += 1;
        }
    }
}
