//! The writer that sends rows as they come: at least once.
//!
//! The client keeps order and sends nothing twice by itself (it is idempotent). `prepare` waits
//! until the broker has confirmed everything. Nothing here blocks a task: a full queue is waited
//! for with the clock.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};
use weir_engine::error::{Error, Result};
use weir_engine::limits;
use weir_engine::sink::{CommitToken, SinkWriter};

use super::client::{Client, Context};
use super::failure;
use super::sink::Parts;
use crate::format::{Encoder, Message};

/// Bytes that the client holds for records that the broker has not confirmed.
pub(super) const QUEUE_KBYTES_MAX: usize = 32 << 10;
/// Records of the same, since each costs memory beside its bytes.
const QUEUE_RECORDS_MAX: usize = 200_000;
/// How long a full queue, or the last confirmations, are waited for before looking again.
const WAIT: Duration = Duration::from_millis(2);
/// Records after which the confirmations that have come are taken.
const RECORDS_PER_LOOK: u64 = 1_024;

/// What every producer of a sink sets.
pub(super) fn config(client: &Client) -> ClientConfig {
    let given = client.config();
    let mut config = given.clone();
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    // After this time a record that the broker does not take is an error of the job, which goes on
    // from its checkpoint.
    let patience = limits::IO_RETRY_TIME_MAX.as_millis().to_string();
    config.set("message.timeout.ms", patience);
    config.set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string());
    config.set(
        "queue.buffering.max.messages",
        QUEUE_RECORDS_MAX.to_string(),
    );
    if given.get("partitioner").is_none() {
        // As Java's client does, so that a key is in one partition whoever writes it.
        config.set("partitioner", "murmur2_random");
    }
    config
}

/// Hears of the records that the broker has not taken.
#[derive(Debug)]
pub(super) struct Deliveries {
    context: Context,
    failed: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    /// Makes the context of a producer.
    pub(super) fn new(owner: &str) -> Self {
        Self {
            context: Context::new(owner),
            failed: Mutex::new(None),
        }
    }

    /// The first failure since the last call.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        self.failed.lock().take()
    }

    /// What is heard of the cluster.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().get_or_insert_with(|| error.clone());
        }
    }
}

/// Hands a record to the client; false when its queue is full.
pub(super) fn offer(
    producer: &BaseProducer<Deliveries>,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, KafkaError> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic);
    (record.key, record.payload) = (key, value);
    match producer.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((error, _)) => Err(error),
    }
}

/// The writer of one subtask.
pub(super) struct ProducerWriter {
    parts: Arc<Parts>,
    producer: BaseProducer<Deliveries>,
    encoder: Box<dyn Encoder>,
    rows: u64,
    bytes: u64,
    sent: u64,
}

impl std::fmt::Debug for ProducerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerWriter")
            .field("topic", &self.parts.topic)
            .finish_non_exhaustive()
    }
}

impl ProducerWriter {
    /// Makes a writer with a client of its own.
    pub(super) fn new(parts: &Arc<Parts>) -> Result<Self> {
        let deliveries = Deliveries::new(&format!("sink \"{}\"", parts.name));
        let producer = config(&parts.client)
            .create_with_context(deliveries)
            .map_err(|e| failure::error(e, "making a producer"))?;
        Ok(Self {
            producer,
            encoder: parts.factory.create()?,
            parts: Arc::clone(parts),
            rows: 0,
            bytes: 0,
            sent: 0,
        })
    }

    async fn send(&mut self, message: &Message) -> Result<()> {
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        loop {
            let sent = offer(&self.producer, &self.parts.topic, key, value);
            if sent.map_err(|e| self.failed(e))? {
                break;
            }
            self.look()?;
            self.parts.env.clock().sleep(WAIT).await;
        }
        self.bytes += key.map_or(0, |key| key.len() as u64);
        self.bytes += value.map_or(0, |value| value.len() as u64);
        self.sent += 1;
        if self.sent.is_multiple_of(RECORDS_PER_LOOK) {
            self.look()?;
        }
        Ok(())
    }

    /// Takes confirmations; a record that was not taken is an error.
    fn look(&self) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        match self.producer.context().failure() {
            Some(error) => Err(self.failed(error)),
            None => Ok(()),
        }
    }

    fn failed(&self, error: KafkaError) -> Error {
        let doing = format!("writing to \"{}\"", self.parts.topic);
        let error = failure::error(error, &doing);
        self.producer.context().context().explain(error)
    }
}

#[async_trait]
impl SinkWriter for ProducerWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        for message in self.encoder.encode(&batch)? {
            self.send(&message).await?;
        }
        self.rows += batch.num_rows() as u64;
        self.look()
    }

    async fn tick(&mut self) -> Result<()> {
        self.look()
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        loop {
            self.look()?;
            if self.producer.in_flight_count() == 0 {
                break;
            }
            self.parts.env.clock().sleep(WAIT).await;
        }
        let (rows, bytes) = (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.bytes),
        );
        if rows == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![CommitToken::new(String::new(), rows, bytes)])
    }

    async fn discard(&mut self) -> Result<()> {
        self.producer
            .purge(PurgeConfig::default().queue().inflight().non_blocking());
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}
