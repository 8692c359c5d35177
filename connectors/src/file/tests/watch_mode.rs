//! A watched folder: each file once, in the order of their time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use weir_engine::env::{BoxFuture, Clock};
use weir_engine::source::Boundedness;

use super::*;

fn set_age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - seconds);
    file.set_modified(time).unwrap();
}

#[tokio::test]
async fn new_files_come_once_and_by_time() {
    let mut case = Case::new("in").columns(&[("id", DataType::Int64)]);
    case = case
        .option("watch", "true")
        .option("format", "csv")
        .option("poll_interval", "100ms");
    case.streaming = true;
    let source = case.open().await.unwrap();
    assert_eq!(
        source.boundedness(),
        Boundedness::Unbounded(Duration::from_millis(100))
    );
    assert!(
        source.discover().await.unwrap().is_empty(),
        "the folder need not exist yet"
    );
    let case = case.file("in/b.csv", "id\n1\n").file("in/a.csv", "id\n2\n");
    set_age(&case.path("in/b.csv"), 20);
    set_age(&case.path("in/a.csv"), 10);
    assert_eq!(case.read_all(&source).await.unwrap().ints(0), [1, 2]);
    assert!(source.discover().await.unwrap().is_empty());
    let case = case
        .file("in/c.csv", "id\n3\n")
        .file("in/a.csv", "id\n2\n9\n");
    assert_eq!(
        case.read_all(&source).await.unwrap().ints(0),
        [3],
        "a taken file is not read again"
    );
}

/// A clock that stands at a file's time, and on whose first wait the file grows.
#[derive(Debug)]
struct WritingClock {
    path: PathBuf,
    waited: AtomicBool,
}

impl Clock for WritingClock {
    fn now_micros(&self) -> i64 {
        let modified = std::fs::metadata(&self.path).unwrap().modified().unwrap();
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let waited = i64::from(self.waited.load(Ordering::Relaxed));
        i64::try_from(since.as_micros()).unwrap() + waited * 1_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> BoxFuture<()> {
        self.waited.store(true, Ordering::Relaxed);
        std::fs::write(&self.path, "id\n1\n2\n").unwrap();
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_file_that_is_written_to_is_left_for_later() {
    let mut case = Case::new("")
        .columns(&[("id", DataType::Int64)])
        .option("format", "csv");
    case = case.option("watch", "true").file("a.csv", "id\n1\n");
    case.streaming = true;
    let clock = WritingClock {
        path: case.path("a.csv"),
        waited: AtomicBool::new(false),
    };
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    case.env = Env::new(Arc::new(clock), Arc::new(spawner), 1);
    let source = case.open().await.unwrap();
    assert!(source.discover().await.unwrap().is_empty());
    assert_eq!(case.read_all(&source).await.unwrap().ints(0), [1, 2]);
}

#[tokio::test]
async fn a_batch_job_does_not_watch() {
    let case = Case::new("a.csv")
        .file("a.csv", "id\n1\n")
        .option("watch", "true");
    assert_eq!(
        case.open().await.unwrap().boundedness(),
        Boundedness::Bounded
    );
}
