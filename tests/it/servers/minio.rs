//! An S3 server: MinIO of `bash tests/run`, or the server that `S3_ENDPOINT` names.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;

use super::process::{Process, cache, free_ports};
use crate::program::block_on;

/// A running S3 server. Tests that run at the same time share one.
#[derive(Debug)]
pub(crate) struct Minio {
    /// `http://host:port`.
    pub(crate) endpoint: String,
    /// The access key id.
    pub(crate) key: String,
    /// The secret access key.
    pub(crate) secret: String,
    /// The server, if it is one of this process.
    process: Option<Process>,
}

static SHARED: Mutex<Weak<Minio>> = Mutex::new(Weak::new());
static BUCKETS: AtomicU32 = AtomicU32::new(0);

impl Minio {
    /// Gives the shared server, started if need be.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::given().unwrap_or_else(Self::start));
        *shared = Arc::downgrade(&server);
        server
    }

    fn given() -> Option<Self> {
        let endpoint = std::env::var("S3_ENDPOINT").ok()?;
        let var = |name| std::env::var(name).unwrap_or_else(|_| panic!("S3_ENDPOINT needs {name}"));
        Some(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            key: var("AWS_ACCESS_KEY_ID"),
            secret: var("AWS_SECRET_ACCESS_KEY"),
            process: None,
        })
    }

    fn start() -> Self {
        let process = Process::new("TERM");
        let [port, console] = free_ports();
        let address = format!("127.0.0.1:{port}");
        let (key, secret) = ("weir-tests".to_owned(), "weir-tests-secret".to_owned());
        let mut server = server(&address, console, process.folder());
        server
            .env("MINIO_ROOT_USER", &key)
            .env("MINIO_ROOT_PASSWORD", &secret)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off");
        process.start(&server);
        let this = Self {
            endpoint: format!("http://{address}"),
            key,
            secret,
            process: Some(process),
        };
        this.wait_until_healthy();
        this
    }

    fn wait_until_healthy(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        // A server that answers with any HTTP status below 500 takes requests.
        while !matches!(self.request("GET", "/minio/health/ready"), Some(status) if status < 500) {
            assert!(
                Instant::now() < deadline,
                "the S3 server at {} does not start:\n{}",
                self.endpoint,
                self.process.as_ref().map(Process::said).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn request(&self, method: &str, target: &str) -> Option<u32> {
        let host = self.host();
        let mut stream = TcpStream::connect(host).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_whitespace().nth(1)?.parse().ok()
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.endpoint
            .strip_prefix("http://")
            .expect("tests use plain HTTP")
    }

    /// Makes a bucket of its own for a test.
    pub(crate) fn bucket(&self) -> String {
        let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-{}-{number}", std::process::id());
        let url = block_on(self.store(&name).signed_url(
            "PUT".parse().unwrap(),
            &Path::default(),
            Duration::from_secs(120),
        ))
        .unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        // A server that has just started may ask for patience, on a busy machine for long.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut status = self.request("PUT", &target);
        while status == Some(503) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            status = self.request("PUT", &target);
        }
        assert_eq!(status, Some(200), "the bucket {name} cannot be made");
        name
    }

    /// A client of a bucket.
    pub(crate) fn store(&self, bucket: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id(&self.key)
            .with_secret_access_key(&self.secret)
            .with_bucket_name(bucket)
            .build()
            .unwrap()
    }

    /// The options of a source or sink on this server, to stand in `WITH (...)`.
    pub(crate) fn options(&self) -> String {
        self.options_at(&self.endpoint)
    }

    /// The same through another address, such as a proxy's.
    pub(crate) fn options_at(&self, endpoint: &str) -> String {
        format!(
            "endpoint = '{endpoint}', region = 'us-east-1', access_key_id = '{}', \
             secret_access_key = '{}'",
            self.key, self.secret
        )
    }

    /// Puts an object.
    pub(crate) fn put(&self, bucket: &str, path: &str, bytes: Vec<u8>) {
        block_on(self.store(bucket).put_opts(
            &Path::from(path),
            bytes.into(),
            object_store::PutOptions::default(),
        ))
        .unwrap();
    }
}

/// The server that `tests/run` has installed.
fn server(address: &str, console: u16, folder: &std::path::Path) -> Command {
    let minio = cache().join("bin/minio");
    if minio.exists() {
        let mut server = Command::new(minio);
        server
            .args(["server", "--quiet", "--address", address])
            .args(["--console-address", &format!("127.0.0.1:{console}")])
            .arg(folder.join("data"));
        return server;
    }
    let moto = cache().join("venv/bin/moto_server");
    assert!(
        moto.exists(),
        "no S3 server: {} is missing; `bash tests/run` installs it, or set S3_ENDPOINT",
        minio.display()
    );
    let (host, port) = address.split_once(':').unwrap();
    let mut server = Command::new(moto);
    server.args(["-H", host, "-p", port]);
    server
}
