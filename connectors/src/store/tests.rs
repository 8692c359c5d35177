//! Tests of locations, options and errors.

use std::collections::BTreeMap;
use std::io;

use weir_engine::error::codes;
use weir_engine::options::{OptionValue, Options};
use weir_engine::{Error, Result};

use super::{Location, Scheme, error, io_error, options};

fn open(scheme: Scheme, given: &[(&str, &str)]) -> Result<Location> {
    let given: BTreeMap<String, OptionValue> = given
        .iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                OptionValue {
                    text: (*text).to_owned(),
                    place: None,
                },
            )
        })
        .collect();
    let owner = format!("connector '{}'", scheme.name());
    Location::open(scheme, &Options::check(&owner, &[options(scheme)], given)?)
}

fn refused(scheme: Scheme, given: &[(&str, &str)]) -> Error {
    open(scheme, given).expect_err("it should be refused")
}

#[test]
fn local_paths() {
    let location = open(Scheme::File, &[("path", "/tmp/a/../b/./*.csv")]).unwrap();
    assert_eq!(location.path.as_ref(), "tmp/b/*.csv");
    assert_eq!(
        location.local_root.as_deref(),
        Some(std::path::Path::new("/tmp/b/*.csv"))
    );
    assert_eq!(location.url, "/tmp/a/../b/./*.csv");
    let location = open(Scheme::File, &[("path", "file:///tmp/a%20b.csv")]).unwrap();
    assert_eq!(location.path.as_ref(), "tmp/a b.csv");
    assert_eq!(
        refused(Scheme::File, &[("path", " ")]).code(),
        codes::OPTION
    );
    assert_eq!(refused(Scheme::File, &[]).code(), codes::OPTION);
}

const KEYS: [(&str, &str); 2] = [
    ("access_key_id", "id"),
    ("secret_access_key", "hidden-secret"),
];

#[test]
fn bucket_paths() {
    let given = [
        ("path", "s3://lake/a b/#1/*.csv"),
        ("endpoint", "http://localhost:9000"),
        KEYS[0],
        KEYS[1],
    ];
    let location = open(Scheme::S3, &given).unwrap();
    assert_eq!(location.path.as_ref(), "a b/#1/*.csv");
    assert_eq!(location.show(&location.path), "s3://lake/a b/#1/*.csv");
    assert!(!location.url.contains("secret"));
    for (scheme, path, hint) in [
        (Scheme::S3, "lake/x.csv", "s3://"),
        (Scheme::S3, "gs://lake/x.csv", "connector = 'gcs'"),
        (Scheme::Gcs, "http://lake/x.csv", "http://"),
        (Scheme::S3, "s3:///x.csv", "s3://bucket"),
    ] {
        let error = refused(scheme, &[("path", path)]);
        assert_eq!(error.code(), codes::OPTION, "{path}");
        assert!(
            error.hint_text().unwrap().contains(hint),
            "{path}: {error:?}"
        );
    }
    let error = refused(
        Scheme::S3,
        &[
            ("path", "s3://lake/x"),
            ("endpoint", "localhost:9000"),
            KEYS[0],
            KEYS[1],
        ],
    );
    assert!(error.hint_text().unwrap().contains("http://localhost:9000"));
    assert!(!error.report(None).contains("hidden-secret"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_after_the_retries() {
    let path = ("path", "s3://lake/x");
    let given = [
        path,
        ("endpoint", "http://127.0.0.1:9"),
        ("retry_timeout", "100ms"),
        KEYS[0],
        KEYS[1],
    ];
    let location = open(Scheme::S3, &given).unwrap();
    let failed = location.store.list_with_delimiter(None).await.unwrap_err();
    assert_eq!(error(failed, "s3://lake/x").code(), codes::UNAVAILABLE);
}

#[test]
fn errors_say_what_to_do() {
    let of = |kind| io_error(io::Error::from(kind), "a.csv").code();
    assert_eq!(of(io::ErrorKind::NotFound), codes::NOT_FOUND);
    assert_eq!(of(io::ErrorKind::PermissionDenied), codes::PERMISSION);
    assert_eq!(of(io::ErrorKind::StorageFull), codes::DISK);
    assert_eq!(of(io::ErrorKind::TimedOut), codes::UNAVAILABLE);
    let generic = |store, text: &str| object_store::Error::Generic {
        store,
        source: text.into(),
    };
    let of = |text| error(generic("S3", text), "s3://b/k").code();
    assert_eq!(
        of("status code: 403 Forbidden: SignatureDoesNotMatch"),
        codes::PERMISSION
    );
    assert_eq!(
        of("status code: 404: <Code>NoSuchBucket</Code>"),
        codes::NOT_FOUND
    );
    assert_eq!(of("connection refused"), codes::UNAVAILABLE);
    let full = object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
    };
    assert_eq!(error(full, "out.parquet").code(), codes::DISK);
}
