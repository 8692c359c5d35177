//! Reads the rows of a pipeline as they come, from a topic or from its output.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::arrivals::{Arrivals, Row};
use super::events::PROBE_KEY;
use crate::clock::now_us;
use crate::failure::{During, Result};
use crate::servers::kafka::Kafka;

/// How long a record is waited for before it is looked whether to go on.
const WAIT: Duration = Duration::from_millis(50);

/// A row in JSON: the columns of both queries.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    id: u64,
    at: u64,
    key: u64,
    doubled: Option<f64>,
    c: Option<u64>,
    s: Option<f64>,
}

/// Where reading stands, which the sender and the one who waits look at.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A row has come.
    pub(super) is_up: AtomicBool,
    /// All rows have come.
    pub(super) is_complete: AtomicBool,
    /// Reading is to end.
    pub(super) is_over: AtomicBool,
    /// Nothing is read any more.
    pub(super) is_ended: AtomicBool,
    /// When the last row came.
    pub(super) last_us: AtomicU64,
    /// What must come, once it is known.
    arrivals: Mutex<Option<Arrivals>>,
}

impl Progress {
    /// Says what must come, before it is sent.
    pub(super) fn expect(&self, arrivals: Arrivals) {
        *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner) = Some(arrivals);
    }

    /// Gives what has come.
    pub(super) fn arrivals(&self) -> Option<Arrivals> {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn take(&self, line: &[u8]) -> Result<()> {
        let now_us = now_us();
        let line: Line = serde_json::from_slice(line).during("reading a row")?;
        if line.key == PROBE_KEY {
            self.is_up.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let row = match (line.doubled, line.c, line.s) {
            (Some(doubled), ..) => Row::Event {
                id: line.id,
                at_us: line.at,
                key: line.key,
                doubled,
            },
            (None, Some(count), Some(sum)) => Row::Window {
                end_us: line.at,
                key: line.key,
                count,
                sum,
            },
            _ => Row::Odd,
        };
        if let Some(arrivals) = self
            .arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            arrivals.take(row, now_us);
            self.last_us.store(now_us, Ordering::Relaxed);
            if arrivals.is_complete() {
                self.is_complete.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Reads a topic until it is told to end.
pub(super) fn read_topic(
    broker: &Kafka,
    topic: &str,
    partitions: u32,
    progress: &Progress,
) -> Result<()> {
    let consumer: BaseConsumer = broker
        .client()
        .set("group.id", "weir-bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .during("making a consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning)
            .during("reading a topic")?;
    }
    consumer.assign(&list).during("reading a topic")?;
    while !progress.is_over.load(Ordering::Relaxed) {
        if let Some(record) = consumer.poll(WAIT) {
            let record = record.during("reading a topic")?;
            progress.take(record.payload().unwrap_or_default())?;
        }
    }
    Ok(())
}

/// Reads lines until they end.
pub(super) fn read_lines(output: Box<dyn Read + Send>, progress: &Progress) -> Result<()> {
    let mut lines = BufReader::with_capacity(1 << 20, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if read.during("hearing rows")? == 0 {
            return Ok(());
        }
        progress.take(&line)?;
    }
}
