//! S3 that is wrong, refuses, goes away and comes back.

use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;

use crate::program::{Place, block_on};
use crate::servers::minio::Minio;
use crate::servers::proxy::Proxy;

const ROWS: usize = 2_000;

/// CSV rows `id,name` with ids from `first`.
fn rows(first: usize) -> String {
    let rows: String = (first..first + ROWS)
        .map(|id| format!("{id},name {id}\n"))
        .collect();
    format!("id,name\n{rows}")
}

fn script(source: &str, sink: &str) -> String {
    format!(
        "CREATE SOURCE input (id BIGINT, name VARCHAR) WITH ({source}, format = 'csv', on_error = 'fail');
        CREATE SINK output WITH ({sink}, format = 'parquet') AS SELECT id, name FROM input;"
    )
}

/// The objects of a bucket below a folder.
fn objects(minio: &Minio, bucket: &str, folder: &str) -> Vec<String> {
    let store = minio.store(bucket);
    let prefix = object_store::path::Path::from(folder);
    let listed = block_on(store.list(Some(&prefix)).try_collect::<Vec<_>>()).unwrap();
    listed
        .into_iter()
        .map(|object| object.location.to_string())
        .collect()
}

#[test]
fn missing_bucket_is_an_error_with_its_name() {
    let minio = Minio::shared();
    let place = Place::new();
    place.write("in/a.csv", rows(0));
    let missing = format!(
        "connector = 's3', path = 's3://weir-no-such-bucket/x/', {}",
        minio.options()
    );
    let from = script(&missing, "connector = 'file', path = 'out'");
    place
        .run(&from, &[])
        .fails_with("E0204", &["weir-no-such-bucket"]);
    assert!(place.files("out").is_empty());
    let to = script("connector = 'file', path = 'in/'", &missing);
    place
        .run(&to, &[])
        .fails_with("E0204", &["weir-no-such-bucket"]);
}

#[test]
fn missing_object_is_an_error_with_its_path() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let place = Place::new();
    let source = format!(
        "connector = 's3', path = 's3://{bucket}/none/*.csv', {}",
        minio.options()
    );
    let script = script(&source, "connector = 'file', path = 'out'");
    place.run(&script, &[]).fails_with("E0204", &["none/"]);
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    minio.put(&bucket, "in/a.csv", rows(0).into_bytes());
    let wrong = format!(
        "connector = 's3', path = 's3://{bucket}/in/', endpoint = '{}', region = 'us-east-1', \
         access_key_id = 'nobody', secret_access_key = 'not-the-secret'",
        minio.endpoint
    );
    let place = Place::new();
    place.write("in/a.csv", rows(0));
    for text in [
        script(&wrong, "connector = 'file', path = 'out'"),
        script("connector = 'file', path = 'in/'", &wrong),
    ] {
        let ended = place.run(&text, &[]).fails_with("E0205", &[&bucket]);
        assert!(
            !ended.err.contains("not-the-secret"),
            "the secret is shown:\n{}",
            ended.err
        );
    }
    assert!(place.files("out").is_empty());
}

#[test]
fn store_that_never_answers_is_an_error_and_no_hang() {
    let place = Place::new();
    // Port 9 (discard) is closed on every machine that runs tests.
    let source = "connector = 's3', path = 's3://b/in/', endpoint = 'http://127.0.0.1:9', region = 'x', \
                  access_key_id = 'a', secret_access_key = 'b', retry_timeout = '4 seconds'";
    let script = script(source, "connector = 'file', path = 'out'");
    place
        .run(&script, &[])
        .fails_with("E0206", &["127.0.0.1:9", "s3://b has not answered for"]);
}

/// The line to the store is cut while a stream is running; what arrives meanwhile waits, and when
/// the line is back everything is there, once.
#[test]
fn store_that_goes_away_and_comes_back_loses_nothing() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    let proxy = Proxy::start(minio.host());
    let place = Place::new();
    place.put("in/1.csv", rows(0));
    let sink = format!(
        "connector = 's3', path = 's3://{bucket}/out/', roll_interval = '300ms', {}",
        minio.options_at(&proxy.endpoint())
    );
    let script = script(
        "connector = 'file', path = 'in/', watch = 'true', poll_interval = '100ms'",
        &sink,
    );
    let mut running = place.start(&script, &["--mode", "streaming", "--summary", "json"]);
    let wait = Duration::from_secs(60);
    running.until(wait, "first file on S3", || {
        !objects(&minio, &bucket, "out").is_empty()
    });
    proxy.cut();
    place.put("in/2.csv", rows(ROWS));
    running.until(wait, "attempt while the line is cut", || {
        proxy.refused() > 0
    });
    proxy.restore();
    let before = objects(&minio, &bucket, "out").len();
    running.until(wait, "file after the line is back", || {
        objects(&minio, &bucket, "out").len() > before
    });
    running.signal("INT");
    running.wait().ok();
    let copied = read_ids(&minio, &bucket);
    assert_eq!(copied, (0..2 * ROWS as i64).collect::<Vec<_>>());
}

/// The same for a source on S3: the listing and the reading go on when the line is back.
#[test]
fn source_on_a_store_that_goes_away_goes_on() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    minio.put(&bucket, "in/1.csv", rows(0).into_bytes());
    let proxy = Proxy::start(minio.host());
    let place = Place::new();
    let source = format!(
        "connector = 's3', path = 's3://{bucket}/in/', watch = 'true', poll_interval = '100ms', {}",
        minio.options_at(&proxy.endpoint())
    );
    let sink = "connector = 'file', path = 'out', roll_interval = '300ms'";
    let mut running = place.start(&script(&source, sink), &["--mode", "streaming"]);
    let wait = Duration::from_secs(60);
    running.until(wait, "first file", || visible(&place) > 0);
    proxy.cut();
    minio.put(&bucket, "in/2.csv", rows(ROWS).into_bytes());
    running.until(wait, "attempt while the line is cut", || {
        proxy.refused() > 0
    });
    proxy.restore();
    let before = visible(&place);
    running.until(wait, "second file", || visible(&place) > before);
    running.signal("INT");
    running.wait().ok();
    for found in crate::checker::read(&place.path().join("out")) {
        assert_eq!(found.rows(), 2 * ROWS as u64, "{}", found.reader);
        assert_eq!(found.sum("id"), (2 * ROWS * (2 * ROWS - 1) / 2) as f64);
    }
}

fn visible(place: &Place) -> usize {
    place
        .files("out")
        .iter()
        .filter(|file| file.ends_with(".parquet"))
        .count()
}

/// All ids in the files of `out/`, in order.
fn read_ids(minio: &Minio, bucket: &str) -> Vec<i64> {
    use arrow::array::AsArray as _;
    let batches = crate::property::read_back(&minio.store(bucket), "out");
    let mut ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name("id").unwrap();
            column
                .as_primitive::<arrow::datatypes::Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    ids.sort_unstable();
    ids
}
