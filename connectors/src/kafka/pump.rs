//! The thread that fetches: one consumer for all partitions that a subtask reads.
//!
//! To take records from the client costs about as much as to decode them. Here that is done beside
//! the tasks, so that a task finds blocks of records to decode.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use weir_engine::env::{Env, Work};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_kafka_queue::BatchQueue;

use super::block::Block;
use super::budget::{Account, Budget};
use super::client::{Client, Context};
use super::failure;
use super::lane::{Lane, Shared};
use super::split::Place;

/// How long the thread sleeps when nothing calls it: the client's own events wait so long.
const IDLE: Duration = Duration::from_millis(100);
/// How long the leaders of a topic are asked for: the client's own pause without them.
const LEADERS_TIME: Duration = Duration::from_millis(500);
/// The most that a broker answers at once, over all partitions.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How a source fetches.
#[derive(Debug, Clone)]
pub(super) struct FetchOptions {
    /// `source "orders"`, for the log.
    pub(super) owner: String,
    /// `read_committed` or `read_uncommitted`.
    pub(super) isolation: String,
    /// What happens when an offset is gone: `error`, `earliest` or `latest`.
    pub(super) reset: &'static str,
    /// Records of a block.
    pub(super) batch_rows: usize,
    /// How long a block is filled at most.
    pub(super) batch_time: Duration,
    /// Bytes that may lie in wait.
    pub(super) budget: Budget,
}

impl FetchOptions {
    fn consumer(&self, client: &Client) -> Result<BaseConsumer<Context>> {
        let budget = &self.budget;
        let mut config = client.config();
        // Without a group nothing can be assigned; it is never joined and nothing is committed.
        config.set("group.id", "weir");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set("isolation.level", &self.isolation);
        config.set("auto.offset.reset", self.reset);
        config.set("queued.min.messages", budget.queue_records.to_string());
        let queue = (budget.queue_bytes >> 10).to_string();
        config.set("queued.max.messages.kbytes", queue);
        let answer = budget.answer_bytes.to_string();
        config.set("fetch.message.max.bytes", answer);
        // Not less than one partition may be given.
        let all = ANSWER_BYTES_MAX.max(budget.answer_bytes).to_string();
        config.set("fetch.max.bytes", all);
        // The queue is emptied in milliseconds: a second of waiting would be most of the time.
        config.set("fetch.queue.backoff.ms", "5");
        if client.config().get("fetch.wait.max.ms").is_none() {
            // A partition whose queue has room again waits for the question under way.
            config.set("fetch.wait.max.ms", "100");
        }
        config
            .create_with_context(Context::new(&self.owner))
            .map_err(|e| failure::error(e, "making a consumer"))
    }
}

/// A consumer with its thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pump {
    shared: Arc<Shared>,
    memory: Mutex<Account>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Pump {
    /// Starts the thread; the memory is kept as long as it runs.
    pub(super) fn start(
        client: &Client,
        options: FetchOptions,
        memory: Account,
        env: &Env,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::new(options.budget.spare_bytes));
        let pumping = Pumping {
            consumer: Arc::new(options.consumer(client)?),
            options,
            env: env.clone(),
            shared: Arc::clone(&shared),
            partitions: Vec::new(),
            led: HashSet::new(),
        };
        let watched = Arc::clone(&shared);
        let blocking = env.clone();
        drop(env.spawn(Work::Io, async move {
            if let Err(error) = blocking.blocking(move || pumping.run()).await {
                tracing::error!("kafka: fetching has ended: {error}");
            }
            drop(watched);
        }));
        let memory = Mutex::new(memory);
        Ok(Self { shared, memory })
    }

    /// Has a partition read.
    pub(super) fn add(&self, lane: &Arc<Lane>) -> Result<()> {
        self.memory.lock().add_partition()?;
        self.shared.add(lane);
        Ok(())
    }

    /// What the thread shares with the readers.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

struct Pumping {
    consumer: Arc<BaseConsumer<Context>>,
    options: FetchOptions,
    env: Env,
    shared: Arc<Shared>,
    partitions: Vec<Fetched>,
    /// Topics whose leaders were asked for.
    led: HashSet<String>,
}

/// A partition that is fetched.
struct Fetched {
    lane: Arc<Lane>,
    records: BatchQueue<Context>,
    /// Keeps the records of the partition apart, and signals when there are some.
    _queue: PartitionQueue<Context>,
    filling: Block,
    /// When the first record came into the block.
    since: Duration,
    /// Records and bytes of the last block: the next is like it.
    last: (usize, usize),
}

impl Pumping {
    fn run(mut self) {
        let mut wait = None;
        loop {
            let orders = self.shared.orders(wait);
            if orders.closed {
                break;
            }
            for lane in orders.added {
                if let Err(error) = self.assign(&lane) {
                    lane.fail(error);
                }
            }
            self.release();
            self.serve();
            let mut progress = false;
            wait = Some(IDLE);
            for partition in &mut self.partitions {
                progress |= partition.fill(&self.options, &self.env);
                wait = wait.min(partition.due(&self.options, &self.env));
            }
            if progress {
                self.consumer.context().recovered();
                wait = None;
            }
        }
        // Queues hold the consumer: they go first.
        self.partitions.clear();
    }

    fn assign(&mut self, lane: &Arc<Lane>) -> Result<()> {
        let (topic, number) = (&lane.partition.topic, lane.partition.number);
        let doing = || format!("reading {}", lane.partition);
        let queue = self.consumer.split_partition_queue(topic, number);
        let records = BatchQueue::of(&self.consumer, topic, number);
        let (Some(mut queue), Some(records)) = (queue, records) else {
            return Err(Error::internal("a partition has no queue"));
        };
        let shared = Arc::clone(&self.shared);
        queue.set_nonempty_callback(move || shared.signal());
        let offset = match lane.from {
            Place::Beginning => Offset::Beginning,
            Place::At(offset) => Offset::Offset(offset),
        };
        if lane.from == Place::Beginning {
            self.know_leaders(topic);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number, offset)
            .and_then(|()| self.consumer.incremental_assign(&list))
            .map_err(|e| failure::error(e, &doing()))?;
        self.partitions.push(Fetched {
            lane: Arc::clone(lane),
            records,
            _queue: queue,
            filling: Block::default(),
            since: Duration::ZERO,
            last: (0, 0),
        });
        Ok(())
    }

    /// Asks for the leaders of a topic, once. A client that looks for the first offset of a partition
    /// before it knows the leader tries again half a second later.
    fn know_leaders(&mut self, topic: &str) {
        if !self.led.insert(topic.to_owned()) {
            return;
        }
        if let Err(error) = self.consumer.fetch_metadata(Some(topic), LEADERS_TIME) {
            tracing::debug!("kafka: the leaders of {topic} are not known yet: {error}");
        }
    }

    /// Stops the fetching of partitions that are read to their end or no longer wanted.
    fn release(&mut self) {
        let consumer = &self.consumer;
        self.partitions.retain(|partition| {
            let lane = &partition.lane;
            let over = lane.is_ended() || lane.is_dropped();
            if over {
                let mut list = TopicPartitionList::new();
                list.add_partition(&lane.partition.topic, lane.partition.number);
                if let Err(error) = consumer.incremental_unassign(&list) {
                    tracing::debug!("kafka: {} cannot be released: {error}", lane.partition);
                }
            }
            !over
        });
    }

    /// Lets the client say what it has to say; only what ends everything is an error here.
    fn serve(&self) {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    for partition in &self.partitions {
                        let error = KafkaError::MessageConsumptionFatal(code);
                        partition.lane.fail(failure::error(error, "reading"));
                    }
                }
                Err(_) => {
                    let refused = self.consumer.context().is_refused();
                    for partition in self.partitions.iter().filter(|_| refused) {
                        let error = failure::error(KafkaError::NoMessageReceived, "reading");
                        partition.lane.fail(self.consumer.context().explain(error));
                    }
                }
                // Its partition was released just now.
                Ok(_) => {}
            }
        }
    }
}

impl Fetched {
    /// Takes what has come; says whether a block was given.
    fn fill(&mut self, options: &FetchOptions, env: &Env) -> bool {
        if !self.lane.has_room() || self.lane.is_ended() {
            return false;
        }
        if self.filling.is_empty() {
            self.filling = Block::with_room(self.last.0, self.last.1);
        }
        let mut over = None;
        while self.filling.len() < options.batch_rows
            && self.filling.bytes() < options.budget.block_bytes
        {
            match self.records.poll() {
                None => break,
                Some(Ok(record)) => {
                    let until = self.lane.until;
                    if until.is_some_and(|until| record.offset() >= until) {
                        over = Some(Ok(()));
                        break;
                    }
                    if self.filling.is_empty() {
                        self.since = env.clock().monotonic();
                    }
                    self.filling.push(&record, self.lane.wanted);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    // What was there when the end was looked up is read: the rest of the offsets
                    // up to it are markers of transactions.
                    if self.lane.until.is_some() {
                        over = Some(Ok(()));
                        break;
                    }
                }
                Some(Err(error)) => {
                    if let Some(error) = self.judge(error) {
                        over = Some(Err(error));
                        break;
                    }
                }
            }
        }
        let given = over.is_some() || self.is_due(options, env);
        if given && !self.filling.is_empty() {
            self.last = (self.filling.len(), self.filling.bytes());
            self.lane.put(std::mem::take(&mut self.filling));
        }
        match over {
            Some(Ok(())) => self.lane.finish(),
            Some(Err(error)) => self.lane.fail(error),
            None => {}
        }
        given
    }

    fn is_due(&self, options: &FetchOptions, env: &Env) -> bool {
        !self.filling.is_empty()
            && (self.filling.len() >= options.batch_rows
                || self.filling.bytes() >= options.budget.block_bytes
                || env.clock().monotonic() >= self.since + options.batch_time)
    }

    /// When the block that is being filled must be given.
    fn due(&self, options: &FetchOptions, env: &Env) -> Option<Duration> {
        if self.filling.is_empty() || !self.lane.has_room() {
            return Some(IDLE);
        }
        Some((self.since + options.batch_time).saturating_sub(env.clock().monotonic()))
    }

    /// What an error means for the partition; `None` when the client goes on by itself.
    fn judge(&self, error: KafkaError) -> Option<Error> {
        use RDKafkaErrorCode as Code;
        let partition = &self.lane.partition;
        match error.rdkafka_error_code()? {
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Some(
                Error::new(
                    Kind::Data,
                    codes::OFFSET,
                    format!("kafka: {partition} has no longer the offset to go on from"),
                )
                .detail(error.to_string())
                .hint(
                    "records were deleted before they were read: raise the topic's retention, and \
                     set on_offset_out_of_range = 'earliest' or 'latest' to go on without them",
                ),
            ),
            Code::BadMessage | Code::BadCompression | Code::InvalidMessage => Some(
                Error::new(
                    Kind::Data,
                    codes::CORRUPT,
                    format!("kafka: {partition} has a damaged batch of records"),
                )
                .detail(error.to_string()),
            ),
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed => {
                Some(failure::error(error, &format!("reading {partition}")))
            }
            _ => {
                tracing::warn!("kafka: {partition}: {error}; trying again");
                None
            }
        }
    }
}
