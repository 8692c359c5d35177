//! Tables written to a temporary folder and read back by their log, as any reader does.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow::datatypes::SchemaRef;
use datafusion_execution::memory_pool::UnboundedMemoryPool;
use futures::future::join_all;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tokio::sync::watch;
use weir_engine::connector::{Connector as _, SinkRequest};
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::error::{Result, codes};
use weir_engine::job::{JobContext, Stop, TaskContext};
use weir_engine::message::Epoch;
use weir_engine::metrics::{Metrics, SubtaskMetrics};
use weir_engine::options::OptionValue;
use weir_engine::sink::{CommitToken, Owner, Sink, SinkWriter, Start};

use super::DeltaConnector;

struct Rig {
    dir: tempfile::TempDir,
    env: Env,
}

/// A sink and whose it is.
struct Mine {
    sink: Arc<dyn Sink>,
    owner: Owner,
    schema: SchemaRef,
}

impl Rig {
    fn new() -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Env::new(
                Arc::new(SystemClock::default()),
                Arc::new(TokioSpawner::new(runtime.clone(), runtime)),
                0,
            ),
        }
    }

    async fn sink(&self, schema: &SchemaRef, by: &[&str], node: &str) -> Result<Mine> {
        self.sink_with(schema, by, node, &[]).await
    }

    async fn sink_with(
        &self,
        schema: &SchemaRef,
        by: &[&str],
        node: &str,
        given: &[(&str, &str)],
    ) -> Result<Mine> {
        let path = self.dir.path().join("t").to_str().unwrap().to_owned();
        let place = [("path", path.as_str())];
        let given = given.iter().chain(&place);
        let given = given.map(|(name, text)| {
            let value = OptionValue {
                text: (*text).to_owned(),
                place: None,
            };
            ((*name).to_owned(), value)
        });
        let sink = DeltaConnector
            .sink(SinkRequest {
                name: "lake".to_owned(),
                options: given.collect(),
                schema: Arc::clone(schema),
                partition_columns: by.iter().map(|column| (*column).to_owned()).collect(),
                streaming: true,
                env: self.env.clone(),
            })
            .await?;
        let owner = Owner {
            pipeline: "p".into(),
            node: node.into(),
            origin: "run1".into(),
            fence: Epoch(100),
            checkpoints: true,
        };
        sink.own(&owner);
        Ok(Mine {
            sink,
            owner,
            schema: Arc::clone(schema),
        })
    }

    async fn writer(&self, mine: &Mine) -> Box<dyn SinkWriter> {
        let context = TaskContext {
            job: JobContext {
                env: self.env.clone(),
                memory: Arc::new(UnboundedMemoryPool::default()),
                batch_rows: 8192,
                dead_letters: DeadLetters::new(Arc::new(MemoryStore::default())),
                datafusion: Arc::default(),
                metrics: Metrics::default(),
                stop: watch::channel(Stop::Run).1,
                pipeline: "p".into(),
                run_id: "run1".into(),
            },
            node: Arc::clone(&mine.owner.node),
            subtask: 0,
            parallelism: 1,
            metrics: Arc::new(SubtaskMetrics::default()),
        };
        mine.sink.writer(&mine.schema, &context).await.unwrap()
    }

    /// Prepares one row per epoch: its number.
    async fn prepare(&self, mine: &Mine, epochs: &[u64]) -> Vec<(Epoch, Vec<CommitToken>)> {
        let mut writer = self.writer(mine).await;
        let mut prepared = Vec::new();
        for epoch in epochs {
            writer.begin(Epoch(*epoch));
            let rows = rows(&[i64::try_from(*epoch).unwrap()]);
            writer.write(rows).await.unwrap();
            prepared.push((Epoch(*epoch), writer.prepare().await.unwrap()));
        }
        prepared
    }

    fn log(&self) -> Vec<Value> {
        let folder = self.dir.path().join("t/_delta_log");
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        files.sort();
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
        texts
            .flat_map(|text| {
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                lines.collect::<Vec<Value>>()
            })
            .collect()
    }

    /// What the log names in the end, as `add` actions.
    fn adds(&self) -> Vec<Value> {
        let mut adds: Vec<Value> = Vec::new();
        for action in self.log() {
            let path = &action["remove"]["path"];
            adds.retain(|add| add["path"] != *path && add["path"] != action["add"]["path"]);
            if action["add"].is_object() {
                adds.push(action["add"].clone());
            }
        }
        adds
    }

    /// The numbers in the files that the log names, in order.
    fn numbers(&self) -> Vec<i64> {
        let mut numbers = Vec::new();
        for add in self.adds() {
            let path = decoded(add["path"].as_str().unwrap());
            let rows = read(&self.dir.path().join("t").join(path));
            assert_eq!(
                add["stats"].as_str().unwrap(),
                format!("{{\"numRecords\":{}}}", rows.num_rows())
            );
            let column: &Int64Array = rows
                .column_by_name("n")
                .unwrap()
                .as_any()
                .downcast_ref()
                .unwrap();
            numbers.extend(column.values());
        }
        numbers.sort_unstable();
        numbers
    }
}

fn decoded(path: &str) -> String {
    path.replace("%20", " ").replace("%25", "%")
}

fn read(path: &Path) -> RecordBatch {
    let file = fs::File::open(path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    reader.next().unwrap().unwrap()
}

fn rows(numbers: &[i64]) -> RecordBatch {
    let texts: StringArray = numbers
        .iter()
        .map(|n| Some(format!("k{}", n % 2)))
        .collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("k", Arc::new(texts)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn commit(mine: &Mine, prepared: &[(Epoch, Vec<CommitToken>)]) {
    for (epoch, tokens) in prepared {
        mine.sink.commit(*epoch, tokens).await.unwrap();
    }
}

#[tokio::test]
async fn an_epoch_is_one_commit_however_often_it_is_repeated() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let mine = rig.sink(&schema, &["k"], "a").await.unwrap();
    mine.sink.check(&schema, Start::Fresh).await.unwrap();
    let prepared = rig.prepare(&mine, &[1, 2, 5]).await;
    assert!(rig.adds().is_empty());
    commit(&mine, &prepared).await;
    assert_eq!(rig.numbers(), [1, 2, 5]);
    let length = rig.log().len();

    // The same instance and a later one repeat them.
    commit(&mine, &prepared).await;
    let later = rig.sink(&schema, &["k"], "a").await.unwrap();
    commit(&later, &prepared).await;
    for token in prepared.iter().flat_map(|(_, tokens)| tokens) {
        later.sink.abort(token).await.unwrap();
    }
    let resumed = Start::Resumed(Epoch(5));
    later.sink.check(&schema, resumed).await.unwrap();
    assert_eq!((rig.numbers(), rig.log().len()), (vec![1, 2, 5], length));
    let epochs: Vec<i64> = rig
        .log()
        .iter()
        .filter_map(|a| a["txn"]["version"].as_i64())
        .collect();
    assert_eq!(epochs, [1, 2, 5]);
    let values: Vec<Value> = rig
        .adds()
        .iter()
        .map(|add| add["partitionValues"]["k"].clone())
        .collect();
    assert_eq!(values, ["k1", "k0", "k1"]);
}

#[tokio::test]
async fn a_crash_between_the_files_and_the_log_is_made_good() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let mine = rig.sink(&schema, &[], "a").await.unwrap();
    mine.sink.check(&schema, Start::Fresh).await.unwrap();
    let prepared = rig.prepare(&mine, &[1]).await;
    // The log cannot be reached at the first attempt, when the file is in its place already.
    let log = rig.dir.path().join("t/_delta_log");
    let aside = rig.dir.path().join("aside");
    fs::rename(&log, &aside).unwrap();
    let (epoch, tokens) = prepared.first().unwrap();
    mine.sink.commit(*epoch, tokens).await.unwrap_err();
    fs::remove_dir_all(&log).ok();
    fs::rename(&aside, &log).unwrap();
    assert!(rig.numbers().is_empty());
    let later = rig.sink(&schema, &[], "a").await.unwrap();
    commit(&later, &prepared).await;
    assert_eq!(rig.numbers(), [1]);
}

#[tokio::test]
async fn writers_that_commit_at_the_same_time_lose_nothing() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let sinks = join_all((0..3).map(async |n| {
        let mine = rig
            .sink(&schema, &["k"], &format!("node{n}"))
            .await
            .unwrap();
        mine.sink.check(&schema, Start::Fresh).await.unwrap();
        let prepared = rig.prepare(&mine, &[1, 2, 3, 4]).await;
        (mine, prepared)
    }))
    .await;
    join_all(sinks.iter().map(|(mine, prepared)| commit(mine, prepared))).await;
    let expected: Vec<i64> = (1..=4).flat_map(|n| [n; 3]).collect();
    assert_eq!(rig.numbers(), expected);
}

#[tokio::test]
async fn epochs_that_do_not_count_are_taken_out() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let other = rig.sink(&schema, &[], "other").await.unwrap();
    other.sink.check(&schema, Start::Fresh).await.unwrap();
    commit(&other, &rig.prepare(&other, &[9]).await).await;
    let mine = rig.sink(&schema, &[], "a").await.unwrap();
    let prepared = rig.prepare(&mine, &[1, 2, 3]).await;
    commit(&mine, &prepared).await;
    let later = rig.sink(&schema, &[], "a").await.unwrap();
    let resumed = Start::Resumed(Epoch(1));
    later.sink.check(&schema, resumed).await.unwrap();
    assert_eq!(rig.numbers(), [1, 9]);
    // The first instance wakes up and repeats what it had.
    commit(&mine, &prepared).await;
    assert_eq!(rig.numbers(), [1, 9]);
    commit(&later, &rig.prepare(&later, &[5]).await).await;
    assert_eq!(rig.numbers(), [1, 5, 9]);
}

#[tokio::test]
async fn a_table_that_does_not_take_the_rows_is_found_at_once() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let mine = rig.sink(&schema, &["k"], "a").await.unwrap();
    mine.sink.check(&schema, Start::Fresh).await.unwrap();
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(StringArray::from(vec!["1"]))),
        ("k", Arc::new(StringArray::from(vec!["1"]))),
    ];
    let texts = RecordBatch::try_from_iter(columns).unwrap().schema();
    for (schema, by, why) in [
        (&schema, vec![], "it is partitioned by (k)"),
        (&texts, vec!["k"], "n is long there and string here"),
    ] {
        let other = rig.sink(schema, &by, "a").await.unwrap();
        let error = other.sink.check(schema, Start::Fresh).await.unwrap_err();
        assert_eq!(error.code(), codes::SCHEMA);
        assert!(format!("{error:?}").contains(why), "{error:?}");
    }
}

#[tokio::test]
async fn types_that_tables_do_not_have_are_stored_as_those_they_have() {
    let rig = Rig::new();
    let nanos = TimestampNanosecondArray::from(vec![Some(1_700_000_000_123_456_789), None]);
    let columns: [(&str, ArrayRef); 4] = [
        ("n", Arc::new(Int64Array::from(vec![1, 2]))),
        ("u", Arc::new(UInt32Array::from(vec![u32::MAX, 0]))),
        ("at", Arc::new(nanos.clone())),
        ("day", Arc::new(nanos.with_timezone("UTC"))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema = batch.schema();
    let mine = rig.sink(&schema, &["day"], "a").await.unwrap();
    mine.sink.check(&schema, Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&mine).await;
    writer.write(batch).await.unwrap();
    // Without checkpoints each file is a commit, in any order.
    for token in writer.prepare().await.unwrap().iter().rev() {
        for _ in 0..2 {
            let token = std::slice::from_ref(token);
            mine.sink.commit(Epoch(1), token).await.unwrap();
        }
    }
    assert_eq!(rig.numbers(), [1, 2]);
    let mut days: Vec<Value> = rig
        .adds()
        .iter()
        .map(|add| add["partitionValues"]["day"].clone())
        .collect();
    days.sort_by_key(|day| day.is_null());
    assert_eq!(
        days,
        [Value::from("2023-11-14 22:13:20.123456"), Value::Null]
    );
    let types: Vec<String> = rig
        .log()
        .iter()
        .filter_map(|action| action["metaData"]["schemaString"].as_str())
        .flat_map(|text| {
            let schema: Value = serde_json::from_str(text).unwrap();
            let fields = schema["fields"].as_array().unwrap().clone();
            fields
                .into_iter()
                .map(|field| field["type"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(types, ["long", "long", "timestamp_ntz", "timestamp"]);
}

#[tokio::test]
async fn small_files_are_merged_and_no_row_changes() {
    let rig = Rig::new();
    let schema = rows(&[]).schema();
    let compact = [("compact", "true"), ("compact_after", "0s")];
    let mine = rig.sink_with(&schema, &["k"], "a", &compact).await.unwrap();
    mine.sink.check(&schema, Start::Fresh).await.unwrap();
    let other = rig.sink(&schema, &["k"], "other").await.unwrap();
    commit(&other, &rig.prepare(&other, &[9]).await).await;
    let prepared = rig.prepare(&mine, &[1, 2, 3, 4, 5]).await;
    commit(&mine, &prepared).await;
    assert_eq!(rig.adds().len(), 6);

    let mut writer = rig.writer(&mine).await;
    writer.tick().await.unwrap();
    // A merge that fails is told in the log only: the test must not wait for it for ever.
    let clock = rig.env.clock();
    let start = clock.monotonic();
    while rig.adds().len() > 3 && clock.monotonic() - start < Duration::from_secs(60) {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.adds().len(), 3);
    assert_eq!(rig.numbers(), [1, 2, 3, 4, 5, 9]);
    let changes = rig
        .log()
        .iter()
        .any(|action| action["remove"]["dataChange"] == true);
    assert!(!changes);
    // What is merged is not added again, and a second look finds nothing.
    commit(&mine, &prepared).await;
    writer.tick().await.unwrap();
    assert_eq!((rig.adds().len(), rig.numbers().len()), (3, 6));

    // A run that goes on after the merge is fine; one from before it can't tell the rows apart.
    for (epoch, fine) in [(5, true), (3, false)] {
        let later = rig.sink(&schema, &["k"], "a").await.unwrap();
        let checked = later
            .sink
            .check(&schema, Start::Resumed(Epoch(epoch)))
            .await;
        assert_eq!(checked.is_ok(), fine, "{checked:?}");
    }
    assert_eq!(rig.numbers().len(), 6);
}
