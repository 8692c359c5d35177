//! A server: how it is reached, and connections to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};
use weir_engine::env::{Env, Work};
use weir_engine::error::Result;
use weir_engine::options::{OptionKind, OptionSpec, Options};

use super::failure;
use super::tls::Tls;

/// The options of every connection.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required(
        "host",
        OptionKind::Text,
        "Host name or address of the server.",
    ),
    OptionSpec::default("port", OptionKind::Count, "5432", "Port of the server."),
    OptionSpec::required("database", OptionKind::Text, "Database."),
    OptionSpec::required("user", OptionKind::Text, "User name of the login."),
    OptionSpec::optional("password", OptionKind::Secret, "Password of the login."),
    OptionSpec::default(
        "ssl_mode",
        OptionKind::OneOf(&["disable", "verify_full"]),
        "disable",
        "Whether connections are encrypted, and the server's certificate and name are checked.",
    ),
    OptionSpec::optional(
        "ssl_ca_location",
        OptionKind::Text,
        "PEM file with the certificates to trust; the system's when not given.",
    ),
    OptionSpec::default(
        "connect_timeout",
        OptionKind::Duration,
        "10 seconds",
        "How long a new connection may take.",
    ),
    OptionSpec::default(
        "query_timeout",
        OptionKind::Duration,
        "30 seconds",
        "How long a lookup, or the next rows of a table that is read whole, may take.",
    ),
];

/// What each connection begins with: texts of values must not depend on the server's settings, and
/// nothing is ever written.
const SETTINGS: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; \
     SET extra_float_digits = 1; SET default_transaction_read_only = on";

/// A server with a login.
#[derive(Clone)]
pub(super) struct Peer {
    config: Config,
    tls: Option<Tls>,
    connect_time_max: Duration,
    /// How long a call may take.
    pub(super) query_time_max: Duration,
    pub(super) env: Env,
    /// `host:port/database`, for people.
    place: String,
}

impl fmt::Debug for Peer {
    /// Names the place, never the login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Peer {
    /// Reads the options.
    pub(super) async fn new(options: &Options, env: &Env) -> Result<Self> {
        let port = options
            .count("port")
            .and_then(|port| u16::try_from(port).ok());
        let port = port.filter(|port| *port > 0);
        let port = port.ok_or_else(|| options.invalid("port", "must be from 1 to 65535"))?;
        let span = |name: &str| match options.duration(name) {
            Some(span) if !span.is_zero() => Ok(span),
            _ => Err(options.invalid(name, "must be more than nothing")),
        };
        let (connect_time_max, query_time_max) = (span("connect_timeout")?, span("query_timeout")?);
        let encrypted = options.need("ssl_mode")? != "disable";
        if !encrypted && options.is_given("ssl_ca_location") {
            let why = "has no meaning with ssl_mode = 'disable'";
            return Err(options.invalid("ssl_ca_location", why));
        }
        let tls = match encrypted {
            true => {
                let authority = options.text("ssl_ca_location").map(PathBuf::from);
                Some(
                    env.blocking(move || Tls::new(authority.as_deref()))
                        .await??,
                )
            }
            false => None,
        };
        let (host, database) = (options.need("host")?, options.need("database")?);
        let mut config = Config::new();
        config
            .host(host)
            .port(port)
            .dbname(database)
            .user(options.need("user")?)
            .application_name("weir")
            .connect_timeout(connect_time_max);
        if let Some(password) = options.text("password") {
            config.password(password);
        }
        Ok(Self {
            config,
            tls,
            connect_time_max,
            query_time_max,
            env: env.clone(),
            place: format!("{host}:{port}/{database}"),
        })
    }

    /// Makes a connection. Its own work is done by a task that ends with the client.
    pub(super) async fn connect(&self) -> Result<Client> {
        let doing = format!("connecting to {self}");
        let (give, take) = oneshot::channel();
        let config = self.config.clone();
        // The task is told by the end of its channel; nobody waits for it.
        drop(match self.tls.clone() {
            Some(tls) => self.env.spawn(Work::Io, drive(config, tls, give)),
            None => self.env.spawn(Work::Io, drive(config, NoTls, give)),
        });
        let connected = self.env.timeout(self.connect_time_max, take).await;
        let client = match connected {
            Some(Ok(Ok(client))) => client,
            Some(Ok(Err(error))) => return Err(failure::error(&error, &doing)),
            Some(Err(_)) => return Err(failure::closed(&doing)),
            None => return Err(failure::timeout(&doing, self.connect_time_max)),
        };
        self.call(client.batch_execute(SETTINGS), &doing).await?;
        Ok(client)
    }

    /// Waits for a call, for a bounded time.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
        doing: &str,
    ) -> Result<T> {
        match self.env.timeout(self.query_time_max, call).await {
            Some(done) => done.map_err(|error| failure::error(&error, doing)),
            None => Err(failure::timeout(doing, self.query_time_max)),
        }
    }
}

/// Opens a connection, hands its client over, and moves its bytes until the client is dropped.
async fn drive<T>(
    config: Config,
    tls: T,
    give: oneshot::Sender<Result<Client, tokio_postgres::Error>>,
) where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = match config.connect(tls).await {
        Ok(connected) => connected,
        Err(error) => return drop(give.send(Err(error))),
    };
    if give.send(Ok(client)).is_ok()
        && let Err(error) = connection.await
    {
        // Whoever uses the client is told by its next call.
        tracing::debug!(%error, "a connection to postgres has ended");
    }
}
