//! A Kafka broker: Apache Kafka of `bash tests/run` as one KRaft node, or the one that
//! `KAFKA_BOOTSTRAP` names.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

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
    folder: tempfile::TempDir,
    ports: [u16; 5],
    child: Mutex<Option<Child>>,
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
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let own = Own {
            folder,
            ports,
            child: Mutex::new(None),
        };
        own.write_files();
        own.run_java(
            "kafka.tools.StorageTool",
            &[
                "format",
                "--cluster-id",
                "bm90LWEtc2VjcmV0LTE2Yg",
                "--config",
                &own.config().to_string_lossy(),
                "--add-scram",
                &format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]"),
                "--add-scram",
                &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            ],
        );
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
        *own.child.lock().unwrap() = Some(own.spawn());
        let deadline = Instant::now() + Duration::from_secs(90);
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
                own.log()
            );
        }
    }

    /// Stops the broker as a crash does.
    pub(crate) fn down(&self) {
        let own = self.own.as_ref().expect("a broker of one's own");
        own.stop();
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
        let shell = own.child.lock().unwrap().as_ref().unwrap().id();
        // The shell's only child is the broker.
        let status = Command::new("pkill")
            .args([&format!("-{name}"), "-P", &shell.to_string()])
            .status();
        assert!(status.unwrap().success());
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
        Some(own.folder.path().join("key.pem"))
    }

    /// `host:port` of the listener with TLS and a login by PLAIN or SCRAM.
    pub(crate) fn login(&self) -> Option<String> {
        let own = self.own.as_ref()?;
        Some(format!("127.0.0.1:{}", own.ports[2]))
    }

    /// The certificate to trust, as a PEM file.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        Some(own.folder.path().join("certificate.pem"))
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

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.stop();
        }
    }
}

impl Own {
    fn config(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn write_files(&self) {
        let folder = self.folder.path();
        let [plain, tls, login, controller, mutual] = self.ports;
        make_certificate(folder);
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

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn run_java(&self, class: &str, arguments: &[&str]) {
        let output = java().arg(class).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{class} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts the broker under a shell that ends it, and then removes its folder, when this process
    /// closes the shell's input: it does not outlive the tests however they end.
    fn spawn(&self) -> Child {
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true);
        let log = log.open(self.folder.path().join("log")).unwrap();
        let java = java();
        Command::new("bash")
            .args([
                "-c",
                r#"folder=$1; shift; "$@" & pid=$!; read -r word; kill -9 "$pid"; wait "$pid"
                [ "$word" = keep ] || rm -rf "$folder""#,
                "broker",
            ])
            .arg(self.folder.path())
            .arg(java.get_program())
            .args(java.get_args())
            .args(["kafka.Kafka", &self.config().to_string_lossy()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the broker can be started")
    }

    fn stop(&self) {
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(b"keep\n").ok();
            drop(stdin);
            child.wait().ok();
        }
    }
}

/// A certificate that trusts itself, and the same with its key as the broker wants it.
fn make_certificate(folder: &Path) {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl makes the broker's certificate");
    assert!(output.status.success(), "{output:?}");
    let mut keystore = fs::File::create(folder.join("keystore.pem")).unwrap();
    for part in [&key, &certificate] {
        keystore.write_all(&fs::read(part).unwrap()).unwrap();
    }
}

/// Java with Kafka's jars and a small heap.
fn java() -> Command {
    let cache = std::env::var_os("WEIR_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/weir")));
    let jars = cache.unwrap_or_default().join("kafka/libs");
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

/// Ports that are free now; all are held until the last is known, so that none comes twice.
fn free_ports() -> [u16; 5] {
    let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
