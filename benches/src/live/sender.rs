//! Sends events when they are due.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::events::{self, Events, WINDOW_US};
use super::reader::Progress;
use crate::clock::{now_us, pause};
use crate::failure::{During, Failure, Result};
use crate::servers::kafka::Kafka;

/// How long it is waited between looks at the clock: an event is late by as much at most.
const LOOK: Duration = Duration::from_micros(500);
/// How long it is waited between two probes.
const PROBE: Duration = Duration::from_millis(50);
/// Events sent between two looks at the confirmations.
const EVENTS_PER_LOOK: u64 = 1_024;
/// In what time a pipeline must show its first row.
const START_SECONDS: u64 = 90;

/// A producer into one topic.
pub(super) struct Sender {
    producer: BaseProducer,
    topic: String,
    partitions: u32,
    buffer: Vec<u8>,
}

impl Sender {
    /// Makes a client of the broker.
    pub(super) fn new(broker: &Kafka, topic: &str, partitions: u32) -> Result<Self> {
        let producer = broker
            .client()
            // As clients do when nothing is said: less makes a request of every few events, and the
            // broker takes the cores.
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .during("making a producer")?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
            partitions,
            buffer: Vec::new(),
        })
    }

    /// Sends probes until one has come through.
    pub(super) fn knock(&mut self, progress: &Progress) -> Result<()> {
        let begin_us = now_us();
        while !progress.is_up.load(Ordering::Relaxed) {
            let at_us = now_us();
            if progress.is_ended.load(Ordering::Relaxed) {
                return Err(Failure::new("the pipeline has ended before its first row"));
            }
            if at_us > begin_us + START_SECONDS * 1_000_000 {
                let text = format!("no row has come in {START_SECONDS} s");
                return Err(Failure::new(text));
            }
            self.probe(at_us)?;
            pause(PROBE);
        }
        Ok(())
    }

    /// Sends all events, each when it is due, and then what closes the last windows.
    pub(super) fn send(&mut self, events: &Events) -> Result<()> {
        let mut next = 0;
        while next < events.count {
            let due = events.due_by(now_us());
            while next < due {
                let mut buffer = std::mem::take(&mut self.buffer);
                events::write_json(&mut buffer, next, events.due_us(next));
                self.buffer = buffer;
                self.offer((next % u64::from(self.partitions)) as i32)?;
                next += 1;
                if next.is_multiple_of(EVENTS_PER_LOOK) {
                    self.producer.poll(Duration::ZERO);
                }
            }
            self.producer.poll(Duration::ZERO);
            pause(LOOK);
        }
        self.probe(events.end_us() + 10 * WINDOW_US)?;
        let flushed = self.producer.flush(Duration::from_secs(60));
        flushed.during("sending the last events")
    }

    /// Sends a probe into each partition, so that the watermark of none is behind.
    fn probe(&mut self, at_us: u64) -> Result<()> {
        events::write_probe(&mut self.buffer, at_us);
        for partition in 0..self.partitions {
            self.offer(partition as i32)?;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Gives the event in the buffer to the client, which keeps the order of a partition.
    fn offer(&self, partition: i32) -> Result<()> {
        let mut record = BaseRecord::<(), [u8]>::to(&self.topic)
            .partition(partition)
            .payload(self.buffer.as_slice());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(Failure::new(format!("sending: {error}"))),
            }
        }
    }
}
