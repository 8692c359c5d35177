//! The connector `kafka`: topics as sources and sinks.
//!
//! A source promises that each record of its partitions is read once, as a row or as a dead
//! letter, in the order of its partition: offsets are in Weir's checkpoints, no consumer group is
//! joined, and a record that retention has deleted before it was read ends the job unless the
//! script says otherwise. A sink writes each row at least once, or exactly once for readers that
//! read what is committed. Client options pass by a list of what is allowed.

use std::sync::Arc;

use async_trait::async_trait;
use weir_engine::Result;
use weir_engine::connector::{Connector, Guarantee, MetadataColumn, SinkRequest, SourceRequest};
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::sink::Sink;
use weir_engine::source::Source;

use crate::format;

mod block;
mod budget;
mod client;
mod cluster;
mod failure;
mod lane;
mod ledger;
mod marker;
mod metadata;
mod outbox;
mod producer;
mod properties;
mod pump;
mod reader;
mod sink;
mod source;
mod split;
mod start;

const OWNER: &str = "connector 'kafka'";

const SOURCE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "topic",
        OptionKind::Text,
        "Topics to read, separated by commas.",
    ),
    OptionSpec::optional(
        "topic_pattern",
        OptionKind::Text,
        "Regular expression that the whole name of a topic must match, instead of \"topic\".",
    ),
    OptionSpec::default(
        "start",
        OptionKind::Text,
        "earliest",
        "Where to begin without a checkpoint: earliest, latest, a time (UTC, or milliseconds \
         since 1970), or offsets by partition such as 0:12,1:34.",
    ),
    OptionSpec::optional(
        "stop",
        OptionKind::OneOf(&["never", "latest"]),
        "Whether the source ends at the records that are there when it starts; never in a \
         streaming job and latest in a batch job, unless said.",
    ),
    OptionSpec::default(
        "discovery_interval",
        OptionKind::Duration,
        "30 seconds",
        "How often new partitions and topics are looked for; they are read from their beginning.",
    ),
    OptionSpec::default(
        "isolation_level",
        OptionKind::OneOf(&["read_committed", "read_uncommitted"]),
        "read_committed",
        "Whether records of open and aborted transactions are left out.",
    ),
    OptionSpec::default(
        "on_offset_out_of_range",
        OptionKind::OneOf(&["fail", "earliest", "latest"]),
        "fail",
        "What happens when retention has deleted records before they were read.",
    ),
    OptionSpec::default(
        "batch_time",
        OptionKind::Duration,
        "10ms",
        "How long records are gathered into one batch at most.",
    ),
    OptionSpec::default(
        "buffer_size",
        OptionKind::Bytes,
        "64MiB",
        "Memory in which records wait in each subtask, over all its partitions, with what the \
         client keeps of each; less when that is more than an eighth of the job's memory.",
    ),
];

/// The connector `kafka`.
#[derive(Debug, Default)]
pub struct KafkaConnector;

#[async_trait]
impl Connector for KafkaConnector {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn summary(&self) -> &'static str {
        "Topics of Apache Kafka and of brokers that speak its protocol; properties.NAME passes an \
         option to the client"
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![
            client::OPTIONS,
            SOURCE_OPTIONS,
            format::SOURCE_OPTIONS,
        ])
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![client::OPTIONS, sink::OPTIONS, format::SINK_OPTIONS])
    }

    fn passes(&self, option: &str) -> bool {
        option.starts_with(properties::PREFIX)
    }

    fn rescues(&self) -> bool {
        true
    }

    fn metadata_columns(&self) -> Vec<MetadataColumn> {
        metadata::columns()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn source(&self, mut request: SourceRequest) -> Result<Arc<dyn Source>> {
        let properties = properties::take(OWNER, &mut request.options)?;
        let specs = [client::OPTIONS, SOURCE_OPTIONS, format::SOURCE_OPTIONS];
        let options = Options::check(OWNER, &specs, request.options.clone())?;
        let client = client::Client::new(&options, properties)?;
        Ok(Arc::new(
            source::KafkaSource::open(request, &options, client).await?,
        ))
    }

    async fn sink(&self, mut request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let properties = properties::take(OWNER, &mut request.options)?;
        let specs = [client::OPTIONS, sink::OPTIONS, format::SINK_OPTIONS];
        let options = Options::check(OWNER, &specs, request.options.clone())?;
        let client = client::Client::new(&options, properties)?;
        Ok(Arc::new(
            sink::KafkaSink::open(request, &options, client).await?,
        ))
    }
}
