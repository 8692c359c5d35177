//! The options of message formats, which connectors put into their own tables.

use std::time::Duration;

use weir_engine::Result;
use weir_engine::deviation::Deviations;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::options::{OptionKind, OptionSpec, Options};

use crate::file::FileConfig;

const FORMAT: OptionSpec = OptionSpec::default(
    "format",
    OptionKind::OneOf(&["json", "csv", "raw", "avro", "protobuf", "debezium-json"]),
    "json",
    "Format of the messages: json is one object per message, csv one record, raw the bytes as they are in one column; \
     avro and protobuf go by a schema registry or a schema file; debezium-json is a changelog.",
);

const SINK_FORMAT: OptionSpec = OptionSpec::default(
    "format",
    OptionKind::OneOf(&["json", "csv", "raw", "avro", "debezium-json"]),
    "json",
    "Format of the messages: one row each; debezium-json takes a changelog, avro needs a schema registry.",
);

const DELIMITER: OptionSpec = OptionSpec::default(
    "delimiter",
    OptionKind::Text,
    ",",
    "CSV: the one character between fields; \\t is a tab.",
);

const REGISTRY: OptionSpec = OptionSpec::optional(
    "schema_registry",
    OptionKind::Text,
    "Avro, Protobuf: URL of a schema registry with Confluent's REST interface.",
);

const REGISTRY_USER: OptionSpec = OptionSpec::optional(
    "schema_registry_user",
    OptionKind::Text,
    "User name or API key at the schema registry.",
);

const REGISTRY_PASSWORD: OptionSpec = OptionSpec::optional(
    "schema_registry_password",
    OptionKind::Secret,
    "Password or API secret at the schema registry.",
);

const REGISTRY_TOKEN: OptionSpec = OptionSpec::optional(
    "schema_registry_token",
    OptionKind::Secret,
    "Bearer token for the schema registry, instead of user and password.",
);

const REGISTRY_SUBJECT: OptionSpec = OptionSpec::optional(
    "schema_registry_subject",
    OptionKind::Text,
    "Subject in the schema registry; the topic's name with -value when not given.",
);

const REGISTRY_TIMEOUT: OptionSpec = OptionSpec::default(
    "schema_registry_timeout",
    OptionKind::Duration,
    "60 seconds",
    "How long one question to the schema registry is retried at most when it does not answer.",
);

/// The options of formats that sources read.
pub const SOURCE_OPTIONS: &[OptionSpec] = &[
    FORMAT,
    DELIMITER,
    OptionSpec::default(
        "quote",
        OptionKind::Text,
        "\"",
        "CSV: the one character around fields.",
    ),
    OptionSpec::optional(
        "escape",
        OptionKind::Text,
        "CSV: the one character before a quote inside quotes; a doubled quote when not given.",
    ),
    OptionSpec::optional(
        "null_value",
        OptionKind::Text,
        "CSV: what stands for NULL beside an empty field; several are separated by |.",
    ),
    OptionSpec::optional(
        "timestamp_format",
        OptionKind::Text,
        "JSON, CSV: form of declared timestamps, as strftime or epoch_seconds, epoch_millis, epoch_micros.",
    ),
    REGISTRY,
    REGISTRY_USER,
    REGISTRY_PASSWORD,
    REGISTRY_TOKEN,
    REGISTRY_SUBJECT,
    REGISTRY_TIMEOUT,
    OptionSpec::optional(
        "avro_schema_file",
        OptionKind::Text,
        "Avro: file with the schema (.avsc) of messages without a registry's header, or, with a registry, the reader's schema.",
    ),
    OptionSpec::optional(
        "proto_file",
        OptionKind::Text,
        "Protobuf: file with the message's definition (.proto); imports are looked for beside it. Not needed with a registry.",
    ),
    OptionSpec::optional(
        "proto_message",
        OptionKind::Text,
        "Protobuf: full name of the message type; the first of the file when not given.",
    ),
];

/// The options of formats that sinks write.
pub const SINK_OPTIONS: &[OptionSpec] = &[
    SINK_FORMAT,
    DELIMITER,
    REGISTRY,
    REGISTRY_USER,
    REGISTRY_PASSWORD,
    REGISTRY_TOKEN,
    REGISTRY_SUBJECT,
    REGISTRY_TIMEOUT,
];

/// A format of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// One JSON object per message.
    Json,
    /// One CSV record per message.
    Csv,
    /// The bytes as they are.
    Raw,
    /// Avro's binary form.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// Debezium's change events in JSON.
    DebeziumJson,
}

impl FormatName {
    /// The word of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Raw => "raw",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
            Self::DebeziumJson => "debezium-json",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Json,
            Self::Csv,
            Self::Raw,
            Self::Avro,
            Self::Protobuf,
            Self::DebeziumJson,
        ];
        all.into_iter().find(|format| format.name() == name)
    }
}

/// Where the schema registry is, and who asks.
#[derive(Clone)]
pub(super) struct RegistryOptions {
    /// The URL, without a user in it.
    pub(super) url: url::Url,
    /// Who asks.
    pub(super) login: Login,
    /// The subject of the values.
    pub(super) subject: String,
    /// How long one question is retried.
    pub(super) retry_time: Duration,
}

/// How a registry knows who asks.
#[derive(Clone)]
pub(super) enum Login {
    /// It does not.
    None,
    /// User and password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

impl std::fmt::Debug for RegistryOptions {
    /// Names the place, never the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("url", &self.url.as_str())
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// What the options say of the format.
#[derive(Debug, Clone)]
pub struct FormatOptions {
    pub(super) format: FormatName,
    /// The dialect of CSV and the form of timestamps.
    pub(super) text: FileConfig,
    pub(super) registry: Option<RegistryOptions>,
    pub(super) avro_schema_file: Option<String>,
    pub(super) proto_file: Option<String>,
    pub(super) proto_message: Option<String>,
    /// What a source does about messages that are not as declared.
    pub deviations: Deviations,
}

impl FormatOptions {
    /// Reads the options of a source or sink over a topic.
    pub fn new(options: &Options, topic: &str) -> Result<Self> {
        let format = options.text("format").and_then(FormatName::named);
        let format = format.ok_or_else(|| options.invalid("format", "is no format of messages"))?;
        let owned = |name: &str| options.text(name).map(str::to_owned);
        let made = Self {
            format,
            text: FileConfig::new(options)?,
            registry: registry(options, topic)?,
            avro_schema_file: owned("avro_schema_file"),
            proto_file: owned("proto_file"),
            proto_message: owned("proto_message"),
            deviations: Deviations::default(),
        };
        let unused = [
            ("schema_registry", made.takes_registry()),
            ("avro_schema_file", format == FormatName::Avro),
            ("proto_file", format == FormatName::Protobuf),
            ("proto_message", format == FormatName::Protobuf),
        ];
        for (name, used) in unused {
            if !used && options.is_given(name) {
                let why = format!("has no meaning for format '{}'", format.name());
                return Err(options.invalid(name, why));
            }
        }
        Ok(made)
    }

    /// The format.
    pub fn format(&self) -> FormatName {
        self.format
    }

    fn takes_registry(&self) -> bool {
        matches!(self.format, FormatName::Avro | FormatName::Protobuf)
    }

    /// The error of a format that lacks an option.
    pub(super) fn lacks(&self, what: &str) -> Error {
        Error::new(
            Kind::Invalid,
            codes::OPTION,
            format!("format '{}' needs {what}", self.format.name()),
        )
    }
}

fn registry(options: &Options, topic: &str) -> Result<Option<RegistryOptions>> {
    let Some(text) = options.text("schema_registry") else {
        return Ok(None);
    };
    let invalid = |why: &str| options.invalid("schema_registry", why);
    let mut url = url::Url::parse(text).map_err(|_| invalid("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid("is not an http:// or https:// URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // It would be shown wherever the URL is.
        return Err(invalid("must not hold a user or password")
            .hint("use schema_registry_user and schema_registry_password"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let text = |name: &str| options.text(name).map(str::to_owned);
    let login = match (
        text("schema_registry_user"),
        text("schema_registry_password"),
        text("schema_registry_token"),
    ) {
        (None, None, None) => Login::None,
        (None, None, Some(token)) => Login::Bearer(token),
        (Some(user), password, None) => Login::Basic(user, password.unwrap_or_default()),
        (None, Some(_), None) => {
            return Err(options.invalid("schema_registry_user", "is needed with a password"));
        }
        _ => {
            let why = "cannot be used together with a user and password";
            return Err(options.invalid("schema_registry_token", why));
        }
    };
    Ok(Some(RegistryOptions {
        url,
        login,
        subject: text("schema_registry_subject").unwrap_or_else(|| format!("{topic}-value")),
        retry_time: options
            .duration("schema_registry_timeout")
            .unwrap_or(Duration::from_secs(60)),
    }))
}
