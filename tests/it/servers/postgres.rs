//! A PostgreSQL server: Debian's version 15 of `bash tests/run`, or the one that `DATABASE_URL` names.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::certificate;
use super::process::{Process, free_ports, run};

/// Where Debian puts the server's programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The password of a server of one's own.
const PASSWORD: &str = "weir-secret";

/// A server with a database for the tests.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) host: String,
    pub(crate) port: u16,
    database: String,
    user: String,
    password: String,
    own: Option<Own>,
}

/// A server that this process has started.
#[derive(Debug)]
struct Own {
    process: Process,
    port: u16,
}

static SHARED: OnceLock<Postgres> = OnceLock::new();
static TABLES: AtomicU32 = AtomicU32::new(0);

impl Postgres {
    /// Gives the shared server, started if need be. It ends with this process.
    pub(crate) fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::given().unwrap_or_else(Self::start))
    }

    /// `postgresql://user:password@host:port/database`
    fn given() -> Option<Self> {
        let url = std::env::var("DATABASE_URL").ok()?;
        let form = "DATABASE_URL is postgresql://user:password@host:port/database";
        let (_, rest) = url.split_once("://").expect(form);
        let (login, place) = rest.rsplit_once('@').expect(form);
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (address, database) = place.split_once('/').expect(form);
        let (host, port) = address.split_once(':').unwrap_or((address, "5432"));
        Some(Self {
            host: host.to_owned(),
            port: port.parse().expect(form),
            database: database.split('?').next().unwrap_or_default().to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            own: None,
        })
    }

    /// Starts a server of one's own, which a test may stop and start again.
    pub(crate) fn start() -> Self {
        let [port] = free_ports();
        let process = Process::new("QUIT");
        let own = Own { process, port };
        own.make();
        let this = Self {
            host: "127.0.0.1".to_owned(),
            port,
            database: "postgres".to_owned(),
            user: "weir".to_owned(),
            password: PASSWORD.to_owned(),
            own: Some(own),
        };
        this.up();
        this
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a server of one's own")
    }

    /// Starts the server again after [`Postgres::down`], on the same port with the same data.
    pub(crate) fn up(&self) {
        let own = self.own();
        own.start();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.psql("SELECT 1").is_err() {
            assert!(
                Instant::now() < deadline,
                "PostgreSQL does not start:\n{}",
                own.process.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server as a crash does.
    pub(crate) fn down(&self) {
        self.own().process.stop();
    }

    /// Freezes the server with all of its connections, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = self.own().pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let mut pids: Vec<&str> = children.split_whitespace().collect();
        pids.insert(0, &pid);
        let signal = if frozen { "-STOP" } else { "-CONT" };
        // One of the children may be gone by now.
        Command::new("kill")
            .arg(signal)
            .args(pids)
            .output()
            .unwrap();
    }

    /// The certificate to trust, as a PEM file.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        Some(own.process.folder().join("certificate.pem"))
    }

    /// Runs statements and gives what they say, a line per row, columns between bars.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.psql(statements)
            .unwrap_or_else(|said| panic!("psql: {said}\n{statements}"))
    }

    fn psql(&self, statements: &str) -> Result<String, String> {
        let program = Path::new(PROGRAMS).join("psql");
        let program = if program.exists() {
            program
        } else {
            PathBuf::from("psql")
        };
        let mut child = Command::new(program)
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", &self.host, "-p", &self.port.to_string()])
            .args(["-U", &self.user, "-d", &self.database, "-f", "-"])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql can be run; `bash tests/run` installs it");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(statements.as_bytes())
            .ok();
        let output = child.wait_with_output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Makes a table of its own for a test: `columns` is what stands in the parentheses, `rows` a
    /// query that gives its rows.
    pub(crate) fn table(&self, columns: &str, rows: &str) -> String {
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        let table = format!("weir_{}_{number}", std::process::id());
        self.sql(&format!(
            "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({columns});
             INSERT INTO {table} {rows}; ANALYZE {table};"
        ));
        table
    }

    /// The options of a source over a table.
    pub(crate) fn options(&self, table: &str) -> String {
        format!(
            "connector = 'postgres', host = '{}', port = '{}', database = '{}', user = '{}',
             password = '{}',
             table = '{table}'",
            self.host, self.port, self.database, self.user, self.password
        )
    }
}

impl Own {
    fn data(&self) -> PathBuf {
        self.process.folder().join("data")
    }

    /// A program of the server, which refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = Path::new(PROGRAMS).join(name);
        assert!(
            program.exists(),
            "{} is missing; `bash tests/run` installs it, or set DATABASE_URL",
            program.display()
        );
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(program);
        command
    }

    /// Makes an empty cluster with TLS, in a folder that the server's user owns.
    fn make(&self) {
        let folder = self.process.folder();
        certificate::make(folder);
        fs::write(folder.join("password"), PASSWORD).unwrap();
        run(Command::new("chmod")
            .args(["600"])
            .arg(folder.join("key.pem")));
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            run(Command::new("chown")
                .args(["-R", "postgres:postgres"])
                .arg(folder));
        }
        let mut initdb = self.program("initdb");
        initdb
            .arg("-D")
            .arg(self.data())
            .args(["-U", "weir", "--auth=scram-sha-256"]);
        initdb.arg("--pwfile").arg(folder.join("password"));
        initdb
            .args(["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"])
            .current_dir("/");
        run(&mut initdb);
    }

    fn start(&self) {
        let folder = self.process.folder();
        let mut server = self.program("postgres");
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "max_connections=60".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}/certificate.pem", folder.display()),
            format!("ssl_key_file={}/key.pem", folder.display()),
        ];
        server
            .arg("-D")
            .arg(self.data())
            .args(settings.iter().flat_map(|setting| ["-c", setting]));
        self.process.start(&server);
    }

    fn pid(&self) -> String {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().to_owned()
    }
}
