//! A Kafka broker: Apache Kafka of `bash tests/run` as one KRaft node, or the one that
//! `KAFKA_BOOTSTRAP` names.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::certificate;
use super::process::{Process, cache, free_ports, run};
use crate::program::block_on;

/// The user of the listeners that want a login.
pub(crate) const USER: &str = "weir";
/// Its password.
pub(crate) const PASSWORD: &str = "weir-secret";

/// A broker with its ports and folder.
#[derive(Debug)]
pub(crate) struct Kafka {
    /// `host:port` without TLS or login.
    pub(crate) bootstrap: String,
    own: Option<Own>,
}

/// A broker that this process has started.
#[derive(Debug)]
struct Own {
    process: Process,
    ports: [u16; 5],
}

static SHARED: OnceLock<Kafka> = OnceLock::new();
static TOPICS: AtomicU32 = AtomicU32::new(0);

impl Kafka {
    /// Gives the shared broker, started if need be. It ends with this process.
    pub(crate) fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::given().unwrap_or_else(Self::start))
    }

    fn given() -> Option<Self> {
        let bootstrap = std::env::var("KAFKA_BOOTSTRAP").ok()?;
        Some(Self {
            bootstrap,
            own: None,
        })
    }

    /// Starts a broker of one's own, which a test may stop and start again.
    pub(crate) fn start() -> Self {
        let ports = free_ports();
        let process = Process::new("KILL");
        let own = Own { process, ports };
        own.write_files();
        let login = |kind: &str| format!("{kind}=[name={USER},password={PASSWORD}]");
        run(java()
            .args(["kafka.tools.StorageTool", "format"])
            .args(["--cluster-id", "bm90LWEtc2VjcmV0LTE2Yg"])
            .arg("--config")
            .arg(own.config())
            .args(["--add-scram", &login("SCRAM-SHA-256")])
            .args(["--add-scram", &login("SCRAM-SHA-512")]));
        let this = Self {
            bootstrap: format!("127.0.0.1:{}", ports[0]),
            own: Some(own),
        };
        this.up();
        this
    }

    /// Starts the broker again after [`Kafka::down`], on the same ports with the same data.
    pub(crate) fn up(&self) {
        let own = self.own.as_ref().expect("a broker of one's own");
        own.start();
        let deadline = Instant::now() + Duration::from_secs(180);
        let admin = self.admin();
        // A broker that tells of itself takes requests.
        while admin
            .inner()
            .fetch_metadata(None, Duration::from_secs(2))
            .is_err()
        {
            assert!(
                Instant::now() < deadline,
                "the broker at {} does not start:\n{}",
                self.bootstrap,
                own.process.said()
            );
        }
    }

    /// Stops the broker as a crash does.
    pub(crate) fn down(&self) {
        let own = self.own.as_ref().expect("a broker of one's own");
        own.process.stop();
    }

    /// Freezes the broker: it keeps its connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen broker go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let own = self.own.as_ref().expect("a broker of one's own");
        own.process.signal(name);
    }

    /// `host:port` of the listener with TLS, whose certificate [`Kafka::authority`] has signed.
    pub(crate) fn tls(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(format!("127.0.0.1:{}", own.ports[1]))
    }

    /// `host:port` of the listener with TLS that wants a certificate of the client, such as
    /// [`Kafka::authority`] with the key [`Kafka::key`].
    pub(crate) fn mutual(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(format!("127.0.0.1:{}", own.ports[4]))
    }

    /// The key of the certificate, as a PEM file.
    pub(crate) fn key(&self) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        Some(own.process.folder().join("key.pem"))
    }

    /// `host:port` of the listener with TLS and a login by PLAIN or SCRAM.
    pub(crate) fn login(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(format!("127.0.0.1:{}", own.ports[2]))
    }

    /// The certificate to trust, as a PEM file.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        Some(own.process.folder().join("certificate.pem"))
    }

    /// A client for the administration of topics.
    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// What every client of a test needs.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    /// Makes a topic of its own for a test.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> String {
        let number = TOPICS.fetch_add(1, Ordering::Relaxed);
        let topic = format!("weir-{name}-{}-{number}", std::process::id());
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        let made = block_on(self.admin().create_topics([&new], &AdminOptions::new())).unwrap();
        assert_eq!(made, [Ok(topic.clone())]);
        // The broker tells of a new topic when it has heard of it itself: on a busy machine later.
        let admin = self.admin();
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_known = || {
            let told = admin
                .inner()
                .fetch_metadata(Some(&topic), Duration::from_secs(2));
            told.is_ok_and(|told| {
                let told = told.topics().first();
                told.is_some_and(|told| told.partitions().len() == partitions as usize)
            })
        };
        while !is_known() {
            assert!(Instant::now() < deadline, "nobody knows the topic {topic}");
            std::thread::sleep(Duration::from_millis(20));
        }
        topic
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        let made = block_on(self.admin().create_partitions([&new], &AdminOptions::new()));
        assert_eq!(made.unwrap(), [Ok(topic.to_owned())]);
    }
}

impl Own {
    fn config(&self) -> PathBuf {
        self.process.folder().join("server.properties")
    }

    fn write_files(&self) {
        let folder = self.process.folder();
        let [plain, tls, login, controller, mutual] = self.ports;
        certificate::make(folder);
        // The broker wants both in one file.
        let both = ["key.pem", "certificate.pem"].map(|name| fs::read(folder.join(name)).unwrap());
        fs::write(folder.join("keystore.pem"), both.concat()).unwrap();
        let at = folder.display();
        let plain_login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let scram_login = "org.apache.kafka.common.security.scram.ScramLoginModule required";
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},TLS://127.0.0.1:{tls},\
             LOGIN://127.0.0.1:{login},MUTUAL://127.0.0.1:{mutual},\
             CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},TLS://127.0.0.1:{tls},\
             LOGIN://127.0.0.1:{login},MUTUAL://127.0.0.1:{mutual}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,TLS:SSL,LOGIN:SASL_SSL,\
             MUTUAL:SSL,CONTROLLER:PLAINTEXT\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={at}/keystore.pem\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={at}/certificate.pem\n\
             listener.name.mutual.ssl.client.auth=required\n\
             listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.login.scram-sha-256.sasl.jaas.config={scram_login};\n\
             listener.name.login.plain.sasl.jaas.config={plain_login} user_{USER}=\"{PASSWORD}\";\n\
             listener.name.login.scram-sha-512.sasl.jaas.config={scram_login};\n\
             log.dirs={at}/data\n\
             auto.create.topics.enable=true\n\
             broker.session.timeout.ms=2000\n\
             broker.heartbeat.interval.ms=500\n\
             group.initial.rebalance.delay.ms=0\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=2\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=2\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n\
             log.retention.ms=-1\n\
             log.cleaner.dedupe.buffer.size=4194304\n\
             num.network.threads=2\n\
             num.io.threads=4\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    fn start(&self) {
        let mut server = java();
        server.arg("kafka.Kafka").arg(self.config());
        self.process.start(&server);
    }
}

/// Java with Kafka's jars and a small heap.
fn java() -> Command {
    let jars = cache().join("kafka/libs");
    assert!(
        jars.exists(),
        "no Kafka broker: {} is missing; `bash tests/run` fetches it, or set KAFKA_BOOTSTRAP",
        jars.display()
    );
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:+UseSerialGC"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(jars.join("*"));
    java
}
