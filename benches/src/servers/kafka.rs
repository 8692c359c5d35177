//! A Kafka broker: Apache Kafka of `bash tests/run` as one node on 127.0.0.1, or the one that
//! `KAFKA_BOOTSTRAP` names.
//!
//! A broker that was started here ends with the harness, however that ends, and its data with it.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::process::{Process, cache, free_ports, until};
use crate::failure::{During, Failure, Result};
use crate::settings;

/// Numbers the topics of this process.
static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A broker.
#[derive(Debug)]
pub(crate) struct Kafka {
    bootstrap: String,
    /// A broker that was started here.
    process: Option<Process>,
}

impl Kafka {
    /// Takes the broker that is named, or starts one and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        if let Ok(bootstrap) = env::var("KAFKA_BOOTSTRAP") {
            let process = None;
            let this = Self { bootstrap, process };
            return until(|| this.answers()).map(|()| this);
        }
        let folder = settings::scratch(&format!("kafka-{}", std::process::id()))?;
        let [port, controller] = free_ports()?;
        let config = folder.join("server.properties");
        fs::write(&config, properties(&folder, port, controller))
            .during(format!("writing {}", config.display()))?;
        format_storage(&config)?;
        let mut server = java()?;
        server.arg("kafka.Kafka").arg(&config);
        let this = Self {
            bootstrap: format!("127.0.0.1:{port}"),
            process: Some(Process::start(&server, &folder)?),
        };
        if let Some(process) = &this.process {
            process.wait(|| this.answers())?;
        }
        Ok(this)
    }

    /// Where clients begin: `host:port`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What every client needs.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    /// Makes a topic with a name of its own and gives the name.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> Result<String> {
        let number = TOPICS.fetch_add(1, Ordering::Relaxed);
        let topic = format!("weir-bench-{name}-{}-{number}", std::process::id());
        let new = NewTopic::new(&topic, partitions as i32, TopicReplication::Fixed(1));
        let admin = self.admin()?;
        let made = block_on(admin.create_topics([&new], &AdminOptions::new()))?;
        for one in made.during("making a topic")? {
            drop(one.map_err(|(topic, code)| Failure::new(format!("making {topic}: {code}")))?);
        }
        // The broker tells of a new topic when it has heard of it itself.
        until(|| {
            let told = admin
                .inner()
                .fetch_metadata(Some(&topic), Duration::from_secs(1));
            let told = told.during("asking for a topic")?;
            let is_whole = told
                .topics()
                .iter()
                .any(|told| told.error().is_none() && told.partitions().len() as u32 == partitions);
            if is_whole {
                Ok(())
            } else {
                Err(Failure::new(format!("nobody knows the topic {topic}")))
            }
        })?;
        Ok(topic)
    }

    /// Removes a topic with its records.
    pub(crate) fn remove(&self, topic: &str) -> Result<()> {
        let admin = self.admin()?;
        let removed = block_on(admin.delete_topics(&[topic], &AdminOptions::new()))?;
        for one in removed.during("removing a topic")? {
            drop(one.map_err(|(topic, code)| Failure::new(format!("removing {topic}: {code}")))?);
        }
        Ok(())
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client().create().during("making a client")
    }

    /// Asks for an answer.
    fn answers(&self) -> Result<()> {
        let admin = self.admin()?;
        let told = admin.inner().fetch_metadata(None, Duration::from_secs(1));
        told.map(drop)
            .during(format!("waiting for the broker at {}", self.bootstrap))
    }
}

/// Waits for an answer of the client's threads.
fn block_on<T>(answer: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime.during("waiting for the broker")?.block_on(answer))
}

fn format_storage(config: &Path) -> Result<()> {
    let output = java()?
        .args(["kafka.tools.StorageTool", "format"])
        .args(["--cluster-id", "bm90LWEtc2VjcmV0LTE2Yg", "--config"])
        .arg(config)
        .output()
        .during("starting java")?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "formatting the broker's storage: {}",
        text.trim()
    )))
}

/// Java with Kafka's jars.
fn java() -> Result<Command> {
    let jars = cache().join("kafka/libs");
    if !jars.is_dir() {
        return Err(Failure::new(format!(
            "no Kafka broker: {} is missing; `bash tests/run` fetches it, or set KAFKA_BOOTSTRAP",
            jars.display()
        )));
    }
    let mut java = Command::new("java");
    java.args([
        "-Xmx1g",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
    ])
    .arg(jars.join("*"));
    Ok(java)
}

/// One node that is broker and controller, and needs no second one.
fn properties(folder: &Path, port: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}/data\n\
         log.retention.ms=-1\n\
         group.initial.rebalance.delay.ms=0\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_listens_on_this_machine_alone() {
        let text = properties(Path::new("/f"), 1, 2);
        assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"));
        assert!(text.contains("\nlog.dirs=/f/data\n"));
    }

    #[test]
    fn a_broker_comes_and_goes() {
        let broker = Kafka::start().unwrap();
        let topic = broker.topic("test", 3).unwrap();
        broker.remove(&topic).unwrap();
        let address = broker.bootstrap().to_owned();
        let is_own = broker.process.is_some();
        drop(broker);
        assert!(!is_own || std::net::TcpStream::connect(address).is_err());
    }
}
