//! Nexmark's events as JSON in a topic each, written by Weir, which needs seconds for ten million.
//!
//! The events are those of the Parquet files, made from their numbers by the same crate, so that the
//! answers are the same. Each topic has a partition per core, and each partition is in order of time.

use std::collections::BTreeMap;

use super::nexmark::Kind;
use crate::failure::{Failure, Result};
use crate::programs::Job;
use crate::programs::weir::Weir;
use crate::report;
use crate::servers::kafka::Kafka;
use crate::settings::{self, Settings};

/// Topics that are full.
#[derive(Debug)]
pub(crate) struct Topics {
    /// The broker, which ends with them.
    broker: Kafka,
    /// Of each kind's topic: its name, and the bytes of its messages.
    topics: BTreeMap<&'static str, (String, u64)>,
}

impl Topics {
    /// Starts a broker and writes the first `events` events.
    pub(crate) fn fill(events: u64, settings: &Settings) -> Result<Self> {
        let mut this = Self {
            broker: Kafka::start()?,
            topics: BTreeMap::new(),
        };
        for kind in Kind::ALL {
            let topic = this.broker.topic(kind.name(), settings.cores())?;
            this.topics.insert(kind.name(), (topic, 0));
        }
        report::note(&format!("writing {events} events into topics"));
        let mut variables = this.variables();
        variables.insert("EVENTS".to_owned(), events.to_string());
        let job = Job {
            variables,
            ..Job::default()
        };
        let script = job.fill(&settings::query("nexmark/to_kafka.sql")?);
        // More than one writer would mix up the order.
        let weir = Weir::find(settings)?.on_cores(1);
        let told = weir.run_script(&script, &settings::scratch("topics")?, &[])?;
        let sinks = told.summary["sinks"].as_array().into_iter().flatten();
        for sink in sinks {
            let name = sink["name"].as_str().unwrap_or_default();
            let Some(kind) = Kind::ALL
                .into_iter()
                .find(|kind| name == format!("{}_topic", kind.name()))
            else {
                continue;
            };
            let (rows, expected) = (sink["rows"].as_u64(), kind.among(events));
            if rows != Some(expected) {
                let text = format!("{name} has {rows:?} rows, not {expected}");
                return Err(Failure::new(text));
            }
            if let Some((_, bytes)) = this.topics.get_mut(kind.name()) {
                *bytes = sink["bytes"].as_u64().unwrap_or(0);
            }
        }
        Ok(this)
    }

    /// Where the topics are, as scripts ask for it.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let topics = self.topics.iter();
        let mut all: BTreeMap<_, _> = topics
            .map(|(kind, (topic, _))| (format!("{}_TOPIC", kind.to_uppercase()), topic.clone()))
            .collect();
        all.insert("BROKER".to_owned(), self.broker.bootstrap().to_owned());
        all
    }

    /// Bytes of the messages of a kind.
    pub(crate) fn bytes(&self, kind: Kind) -> u64 {
        self.topics.get(kind.name()).map_or(0, |(_, bytes)| *bytes)
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        for (topic, _) in self.topics.values() {
            if let Err(error) = self.broker.remove(topic) {
                report::note(&format!("a topic stays: {error}"));
            }
        }
    }
}
