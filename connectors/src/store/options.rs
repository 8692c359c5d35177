//! The options of each store, defined once for sources and sinks.

use weir_engine::options::{OptionKind, OptionSpec};

use super::Scheme;

/// The place: every file source and file sink has it.
pub const PATH: OptionSpec = OptionSpec::required(
    "path",
    OptionKind::Text,
    "File, folder, glob (data/**/*.parquet) or URL; a sink takes a folder.",
);

const RETRY: OptionSpec = OptionSpec::default(
    "retry_timeout",
    OptionKind::Duration,
    "3 minutes",
    "How long one call is repeated when the store does not answer; 3 minutes at most.",
);

const ALLOW_HTTP: OptionSpec = OptionSpec::optional(
    "allow_http",
    OptionKind::Bool,
    "Whether plain HTTP may be used; true when the endpoint is http://.",
);

const FILE: &[OptionSpec] = &[PATH];

const S3: &[OptionSpec] = &[
    PATH,
    OptionSpec::optional(
        "endpoint",
        OptionKind::Text,
        "URL of an S3-compatible server such as MinIO; AWS_ENDPOINT_URL when not given.",
    ),
    OptionSpec::optional(
        "region",
        OptionKind::Text,
        "Region; AWS_REGION when not given.",
    ),
    OptionSpec::optional(
        "access_key_id",
        OptionKind::Text,
        "Access key; AWS_ACCESS_KEY_ID, a role or the instance's own when not given.",
    ),
    OptionSpec::optional(
        "secret_access_key",
        OptionKind::Secret,
        "Secret key; AWS_SECRET_ACCESS_KEY when not given.",
    ),
    OptionSpec::optional(
        "session_token",
        OptionKind::Secret,
        "Token of temporary credentials.",
    ),
    ALLOW_HTTP,
    OptionSpec::optional(
        "path_style",
        OptionKind::Bool,
        "Whether the bucket is in the path instead of the host; true when an endpoint is given.",
    ),
    OptionSpec::default(
        "unsigned",
        OptionKind::Bool,
        "false",
        "Whether requests go without a signature: for public buckets.",
    ),
    RETRY,
];

const GCS: &[OptionSpec] = &[
    PATH,
    OptionSpec::optional(
        "service_account_path",
        OptionKind::Text,
        "File with the service account; GOOGLE_SERVICE_ACCOUNT or the default credentials when not given.",
    ),
    OptionSpec::optional(
        "service_account_key",
        OptionKind::Secret,
        "The service account itself, as JSON.",
    ),
    OptionSpec::optional(
        "endpoint",
        OptionKind::Text,
        "URL of another server than Google's.",
    ),
    ALLOW_HTTP,
    OptionSpec::default(
        "unsigned",
        OptionKind::Bool,
        "false",
        "Whether requests go without a signature: for public buckets.",
    ),
    RETRY,
];

const AZURE: &[OptionSpec] = &[
    PATH,
    OptionSpec::optional(
        "account",
        OptionKind::Text,
        "Storage account; AZURE_STORAGE_ACCOUNT_NAME when not given.",
    ),
    OptionSpec::optional(
        "access_key",
        OptionKind::Secret,
        "Access key; AZURE_STORAGE_ACCOUNT_KEY or the environment's identity when not given.",
    ),
    OptionSpec::optional(
        "endpoint",
        OptionKind::Text,
        "URL of another server than Azure's.",
    ),
    OptionSpec::default(
        "use_emulator",
        OptionKind::Bool,
        "false",
        "Whether the server is Azurite on this machine.",
    ),
    ALLOW_HTTP,
    OptionSpec::default(
        "unsigned",
        OptionKind::Bool,
        "false",
        "Whether requests go without a signature: for public containers.",
    ),
    RETRY,
];

/// The options of a store, `path` included.
pub fn options(scheme: Scheme) -> &'static [OptionSpec] {
    match scheme {
        Scheme::File => FILE,
        Scheme::S3 => S3,
        Scheme::Gcs => GCS,
        Scheme::Azure => AZURE,
    }
}
