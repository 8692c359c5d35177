//! Where files are: the local disk, S3, Google Cloud Storage or Azure, from a `path` option.
//!
//! A [`Location`] is a store and a place in it. Calls are retried within the bounds of
//! [`weir_engine::limits`]; what remains wrong is told by [`error`] with the code that says what
//! to do. Nothing here prints a secret: [`Location::url`] is the path as the script has it.

use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use url::Url;
use weir_engine::Error;
use weir_engine::Result;
use weir_engine::error::{Kind, codes};
use weir_engine::options::Options;

mod cloud;
mod failure;
mod health;
mod line;
mod options;
#[cfg(test)]
mod tests;

pub use failure::{error, io_error, is_unanswered};
pub use options::{PATH, options};

/// The kind of a store; one connector each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// The local disk.
    File,
    /// S3 and what speaks its protocol: MinIO, Ceph, R2.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Scheme {
    /// The connector's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }

    /// How URLs of this kind begin.
    fn prefix(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// The scheme of a URL; `None` when no connector has it.
    pub(crate) fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "file" => Some(Self::File),
            "s3" | "s3a" => Some(Self::S3),
            "gs" | "gcs" => Some(Self::Gcs),
            "az" | "azure" | "abfs" | "abfss" | "adl" | "wasb" | "wasbs" => Some(Self::Azure),
            _ => None,
        }
    }

    /// How a path of this kind is written.
    fn example(self) -> &'static str {
        match self {
            Self::File => "data/*.parquet",
            Self::S3 => "s3://bucket/folder/*.parquet",
            Self::Gcs => "gs://bucket/folder/*.parquet",
            Self::Azure => "az://container/folder/*.parquet",
        }
    }
}

/// A place in a store.
#[derive(Debug, Clone)]
pub struct Location {
    /// The store. For local files its root is `/`.
    pub store: Arc<dyn ObjectStore>,
    /// The place in the store; it may hold the signs of a glob, which only a source reads as one.
    pub path: Path,
    /// The kind of the store.
    pub scheme: Scheme,
    /// The place as the script has it, for people; it holds no secret.
    pub url: String,
    /// The store's part of a URL: `s3://bucket`; empty for local files.
    pub base: String,
    /// The absolute path, for local files.
    pub local_root: Option<PathBuf>,
    /// The store's multipart uploads; `None` for local files.
    pub multipart: Option<Multipart>,
}

/// The multipart uploads of a store, which `Arc<dyn ObjectStore>` does not show: a sink completes
/// them only when its work is committed.
#[derive(Clone)]
pub struct Multipart(pub Arc<dyn MultipartStore>);

impl std::fmt::Debug for Multipart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Multipart")
    }
}

impl Location {
    /// Opens the place that the option `path` names, with the options of [`options`].
    pub fn open(scheme: Scheme, options: &Options) -> Result<Self> {
        let text = options.need("path")?.trim();
        if text.is_empty() {
            return Err(options.invalid("path", "is empty"));
        }
        let given = text.split_once("://").map(|(scheme, _)| scheme);
        match (scheme, given) {
            (Scheme::File, None) => Self::local(text, FsPath::new(text)),
            (Scheme::File, Some("file")) => {
                let url = Url::parse(text)
                    .ok()
                    .and_then(|url| url.to_file_path().ok());
                let path = url.ok_or_else(|| {
                    options
                        .invalid("path", format!("'{text}' is not a file URL"))
                        .hint("write file:///absolute/path, or the path alone without file://")
                })?;
                Self::local(text, &path)
            }
            (_, Some(given)) if Scheme::of(given) == Some(scheme) => {
                Self::cloud(scheme, text, options)
            }
            (_, given) => Err(wrong_scheme(scheme, given, text, options)),
        }
    }

    /// Makes a place on the local disk; `url` is how it is shown.
    pub fn local(url: &str, path: &FsPath) -> Result<Self> {
        let absolute = std::path::absolute(path).map_err(|e| io_error(e, url))?;
        let absolute = normal(&absolute);
        // A key holds the path as it is: globs and signs that URLs escape are part of names.
        let key = absolute.to_str().ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                codes::OPTION,
                format!("the path {url} is not UTF-8"),
            )
        })?;
        let key = Path::parse(key).map_err(|e| bad_path(url, &e))?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            path: key,
            scheme: Scheme::File,
            url: url.to_owned(),
            base: String::new(),
            local_root: Some(absolute),
            multipart: None,
        })
    }

    fn cloud(scheme: Scheme, text: &str, options: &Options) -> Result<Self> {
        // Not parsed as a URL: `#`, `?`, `%` and glob signs are part of a key.
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(options
                .invalid("path", format!("'{text}' names no bucket"))
                .hint(format!("write for instance {}", scheme.example())));
        }
        let path = Path::parse(key.trim_end_matches('/')).map_err(|e| bad_path(text, &e))?;
        let shown = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let (store, multipart) = cloud::open(scheme, bucket, options)?;
        Ok(Self {
            store,
            path,
            scheme,
            url: text.to_owned(),
            base: format!("{shown}://{bucket}"),
            local_root: None,
            multipart: Some(multipart),
        })
    }

    /// Shows a place in the same store as people would write it.
    pub fn show(&self, path: &Path) -> String {
        format!("{}/{path}", self.base)
    }
}

/// Takes `.` and `..` out of an absolute path without asking the disk: the place may not exist yet.
fn normal(path: &FsPath) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

fn bad_path(url: &str, error: &object_store::path::Error) -> Error {
    Error::new(
        Kind::Invalid,
        codes::OPTION,
        format!("the path {url} cannot be used"),
    )
    .detail(error.to_string())
    .hint("a path has no empty parts (//) and no control characters")
}

fn wrong_scheme(scheme: Scheme, given: Option<&str>, text: &str, options: &Options) -> Error {
    let error = options.invalid(
        "path",
        format!("'{text}' is not a place in {}", scheme.name()),
    );
    match given.map(|given| (given, Scheme::of(given))) {
        Some((_, Some(other))) => error.hint(format!("use connector = '{}'", other.name())),
        Some((given, None)) => error.hint(format!(
            "no connector reads {given}://; known: file, s3, gcs, azure"
        )),
        None => error.hint(format!("write for instance {}", scheme.example())),
    }
}
