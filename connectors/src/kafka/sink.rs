//! The sink: rows as records of one topic.
//!
//! `delivery = 'at_least_once'` sends rows as they come; a job that goes on after a crash sends the
//! rows since its last checkpoint again. `delivery = 'exactly_once'` sends nothing before the
//! checkpoint that holds the rows is durable: see [`super::ledger`]. The latter is what happens
//! when a job has checkpoints and the script says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;
use weir_engine::changelog;
use weir_engine::connector::SinkRequest;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::{OptionKind, OptionSpec, Options, nearest};
use weir_engine::sink::{CommitToken, Owner, Sink, SinkWriter, Start};

use super::client::Client;
use super::cluster::{Cluster, Topics};
use super::ledger::{Ledger, Rewind};
use super::outbox::{self, OutboxWriter};
use super::producer::ProducerWriter;
use crate::format::{EncodeRequest, EncoderFactory, FormatName, FormatOptions, encoder_factory};

/// The options of sinks, beside those of the client and the format.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required("topic", OptionKind::Text, "Topic to write."),
    OptionSpec::optional(
        "key",
        OptionKind::Text,
        "Columns of the record's key, separated by commas: a JSON object of them decides the \
         partition, and what a later record replaces.",
    ),
    OptionSpec::optional(
        "mode",
        OptionKind::OneOf(&["append", "upsert"]),
        "append writes each row, and takes updating results in format debezium-json only; upsert \
         writes the last row of each key, and a deletion as a record without a value. upsert for \
         updating results with a key, append otherwise.",
    ),
    OptionSpec::optional(
        "delivery",
        OptionKind::OneOf(&["at_least_once", "exactly_once"]),
        "exactly_once writes in transactions after each checkpoint, for readers that read what is \
         committed (isolation.level=read_committed); at_least_once writes rows as they come, some \
         of them again after a crash. exactly_once when the job has checkpoints, at_least_once \
         otherwise.",
    ),
    OptionSpec::default(
        "transaction_timeout",
        OptionKind::Duration,
        "60 seconds",
        "exactly_once: after how long the broker ends a transaction of a writer that is gone.",
    ),
    OptionSpec::default(
        "on_rewind",
        OptionKind::OneOf(&["fail", "repeat"]),
        "fail",
        "exactly_once: what happens when the job goes on from an older checkpoint than the topic \
         has rows of; repeat writes those rows once more.",
    ),
];

/// A topic as a sink.
#[derive(Debug)]
pub(super) struct KafkaSink {
    parts: Arc<Parts>,
    /// What the script says.
    delivery: Option<Delivery>,
    /// Whether the job has checkpoints.
    checkpoints: AtomicBool,
    exact: Exact,
}

/// How often a row is in the topic after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    AtLeastOnce,
    ExactlyOnce,
}

/// What the writers of one sink share.
#[derive(Debug)]
pub(super) struct Parts {
    /// The sink's name.
    pub(super) name: String,
    /// How to reach the cluster.
    pub(super) client: Client,
    /// The topic.
    pub(super) topic: String,
    /// Makes the encoders.
    pub(super) factory: Arc<dyn EncoderFactory>,
    /// Time and tasks.
    pub(super) env: Env,
    takes_changelog: bool,
    summary: String,
}

/// What only `exactly_once` has.
#[derive(Debug)]
struct Exact {
    timeout_ms: u128,
    rewind: Rewind,
    start: Mutex<Option<Start>>,
    begun: tokio::sync::Mutex<bool>,
    ledger: tokio::sync::Mutex<Option<Arc<Ledger>>>,
}

impl KafkaSink {
    /// Reads the options, and checks that the format takes the rows.
    pub(super) async fn open(
        request: SinkRequest,
        options: &Options,
        client: Client,
    ) -> Result<Self> {
        if !request.partition_columns.is_empty() {
            return Err(options
                .invalid("partition_by", "has no meaning for a topic")
                .hint("the key decides the partition: key = 'column'"));
        }
        let topic = options.need("topic")?.trim().to_owned();
        let format = FormatOptions::new(options, &topic)?;
        let key = key(options, &request)?;
        let is_changelog = changelog::is_changelog(&request.schema);
        let debezium = format.format() == FormatName::DebeziumJson;
        let upsert = match options.text("mode") {
            Some(mode) => mode == "upsert",
            None => is_changelog && !key.is_empty() && !debezium,
        };
        let encode = EncodeRequest {
            schema: Arc::clone(&request.schema),
            key,
            upsert,
        };
        let factory = encoder_factory(&format, encode, &request.env).await?;
        let delivery = options.text("delivery").map(|delivery| match delivery {
            "exactly_once" => Delivery::ExactlyOnce,
            _ => Delivery::AtLeastOnce,
        });
        let mode = if upsert { "upsert" } else { "append" };
        let exact = Exact {
            timeout_ms: options
                .duration("transaction_timeout")
                .unwrap_or_default()
                .as_millis(),
            rewind: match options.text("on_rewind") {
                Some("repeat") => Rewind::Repeat,
                _ => Rewind::Fail,
            },
            start: Mutex::new(None),
            begun: tokio::sync::Mutex::default(),
            ledger: tokio::sync::Mutex::default(),
        };
        let said = match delivery {
            Some(Delivery::ExactlyOnce) => "exactly_once",
            Some(Delivery::AtLeastOnce) => "at_least_once",
            None => "exactly_once with checkpoints",
        };
        let summary = format!(
            "kafka {topic} at {} ({}, {mode}, {said})",
            client.bootstrap,
            format.format().name()
        );
        let parts = Parts {
            name: request.name,
            client,
            topic,
            factory,
            env: request.env,
            takes_changelog: upsert || debezium,
            summary,
        };
        Ok(Self {
            parts: Arc::new(parts),
            delivery,
            checkpoints: AtomicBool::new(false),
            exact,
        })
    }

    fn is_exact(&self) -> bool {
        match self.delivery {
            Some(delivery) => delivery == Delivery::ExactlyOnce,
            None => self.checkpoints.load(Ordering::SeqCst),
        }
    }

    /// The ledger of this sink in a pipeline. What an earlier run has prepared is committed by it
    /// before it is known where this run goes on.
    async fn ledger(&self, pipeline: &str) -> Arc<Ledger> {
        let mut kept = self.exact.ledger.lock().await;
        let made = || Arc::new(Ledger::new(&self.parts, pipeline, self.exact.timeout_ms));
        Arc::clone(kept.get_or_insert_with(made))
    }

    /// Takes the topic over from an earlier run, once.
    async fn begin(&self, pipeline: &str) -> Result<()> {
        let ledger = self.ledger(pipeline).await;
        let mut begun = self.exact.begun.lock().await;
        if *begun {
            return Ok(());
        }
        let start = (*self.exact.start.lock())
            .ok_or_else(|| Error::internal("a kafka sink writes before it is checked"))?;
        let rewind = self.exact.rewind;
        self.parts
            .env
            .blocking(move || ledger.open(start, rewind))
            .await??;
        *begun = true;
        Ok(())
    }
}

/// The columns of the key, by their place.
fn key(options: &Options, request: &SinkRequest) -> Result<Vec<usize>> {
    let rows = changelog::rows_schema(&request.schema);
    let names = options.text("key").unwrap_or_default().split(',');
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    let columns = names.map(|name| {
        rows.index_of(name).map_err(|_| {
            let message = format!(
                "sink \"{}\" has no column \"{name}\" for its key",
                request.name
            );
            let error = Error::new(Kind::Invalid, codes::UNKNOWN_COLUMN, message);
            nearest(error, name, rows.fields().iter().map(|f| f.name().as_str()))
        })
    });
    columns.collect()
}

#[async_trait]
impl Sink for KafkaSink {
    fn own(&self, owner: &Owner) {
        self.checkpoints.store(owner.checkpoints, Ordering::SeqCst);
    }

    async fn check(&self, _schema: &SchemaRef, start: Start) -> Result<()> {
        *self.exact.start.lock() = Some(start);
        let parts = Arc::clone(&self.parts);
        let look = move || {
            let owner = format!("sink \"{}\"", parts.name);
            let cluster = Cluster::new(&parts.client, &owner, "read_committed")?;
            let topics = Topics::Named(vec![parts.topic.clone()]);
            cluster.partitions(&topics).map(drop)
        };
        self.parts.env.blocking(look).await?
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        if !self.is_exact() {
            return Ok(Box::new(ProducerWriter::new(&self.parts)?));
        }
        self.begin(&context.job.pipeline).await?;
        Ok(Box::new(OutboxWriter::new(&self.parts, context)?))
    }

    async fn commit(&self, epoch: Epoch, tokens: &[CommitToken]) -> Result<()> {
        let mut chunks = Vec::with_capacity(tokens.len());
        let mut of = None;
        // What was sent at once has nothing to say. What waits in a checkpoint is sent even if the
        // script says at_least_once since.
        for token in tokens.iter().filter(|token| !token.payload.is_empty()) {
            let (pipeline, chunk) = outbox::chunk(token, epoch)?;
            chunks.push((chunk, token.outbox.clone()));
            of = Some(pipeline);
        }
        let Some(pipeline) = of else {
            return Ok(());
        };
        let ledger = self.ledger(&pipeline).await;
        let commit = move || ledger.commit(&chunks);
        self.parts.env.blocking(commit).await?
    }

    async fn abort(&self, _token: &CommitToken) -> Result<()> {
        // At least once: it is there already. Exactly once: nothing was sent.
        Ok(())
    }

    fn takes_changelog(&self) -> bool {
        self.parts.takes_changelog
    }

    fn needs_checkpoints(&self) -> Option<&'static str> {
        (self.delivery == Some(Delivery::ExactlyOnce)).then_some(
            "delivery = 'exactly_once' of connector 'kafka' writes rows after the checkpoint that \
             holds them; without checkpoints use delivery = 'at_least_once'",
        )
    }

    fn describe(&self) -> String {
        self.parts.summary.clone()
    }
}
