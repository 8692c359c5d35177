//! Opens the clients of S3, Google Cloud Storage and Azure from options, with bounded retries.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use weir_engine::error::{Kind, codes};
use weir_engine::limits;
use weir_engine::options::Options;
use weir_engine::{Error, Result};

use super::line::Connector;
use super::{Multipart, Scheme};

/// Longest time to wait for a connection: a host that drops packets is a peer that does not answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest time for one request and its answer; the retries come on top.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// A store, and its multipart uploads.
type Opened = (Arc<dyn ObjectStore>, Multipart);

fn both<T: ObjectStore + MultipartStore>(store: T) -> Opened {
    let store = Arc::new(store);
    (Arc::<T>::clone(&store), Multipart(store))
}

/// Opens the store of a bucket or container.
pub(super) fn open(scheme: Scheme, bucket: &str, options: &Options) -> Result<Opened> {
    match scheme {
        Scheme::File => Err(Error::internal("a local file has no bucket")),
        Scheme::S3 => s3(bucket, options),
        Scheme::Gcs => gcs(bucket, options),
        Scheme::Azure => azure(bucket, options),
    }
}

/// The time bounds the attempts: the waits grow to 10 s at most, so that a store that is back is
/// noticed soon. The option shortens the time for whoever wants to know at once.
fn retry(options: &Options) -> RetryConfig {
    let time = options
        .duration("retry_timeout")
        .unwrap_or(limits::IO_RETRY_TIME_MAX);
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(300),
            max_backoff: Duration::from_secs(10),
            base: 3.0,
        },
        max_retries: limits::STORE_ATTEMPTS_MAX - 1,
        retry_timeout: time.min(limits::IO_RETRY_TIME_MAX),
    }
}

fn endpoint(options: &Options, variable: &[&str]) -> Option<String> {
    let given = options.text("endpoint").map(str::to_owned);
    given.or_else(|| variable.iter().find_map(|name| std::env::var(name).ok()))
}

fn check_endpoint(options: &Options, endpoint: &str) -> Result<()> {
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        return Ok(());
    }
    Err(options
        .invalid("endpoint", format!("'{endpoint}' is not a URL"))
        .hint(format!("write http://{endpoint} or https://{endpoint}")))
}

fn client(options: &Options, endpoint: Option<&str>) -> ClientOptions {
    let http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let allowed = if options.is_given("allow_http") {
        options.bool("allow_http")
    } else {
        http
    };
    ClientOptions::new()
        .with_allow_http(allowed)
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_timeout(REQUEST_TIME_MAX)
}

/// What people are told of the store's calls goes under this name.
fn line(scheme: Scheme, bucket: &str) -> Connector {
    Connector::new(format!("{}://{bucket}", scheme.prefix()))
}

fn s3(bucket: &str, options: &Options) -> Result<Opened> {
    let endpoint = endpoint(
        options,
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
    );
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry(options))
        .with_http_connector(line(Scheme::S3, bucket))
        .with_client_options(client(options, endpoint.as_deref()));
    if let Some(endpoint) = &endpoint {
        check_endpoint(options, endpoint)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let Some(region) = options.text("region") {
        builder = builder.with_region(region);
    }
    if let Some(key) = options.text("access_key_id") {
        builder = builder.with_access_key_id(key);
    }
    if let Some(key) = options.text("secret_access_key") {
        builder = builder.with_secret_access_key(key);
    }
    if let Some(token) = options.text("session_token") {
        builder = builder.with_token(token);
    }
    let path_style = if options.is_given("path_style") {
        options.bool("path_style")
    } else {
        endpoint.is_some()
    };
    builder = builder
        .with_virtual_hosted_style_request(!path_style)
        .with_skip_signature(options.bool("unsigned"));
    // A server of one's own has no instance metadata: asking for it would only wait.
    if endpoint.is_some() && !options.bool("unsigned") && !has_s3_credentials(options) {
        return Err(Error::new(
            Kind::Invalid,
            codes::PERMISSION,
            format!("no credentials for bucket \"{bucket}\""),
        )
        .hint(
            "give access_key_id and secret_access_key, set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or say unsigned = 'true'",
        ));
    }
    Ok(both(
        builder
            .build()
            .map_err(|e| invalid(Scheme::S3, bucket, e))?,
    ))
}

fn has_s3_credentials(options: &Options) -> bool {
    options.is_given("access_key_id")
        || [
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

fn gcs(bucket: &str, options: &Options) -> Result<Opened> {
    let endpoint = endpoint(options, &[]);
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry(options))
        .with_http_connector(line(Scheme::Gcs, bucket))
        .with_client_options(client(options, endpoint.as_deref()))
        .with_skip_signature(options.bool("unsigned"));
    if let Some(path) = options.text("service_account_path") {
        builder = builder.with_service_account_path(path);
    }
    if let Some(key) = options.text("service_account_key") {
        builder = builder.with_service_account_key(key);
    }
    if let Some(endpoint) = &endpoint {
        check_endpoint(options, endpoint)?;
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    Ok(both(
        builder
            .build()
            .map_err(|e| invalid(Scheme::Gcs, bucket, e))?,
    ))
}

fn azure(container: &str, options: &Options) -> Result<Opened> {
    let endpoint = endpoint(options, &[]);
    let emulator = options.bool("use_emulator");
    let http = if emulator {
        Some("http://emulator")
    } else {
        endpoint.as_deref()
    };
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(retry(options))
        .with_http_connector(line(Scheme::Azure, container))
        .with_client_options(client(options, http))
        .with_use_emulator(emulator)
        .with_skip_signature(options.bool("unsigned"));
    if let Some(account) = options.text("account") {
        builder = builder.with_account(account);
    }
    if let Some(key) = options.text("access_key") {
        builder = builder.with_access_key(key);
    }
    if let Some(endpoint) = &endpoint {
        check_endpoint(options, endpoint)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    Ok(both(
        builder
            .build()
            .map_err(|e| invalid(Scheme::Azure, container, e))?,
    ))
}

/// What the client library refuses before any call is an option that does not fit.
fn invalid(scheme: Scheme, bucket: &str, error: object_store::Error) -> Error {
    Error::new(
        Kind::Invalid,
        codes::OPTION,
        format!(
            "the options of connector '{}' for \"{bucket}\" do not fit",
            scheme.name()
        ),
    )
    .detail(error.to_string())
    .hint(format!(
        "`weir connector show {}` lists the options",
        scheme.name()
    ))
}
