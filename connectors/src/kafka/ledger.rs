//! Commits exactly once: each chunk of records goes to the topic in one transaction with a marker,
//! which is an offset of a consumer group that nobody joins.
//!
//! The marker says which chunks of which epoch the topic has. It is read after the
//! transactions of earlier writers are settled, so a commit that is repeated, whatever became of
//! the first (nothing, half, all with the answer lost), sends what is missing and no more. Two
//! instances at once cannot both succeed with a chunk either: each must open the transactions of
//! the pipeline for itself, which ends what the other has under way, and then reads the marker.
//!
//! Readers must read what is committed. The marker must live: brokers forget the offsets of a
//! group after `offsets.retention.minutes` without a commit, seven days by default. It is only
//! needed when a job goes on after a crash in the middle of a commit.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use weir_engine::env::Clock;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;
use weir_engine::message::Epoch;
use weir_engine::sink::Start;

use super::client::Context;
use super::failure;
use super::marker::{Chunk, Marker};
use super::outbox;
use super::producer::{Deliveries, config, offer};
use super::sink::Parts;

/// What is done first.
const OPENING: &str = "opening transactions";
/// How long one call of the transaction protocol waits.
const CALL_TIME: Duration = Duration::from_secs(30);
/// How long confirmations are waited for before looking again.
const LOOK_TIME: Duration = Duration::from_millis(2);
/// Time between two attempts: the calls wait themselves for a broker that is away.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a commit is taken up again after another instance has taken the transactions over:
/// an instance that is stopped ends by itself, and two that live are an error.
const TAKEN_OVER_MAX: u32 = 5;

/// What happens when the topic has more than the checkpoint knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewind {
    /// The job does not start.
    Fail,
    /// The rows come once more.
    Repeat,
}

/// The transactions of one sink of one pipeline.
pub(super) struct Ledger {
    parts: Arc<Parts>,
    /// Names the transactions and the group.
    id: String,
    timeout_ms: u128,
    open: Mutex<Option<Open>>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The transactions as taken over, with what the topic has.
struct Open {
    producer: BaseProducer<Deliveries>,
    group: ConsumerGroupMetadata,
    marker: Option<Marker>,
}

/// Why an attempt has failed.
enum Failed {
    /// It may succeed when all is opened anew.
    Again(KafkaError),
    /// Another instance has opened the transactions.
    TakenOver(KafkaError),
    /// It cannot succeed.
    Never(Error),
}

impl Ledger {
    /// Names the ledger; nothing is opened yet.
    pub(super) fn new(parts: &Arc<Parts>, pipeline: &str, timeout_ms: u128) -> Self {
        Self {
            parts: Arc::clone(parts),
            id: format!("weir-{pipeline}-{}", parts.name),
            timeout_ms,
            open: Mutex::new(None),
        }
    }

    /// Takes the transactions over from an earlier run, and compares its marker with the place
    /// from which this run goes on. Waits for the broker.
    pub(super) fn open(&self, start: Start, rewind: Rewind) -> Result<()> {
        self.insist(OPENING, |open| {
            let Some(marker) = &open.marker else {
                return Ok(());
            };
            let known = match start {
                Start::Fresh => Epoch(0),
                Start::Resumed(epoch) => epoch,
            };
            if marker.epoch() <= known {
                return Ok(());
            }
            if start != Start::Fresh && rewind == Rewind::Fail {
                return Err(Failed::Never(self.ahead(marker, known)));
            }
            // The numbers of this run begin below those of the last one.
            open.producer.begin_transaction().map_err(judge)?;
            self.mark(open, Marker::complete(known))
        })
    }

    fn ahead(&self, marker: &Marker, known: Epoch) -> Error {
        Error::new(
            Kind::Conflict,
            codes::COMMIT,
            format!(
                "kafka: the topic \"{}\" has rows of checkpoint {}, but the job goes on from \
                 checkpoint {}",
                self.parts.topic,
                marker.epoch().0,
                known.0
            ),
        )
        .hint(
            "go on from the last checkpoint, or set on_rewind = 'repeat' on the sink to write the \
             rows in between once more",
        )
    }

    /// Sends those chunks that the topic does not have yet. Waits for the broker.
    pub(super) fn commit(&self, chunks: &[(Chunk, Vec<RecordBatch>)]) -> Result<()> {
        self.insist("committing", |open| {
            for (chunk, records) in chunks {
                let next = match &open.marker {
                    Some(marker) if marker.has(*chunk) => continue,
                    Some(marker) => marker.with(*chunk),
                    None => Marker::complete(chunk.epoch).with(*chunk),
                };
                self.send(open, records)?;
                self.mark(open, next)?;
            }
            Ok(())
        })
    }

    /// Attempts until it succeeds, cannot succeed, or time is up; after a failure all is opened
    /// anew, which settles what is under way and reads the marker again.
    fn insist(&self, doing: &str, attempt: impl Fn(&mut Open) -> Result<(), Failed>) -> Result<()> {
        let clock = self.parts.env.clock();
        let deadline = clock.monotonic() + limits::IO_RETRY_TIME_MAX;
        let mut taken_over = 0;
        let mut kept = self.open.lock();
        loop {
            let done = match &mut *kept {
                Some(open) => attempt(open),
                None => self.take_over().and_then(|open| attempt(kept.insert(open))),
            };
            let error = match done {
                Ok(()) => return Ok(()),
                Err(Failed::Never(error)) => {
                    *kept = None;
                    return Err(error);
                }
                Err(Failed::TakenOver(error)) => {
                    taken_over += 1;
                    if taken_over > TAKEN_OVER_MAX {
                        *kept = None;
                        return Err(self.given_up(error, doing));
                    }
                    error
                }
                Err(Failed::Again(error)) => error,
            };
            *kept = None;
            if clock.monotonic() >= deadline {
                return Err(self.given_up(error, doing));
            }
            tracing::warn!(
                "sink \"{}\": kafka: {doing} has failed: {error}; looking what the topic has and \
                 trying again",
                self.parts.name
            );
            // This thread may wait; nobody else knows of the lock.
            Condvar::new().wait_for(&mut Mutex::new(()).lock(), PAUSE);
        }
    }

    fn given_up(&self, error: KafkaError, doing: &str) -> Error {
        let what = format!("{doing} exactly once in \"{}\"", self.parts.topic);
        let error = failure::error(error, &what);
        if doing != OPENING || error.kind() == Kind::Conflict {
            return error;
        }
        error.hint(format!(
            "look whether the broker keeps transactions and allows \"{}\" as the name of one and of \
             a group; delivery = 'at_least_once' needs neither",
            self.id
        ))
    }

    /// Ends the transactions of earlier writers and reads the marker, in this order.
    fn take_over(&self) -> Result<Open, Failed> {
        let owner = format!("sink \"{}\"", self.parts.name);
        let mut settings = config(&self.parts.client);
        settings.set("transactional.id", &self.id);
        settings.set("transaction.timeout.ms", self.timeout_ms.to_string());
        // The client wants no record to be tried for longer than its transaction lives.
        settings.set("message.timeout.ms", self.timeout_ms.to_string());
        let never = |e| Failed::Never(failure::error(e, "making a transactional producer"));
        let producer: BaseProducer<Deliveries> = settings
            .create_with_context(Deliveries::new(&owner))
            .map_err(never)?;
        producer.init_transactions(CALL_TIME).map_err(|error| {
            // Its own messages lie in its queue until it is asked for them.
            producer.poll(Duration::ZERO);
            if producer.context().context().is_refused() {
                let error = failure::error(error, OPENING);
                return Failed::Never(producer.context().context().explain(error));
            }
            judge(error)
        })?;
        let mut settings = self.parts.client.config();
        settings.set("group.id", &self.id);
        settings.set("enable.auto.commit", "false");
        // With this, the answer waits until no transaction has an offset of the group under way.
        settings.set("isolation.level", "read_committed");
        let consumer: BaseConsumer<Context> = settings
            .create_with_context(Context::new(&owner))
            .map_err(never)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.parts.topic, 0);
        let found = consumer.committed_offsets(list, CALL_TIME).map_err(judge)?;
        let found = found.find_partition(&self.parts.topic, 0);
        let found = found.ok_or(Failed::Again(KafkaError::NoMessageReceived))?;
        found.error().map_err(judge)?;
        let marker = match found.offset() {
            Offset::Offset(offset) => {
                let marker = Marker::parse(offset, found.metadata());
                Some(marker.ok_or_else(|| Failed::Never(self.foreign()))?)
            }
            _ => None,
        };
        let group = consumer
            .group_metadata()
            .ok_or_else(|| Failed::Never(Error::internal("a consumer has no group")))?;
        Ok(Open {
            producer,
            group,
            marker,
        })
    }

    fn foreign(&self) -> Error {
        Error::new(
            Kind::Conflict,
            codes::COMMIT,
            format!(
                "kafka: the group \"{}\" has an offset that is no marker of this version",
                self.id
            ),
        )
        .hint("give the pipeline or the sink another name, or delete the group")
    }

    /// Sends a chunk in a new transaction, which stays open.
    fn send(&self, open: &Open, chunk: &[RecordBatch]) -> Result<(), Failed> {
        let producer = &open.producer;
        producer.begin_transaction().map_err(judge)?;
        for batch in chunk {
            let (keys, values) = outbox::records(batch).map_err(Failed::Never)?;
            for row in 0..batch.num_rows() {
                let key = keys.is_valid(row).then(|| keys.value(row));
                let value = values.is_valid(row).then(|| values.value(row));
                while !offer(producer, &self.parts.topic, key, value).map_err(judge)? {
                    producer.poll(LOOK_TIME);
                }
            }
        }
        let clock: &dyn Clock = self.parts.env.clock();
        let deadline = clock.monotonic() + CALL_TIME;
        while producer.in_flight_count() > 0 && clock.monotonic() < deadline {
            producer.poll(LOOK_TIME);
        }
        match producer.context().failure() {
            Some(error) => Err(judge(error)),
            None => Ok(()),
        }
    }

    /// Ends the open transaction with the marker in it.
    fn mark(&self, open: &mut Open, marker: Marker) -> Result<(), Failed> {
        let mut list = TopicPartitionList::new();
        let mut place = list.add_partition(&self.parts.topic, 0);
        place.set_metadata(marker.metadata());
        place
            .set_offset(Offset::Offset(marker.offset()))
            .map_err(judge)?;
        let producer = &open.producer;
        producer
            .send_offsets_to_transaction(&list, &open.group, CALL_TIME)
            .map_err(judge)?;
        producer.commit_transaction(CALL_TIME).map_err(judge)?;
        open.marker = Some(marker);
        Ok(())
    }
}

/// What an error of the transaction protocol means.
fn judge(error: KafkaError) -> Failed {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fatal) => {
            Failed::TakenOver(error)
        }
        Some(_) if !failure::is_passing(&error) => {
            Failed::Never(failure::error(error, "writing in a transaction"))
        }
        _ => Failed::Again(error),
    }
}
