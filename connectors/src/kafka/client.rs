//! How to reach a cluster: the typed options of both sides, and what the client tells us.

use std::fmt;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::{OptionKind, OptionSpec, Options};

/// The options of every client, source or sink.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::required(
        "bootstrap_servers",
        OptionKind::Text,
        "Brokers to begin with, as host:port, separated by commas.",
    ),
    OptionSpec::default(
        "security_protocol",
        OptionKind::OneOf(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        "plaintext",
        "Whether the line is encrypted (ssl) and whether a login is asked for (sasl).",
    ),
    OptionSpec::optional(
        "sasl_mechanism",
        OptionKind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        "How the login is made.",
    ),
    OptionSpec::optional("sasl_username", OptionKind::Text, "User name of the login."),
    OptionSpec::optional(
        "sasl_password",
        OptionKind::Secret,
        "Password of the login.",
    ),
    OptionSpec::optional(
        "ssl_ca_location",
        OptionKind::Text,
        "PEM file with the certificates to trust; the system's when not given.",
    ),
    OptionSpec::optional(
        "ssl_certificate_location",
        OptionKind::Text,
        "PEM file with the client's own certificate.",
    ),
    OptionSpec::optional(
        "ssl_key_location",
        OptionKind::Text,
        "PEM file with the key of the client's certificate.",
    ),
    OptionSpec::optional(
        "ssl_key_password",
        OptionKind::Secret,
        "Password of that key.",
    ),
];

/// Options that go to the client as they are.
const TYPED: &[(&str, &str)] = &[
    ("bootstrap_servers", "bootstrap.servers"),
    ("security_protocol", "security.protocol"),
    ("sasl_mechanism", "sasl.mechanism"),
    ("sasl_username", "sasl.username"),
    ("sasl_password", "sasl.password"),
    ("ssl_ca_location", "ssl.ca.location"),
    ("ssl_certificate_location", "ssl.certificate.location"),
    ("ssl_key_location", "ssl.key.location"),
    ("ssl_key_password", "ssl.key.password"),
];

/// What all clients of one source or sink have in common.
#[derive(Clone)]
pub(super) struct Client {
    config: ClientConfig,
    /// The brokers, for people.
    pub(super) bootstrap: String,
}

impl fmt::Debug for Client {
    /// Names the place, never the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the options; `properties` are checked already.
    pub(super) fn new(options: &Options, properties: Vec<(String, String)>) -> Result<Self> {
        let protocol = options.need("security_protocol")?;
        let login = protocol.starts_with("sasl");
        for name in ["sasl_mechanism", "sasl_username", "sasl_password"] {
            if login != options.is_given(name) {
                let why = if login {
                    format!("is needed with security_protocol = '{protocol}'")
                } else {
                    format!("has no meaning with security_protocol = '{protocol}'")
                };
                return Err(options.invalid(name, why));
            }
        }
        let encrypted = protocol.ends_with("ssl");
        for (name, _) in TYPED.iter().filter(|(name, _)| name.starts_with("ssl_")) {
            if options.is_given(name) && !encrypted {
                let why = format!("has no meaning with security_protocol = '{protocol}'");
                return Err(options.invalid(name, why));
            }
        }
        let mut config = ClientConfig::new();
        config.extend(properties);
        for (option, property) in TYPED {
            if let Some(value) = options.text(option) {
                config.set(*property, value);
            }
        }
        config.set("enable.metrics.push", "false");
        // The errors come by the callback too, where they are told.
        config.set_log_level(RDKafkaLogLevel::Error);
        Ok(Self {
            config,
            bootstrap: options.need("bootstrap_servers")?.to_owned(),
        })
    }

    /// The properties to which a client adds its own.
    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }
}

/// Hears what goes wrong in a client between its calls.
#[derive(Debug)]
pub(super) struct Context {
    /// Who it is, for the log: `source "orders"`.
    owner: String,
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Context {
    /// Makes the context of a client of this source or sink.
    pub(super) fn new(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            last: Mutex::new(None),
        }
    }

    /// Notes that a call has succeeded.
    pub(super) fn recovered(&self) {
        if self.last.lock().take().is_some() {
            tracing::warn!("{}: kafka answers again", self.owner);
        }
    }

    /// Adds what was last heard to the error of a call, which often only knows that time is up.
    pub(super) fn explain(&self, error: Error) -> Error {
        let last = self.last.lock();
        let Some((_, reason)) = &*last else {
            return error;
        };
        if self.refused(&last) {
            return Error::new(Kind::Invalid, codes::PERMISSION, "kafka refuses the login")
                .detail(reason.clone())
                .hint("look at sasl_mechanism, sasl_username, sasl_password and the ssl options");
        }
        error.detail(reason.clone())
    }

    /// Whether trying again is of no use: the broker has refused the login or the certificate.
    pub(super) fn is_refused(&self) -> bool {
        self.refused(&self.last.lock())
    }

    fn refused(&self, last: &Option<(RDKafkaErrorCode, String)>) -> bool {
        use RDKafkaErrorCode as Code;
        let refusals = [
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::SSL,
        ];
        // A certificate that the broker does not take, or misses, ends the line as a fault would.
        let is_alert = |reason: &str| reason.contains("alert") && reason.contains("certificate");
        last.as_ref()
            .is_some_and(|(code, reason)| refusals.contains(code) || is_alert(reason))
    }
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!("{}: kafka {facility}: {message}", self.owner);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        // Every broker tells of its own end; that all are gone says nothing of why. The end of a
        // partition is no error.
        if matches!(
            code,
            RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::PartitionEOF
        ) {
            return;
        }
        let mut last = self.last.lock();
        if last.as_ref().is_none_or(|(known, _)| *known != code) {
            tracing::warn!("{}: kafka: {reason}; trying again", self.owner);
        }
        *last = Some((code, reason.to_owned()));
    }
}

impl ConsumerContext for Context {}
