//! What the cluster says of topics, partitions and offsets. The calls wait, so they are made away
//! from the tasks.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use regex::Regex;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::nearest;

use super::client::{Client, Context};
use super::failure;
use super::split::{Partition, Place};
use super::start::Start;

/// How long one question waits for its answer; the client asks another broker meanwhile.
const CALL_TIME: Duration = Duration::from_secs(3);
/// Questions before a cluster counts as away: a quarter of a minute in all.
const ATTEMPTS_MAX: usize = 5;

/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// Which topics a source reads.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    /// These.
    Named(Vec<String>),
    /// All whose whole name matches, those of Kafka itself aside.
    Pattern(Regex),
}

/// A client that asks the cluster.
pub(super) struct Cluster {
    consumer: BaseConsumer<Context>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// Makes the client; nothing is asked yet.
    pub(super) fn new(client: &Client, owner: &str, isolation: &str) -> Result<Self> {
        let mut config = client.config();
        config.set("isolation.level", isolation);
        let consumer = config
            .create_with_context(Context::new(owner))
            .map_err(|e| failure::error(e, "making a client"))?;
        Ok(Self { consumer })
    }

    /// All partitions of the topics, in order.
    pub(super) fn partitions(&self, topics: &Topics) -> Result<Vec<Partition>> {
        let mut found = Vec::new();
        match topics {
            Topics::Named(names) => {
                for name in names {
                    self.named(name, &mut found)?;
                }
            }
            Topics::Pattern(pattern) => {
                let metadata = self.metadata(None)?;
                take(&metadata, &mut found, |topic| {
                    !topic.starts_with("__") && pattern.is_match(topic)
                })?;
            }
        }
        found.sort();
        Ok(found)
    }

    /// The partitions of one topic.
    fn named(&self, name: &str, found: &mut Vec<Partition>) -> Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let metadata = self.metadata(Some(name))?;
            let before = found.len();
            take(&metadata, found, |topic| topic == name)?;
            if found.len() > before {
                return Ok(());
            }
            if attempt >= ATTEMPTS_MAX {
                return Err(no_topic(name, self.metadata(None).ok().as_ref()));
            }
            // It may have been made just now: brokers learn of it one after the other.
            while self.consumer.poll(PAUSE).is_some() {}
        }
    }

    /// Where reading begins in a partition.
    pub(super) fn start(&self, partition: &Partition, start: &Start) -> Result<Place> {
        match start {
            Start::Earliest => Ok(Place::Beginning),
            Start::Latest => Ok(Place::At(self.bounds(partition)?.1)),
            Start::Offsets(offsets) => Ok(offsets
                .get(&partition.number)
                .map_or(Place::Beginning, |offset| Place::At(*offset))),
            Start::Timestamp(time) => {
                let offset = self.call("looking a time up", || {
                    let mut list = TopicPartitionList::new();
                    list.add_partition_offset(
                        &partition.topic,
                        partition.number,
                        Offset::Offset(*time),
                    )?;
                    let found = self.consumer.offsets_for_times(list, CALL_TIME)?;
                    let found = found.find_partition(&partition.topic, partition.number);
                    let found = found.ok_or(KafkaError::NoMessageReceived)?;
                    found.error()?;
                    Ok(found.offset())
                })?;
                match offset {
                    Offset::Offset(offset) => Ok(Place::At(offset)),
                    // No record is that young: what comes will be.
                    _ => Ok(Place::At(self.bounds(partition)?.1)),
                }
            }
        }
    }

    /// The first offset that is there and the first that is not there yet: of records that can be
    /// read, by the isolation of this client.
    pub(super) fn bounds(&self, partition: &Partition) -> Result<(i64, i64)> {
        self.call("asking for offsets", || {
            self.consumer
                .fetch_watermarks(&partition.topic, partition.number, CALL_TIME)
        })
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        self.call("asking for topics", || {
            let metadata = self.consumer.fetch_metadata(topic, CALL_TIME)?;
            // Just made, or its leader just gone: both pass.
            let passing = metadata.topics().iter().any(|found| {
                topic.is_some()
                    && found.error().is_some_and(|error| {
                        RDKafkaErrorCode::from(error) == RDKafkaErrorCode::LeaderNotAvailable
                    })
            });
            if passing {
                let code = RDKafkaErrorCode::LeaderNotAvailable;
                return Err(KafkaError::MetadataFetch(code));
            }
            Ok(metadata)
        })
    }

    fn call<T>(&self, doing: &str, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T> {
        let context = self.consumer.context();
        let mut attempt = 0;
        loop {
            attempt += 1;
            match ask() {
                Ok(answer) => {
                    context.recovered();
                    return Ok(answer);
                }
                Err(error) => {
                    // The client's own messages lie in its queue until it is asked for them. A
                    // question that was answered at once with a refusal waits here for the next.
                    while self.consumer.poll(PAUSE).is_some() {}
                    let last = attempt >= ATTEMPTS_MAX || context.is_refused();
                    if last || !failure::is_passing(&error) {
                        return Err(context.explain(failure::error(error, doing)));
                    }
                }
            }
        }
    }
}

fn no_topic(name: &str, all: Option<&Metadata>) -> Error {
    let error = Error::new(
        Kind::Invalid,
        codes::NOT_FOUND,
        format!("kafka has no topic \"{name}\""),
    );
    let topics = all.into_iter().flat_map(Metadata::topics);
    let names = topics.map(|topic| topic.name());
    let names = names.filter(|other| !other.starts_with("__") && *other != name);
    nearest(error, name, names)
}

fn take(
    metadata: &Metadata,
    found: &mut Vec<Partition>,
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    for topic in metadata
        .topics()
        .iter()
        .filter(|topic| wanted(topic.name()))
    {
        if let Some(error) = topic.error() {
            let code = RDKafkaErrorCode::from(error);
            if code == RDKafkaErrorCode::UnknownTopicOrPartition {
                continue;
            }
            let error = KafkaError::MetadataFetch(code);
            return Err(failure::error(
                error,
                &format!("reading topic \"{}\"", topic.name()),
            ));
        }
        found.extend(topic.partitions().iter().map(|partition| Partition {
            topic: topic.name().to_owned(),
            number: partition.id(),
        }));
    }
    Ok(())
}
