//! The source over topics: finds partitions, and opens their readers.
//!
//! Partitions are assigned by Weir and their offsets are in its checkpoints; no consumer group is
//! joined. A partition that appears later is read from its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use parking_lot::Mutex;
use weir_engine::changelog;
use weir_engine::connector::SourceRequest;
use weir_engine::dead_letter::OnError;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result};
use weir_engine::job::TaskContext;
use weir_engine::limits;
use weir_engine::options::Options;
use weir_engine::source::{Boundedness, Source, Split, SplitReader};

use super::block::Wanted;
use super::budget::Account;
use super::client::Client;
use super::cluster::{Cluster, Topics};
use super::lane::Lane;
use super::metadata::Metadata;
use super::pump::{FetchOptions, Pump};
use super::reader::{Column, Letters, Reader};
use super::split::{Partition, Payload, Place};
use super::start::Start;
use crate::format::{DecoderFactory, FormatOptions, decoder_factory};

/// Topics as a source.
#[derive(Debug)]
pub(super) struct KafkaSource {
    settings: Arc<Settings>,
    cluster: Arc<Mutex<Option<Cluster>>>,
    found: Mutex<Found>,
    pumps: Mutex<BTreeMap<u32, Weak<Pump>>>,
}

/// What was discovered so far.
#[derive(Debug, Default)]
struct Found {
    partitions: BTreeSet<Partition>,
    /// Whether partitions were looked up before, in this run or in the one that it goes on from:
    /// what is found now is new.
    once: bool,
}

/// What the script says.
#[derive(Debug)]
struct Settings {
    name: String,
    client: Client,
    topics: Topics,
    start: Start,
    bounded: bool,
    isolation: String,
    reset: &'static str,
    interval: Duration,
    batch_time: Duration,
    buffer_bytes: u64,
    factory: Arc<dyn DecoderFactory>,
    format: &'static str,
    metadata: Vec<Metadata>,
    schema: SchemaRef,
    on_error: OnError,
    env: Env,
}

impl KafkaSource {
    /// Reads the options; the cluster is asked at the first discovery.
    pub(super) async fn open(
        request: SourceRequest,
        options: &Options,
        client: Client,
    ) -> Result<Self> {
        let topics = topics(options)?;
        let first = match &topics {
            Topics::Named(names) => names.first().cloned().unwrap_or_default(),
            Topics::Pattern(_) => String::new(),
        };
        let mut format = FormatOptions::new(options, &first)?;
        format.deviations = request.deviations.clone();
        let declared = request.columns.clone().map(|c| Arc::new(Schema::new(c)));
        let factory = decoder_factory(&format, declared.as_ref(), &request.env).await?;
        let start = Start::of(options)?;
        if matches!(&start, Start::Offsets(_))
            && !matches!(&topics, Topics::Named(names) if names.len() == 1)
        {
            return Err(options.invalid("start", "names offsets, which need exactly one topic"));
        }
        let bounded = match options.text("stop") {
            Some(stop) => stop == "latest",
            None => !request.streaming,
        };
        let metadata = metadata(&request)?;
        let schema = schema(&*factory, &request);
        Ok(Self::of(Settings {
            name: request.name,
            client,
            topics,
            start,
            bounded,
            isolation: options.need("isolation_level")?.to_owned(),
            reset: match options.text("on_offset_out_of_range") {
                Some("earliest") => "earliest",
                Some("latest") => "latest",
                _ => "error",
            },
            interval: options
                .duration("discovery_interval")
                .unwrap_or(limits::DISCOVERY_INTERVAL),
            batch_time: options.duration("batch_time").unwrap_or_default(),
            buffer_bytes: buffer_bytes(options)?,
            factory,
            format: format.format().name(),
            metadata,
            schema,
            on_error: request.on_error,
            env: request.env,
        }))
    }

    fn of(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            cluster: Arc::default(),
            found: Mutex::default(),
            pumps: Mutex::default(),
        }
    }

    /// Asks the cluster away from the tasks, with a client that is kept.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Cluster) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (settings, cluster) = (Arc::clone(&self.settings), Arc::clone(&self.cluster));
        let answer = self.settings.env.blocking(move || {
            let mut kept = cluster.lock();
            if kept.is_none() {
                let owner = format!("source \"{}\"", settings.name);
                *kept = Some(Cluster::new(&settings.client, &owner, &settings.isolation)?);
            }
            kept.as_ref()
                .ok_or_else(|| Error::internal("there is no client"))
                .and_then(question)
        });
        answer.await?
    }

    /// New partitions, each with where to begin and to stop.
    async fn fresh(&self) -> Result<Vec<Payload>> {
        let settings = Arc::clone(&self.settings);
        let (known, first) = {
            let found = self.found.lock();
            (found.partitions.clone(), !found.once)
        };
        self.ask(move |cluster| {
            let partitions = cluster.partitions(&settings.topics)?;
            let fresh = partitions.into_iter().filter(|p| !known.contains(p));
            fresh
                .map(|partition| {
                    let from = if first {
                        cluster.start(&partition, &settings.start)?
                    } else {
                        Place::Beginning
                    };
                    let until = if settings.bounded {
                        Some(cluster.bounds(&partition)?.1)
                    } else {
                        None
                    };
                    Ok(Payload {
                        partition,
                        from,
                        until,
                    })
                })
                .collect()
        })
        .await
    }

    /// The consumer of a subtask, made with its first partition.
    fn pump(&self, context: &TaskContext) -> Result<Arc<Pump>> {
        let mut pumps = self.pumps.lock();
        if let Some(pump) = pumps.get(&context.subtask).and_then(Weak::upgrade) {
            return Ok(pump);
        }
        let settings = &self.settings;
        let all = self.found.lock().partitions.len() as u64;
        let own = all.div_ceil(context.parallelism.max(1).into());
        let memory = Account::open(settings.buffer_bytes, own, context)?;
        let options = FetchOptions {
            owner: format!("source \"{}\"", settings.name),
            isolation: settings.isolation.clone(),
            reset: settings.reset,
            batch_rows: context.job.batch_rows.max(1),
            batch_time: settings.batch_time,
            budget: memory.budget(),
        };
        let pump = Pump::start(&settings.client, options, memory, &settings.env)?;
        let pump = Arc::new(pump);
        pumps.insert(context.subtask, Arc::downgrade(&pump));
        Ok(pump)
    }

    /// What the columns at `projection` are made of: those that are decoded, where each column
    /// comes from, and the schema of the batches.
    fn columns(&self, projection: &[usize]) -> Result<(Vec<usize>, Vec<Column>, SchemaRef)> {
        let values = self.settings.factory.schema().fields().len();
        let decoded: Vec<usize> = projection.iter().copied().filter(|i| *i < values).collect();
        let mut place = 0;
        let columns = projection.iter().map(|index| {
            if *index < values {
                place += 1;
                return Column::Value(place - 1);
            }
            match self.settings.metadata.get(*index - values) {
                Some(metadata) => Column::Metadata(*metadata),
                // Behind them is the kind of a changelog's row, as it is in the decoder's batch.
                None => Column::Value(decoded.len()),
            }
        });
        let columns = columns.collect();
        let schema = Arc::new(self.settings.schema.project(projection)?);
        Ok((decoded, columns, schema))
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.settings.schema)
    }

    fn boundedness(&self) -> Boundedness {
        if self.settings.bounded {
            Boundedness::Bounded
        } else {
            Boundedness::Unbounded(self.settings.interval)
        }
    }

    fn rescan(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self {
            settings: Arc::clone(&self.settings),
            cluster: Arc::clone(&self.cluster),
            found: Mutex::default(),
            pumps: Mutex::default(),
        }))
    }

    fn is_side_by_side(&self) -> bool {
        true
    }

    fn resume(&self) {
        self.found.lock().once = true;
    }

    async fn discover(&self) -> Result<Vec<Split>> {
        let fresh = match self.fresh().await {
            Ok(fresh) => fresh,
            // What is known is read on: a cluster that is away for a moment has nothing new.
            Err(error) if self.found.lock().once && error.kind() == Kind::Unavailable => {
                tracing::warn!(
                    "source \"{}\": partitions cannot be looked up: {error}; trying again",
                    self.settings.name
                );
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let splits = fresh
            .iter()
            .map(Payload::split)
            .collect::<Result<Vec<_>>>()?;
        let mut found = self.found.lock();
        found.once = true;
        found
            .partitions
            .extend(fresh.into_iter().map(|p| p.partition));
        Ok(splits)
    }

    async fn open(
        &self,
        split: &Split,
        projection: &[usize],
        context: &TaskContext,
    ) -> Result<Box<dyn SplitReader>> {
        let payload = Payload::of(split)?;
        let (decoded, columns, schema) = self.columns(projection)?;
        let decoder = self.settings.factory.create(&decoded)?;
        let mut wanted = Wanted::default();
        for column in &columns {
            if let Column::Metadata(metadata) = column {
                metadata.wants(&mut wanted);
            }
        }
        let pump = self.pump(context)?;
        let (partition, from, until) = (payload.partition, payload.from, payload.until);
        let lane = Arc::new(Lane::new(partition, from, until, wanted, pump.shared()));
        match (from, until) {
            (Place::At(from), Some(until)) if from >= until => lane.finish(),
            _ => pump.add(&lane)?,
        }
        let letters = Letters {
            source: self.settings.name.clone(),
            on_error: self.settings.on_error,
            kept: context.job.dead_letters.clone(),
        };
        let env = context.job.env.clone();
        let reader = Reader::new(pump, lane, decoder, (columns, schema), letters, env);
        Ok(Box::new(reader))
    }

    fn describe(&self) -> String {
        let settings = &self.settings;
        let topics = match &settings.topics {
            Topics::Named(names) => names.join(","),
            Topics::Pattern(pattern) => format!("/{pattern}/"),
        };
        let stop = if settings.bounded { " stop=latest" } else { "" };
        format!(
            "kafka {topics} at {} format={}{stop}",
            settings.client.bootstrap, settings.format
        )
    }
}

fn topics(options: &Options) -> Result<Topics> {
    match (options.text("topic"), options.text("topic_pattern")) {
        (Some(names), None) => {
            let names = names.split(',').map(|name| name.trim().to_owned());
            let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
            if names.is_empty() {
                return Err(options.invalid("topic", "names no topic"));
            }
            Ok(Topics::Named(names.into_iter().collect()))
        }
        (None, Some(pattern)) => regex::Regex::new(&format!("^(?:{pattern})$"))
            .map(Topics::Pattern)
            .map_err(|e| options.invalid("topic_pattern", format!("is no pattern: {e}"))),
        (Some(_), Some(_)) => {
            Err(options.invalid("topic_pattern", "cannot stand beside \"topic\""))
        }
        (None, None) => Err(options
            .invalid("topic", "is needed")
            .hint("name topics, separated by commas, or give a topic_pattern")),
    }
}

/// The bounds of `buffer_size`.
const BUFFER_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

fn buffer_bytes(options: &Options) -> Result<u64> {
    let bytes = options
        .bytes("buffer_size")
        .unwrap_or(*BUFFER_BYTES.start());
    if BUFFER_BYTES.contains(&bytes) {
        Ok(bytes)
    } else {
        Err(options.invalid("buffer_size", "must be from 1MiB to 1GiB"))
    }
}

fn metadata(request: &SourceRequest) -> Result<Vec<Metadata>> {
    let columns = request.metadata.iter().map(|(_, key)| {
        Metadata::of(key)
            .ok_or_else(|| Error::internal(format!("kafka has no metadata column '{key}'")))
    });
    columns.collect()
}

/// The columns of the format, those around the record, and the kind of a changelog's row last.
fn schema(factory: &dyn DecoderFactory, request: &SourceRequest) -> SchemaRef {
    let mut fields: Vec<FieldRef> = factory.schema().fields().iter().map(Arc::clone).collect();
    fields.extend(request.metadata.iter().map(|(field, _)| Arc::clone(field)));
    let rows = Schema::new(fields);
    if factory.is_changelog() {
        changelog::changelog_schema(&rows)
    } else {
        Arc::new(rows)
    }
}
