//! How often a row is written, by what the script says and whether there are checkpoints; and the
//! memory in which rows wait to be read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use datafusion_execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use rdkafka::Message as _;
use weir_engine::error::codes;
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, Owner, Sink, Start};

use super::rig::{Rig, consume, produce, value};
use crate::servers::kafka::Kafka;

fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

fn read(kafka: &Kafka, topic: &str) -> Vec<String> {
    let messages = consume(&kafka.client(), topic);
    let values = messages.iter().map(|message| message.payload().unwrap());
    values
        .map(|v| String::from_utf8(v.to_vec()).unwrap())
        .collect()
}

const ROWS: [&str; 3] = [r#"{"id":0}"#, r#"{"id":1}"#, r#"{"id":2}"#];

fn rig(kafka: &Kafka, topic: &str, delivery: Option<&str>) -> Rig {
    let mut rig = Rig::new(&kafka.bootstrap, topic);
    rig.job.pipeline = topic.into();
    match delivery {
        Some(delivery) => rig.with("delivery", delivery),
        None => rig,
    }
}

/// A sink of a job with or without checkpoints, and what its writer prepares of some rows.
fn prepared(rig: &Rig, checkpoints: bool, start: Start) -> (Arc<dyn Sink>, Vec<CommitToken>) {
    let sink = rig.sink(&rows().schema()).unwrap();
    sink.own(&Owner {
        pipeline: Arc::clone(&rig.job.pipeline),
        node: "out".into(),
        origin: "run".into(),
        fence: Epoch(0),
        checkpoints,
    });
    let mut writer = rig.start(&sink, start).unwrap();
    rig.runtime.block_on(writer.write(rows())).unwrap();
    let tokens = rig.runtime.block_on(writer.prepare()).unwrap();
    (sink, tokens)
}

#[test]
fn exactly_once_is_what_happens_with_checkpoints() {
    let kafka = Kafka::shared();
    let cases = [
        (None, true, true),
        (None, false, false),
        (Some("at_least_once"), true, false),
        (Some("exactly_once"), true, true),
    ];
    for (said, checkpoints, is_exact) in cases {
        let topic = kafka.topic("delivery", 1);
        let rig = rig(kafka, &topic, said);
        let (sink, tokens) = prepared(&rig, checkpoints, Start::Fresh);
        let before = read(kafka, &topic).len();
        assert_eq!(
            before,
            if is_exact { 0 } else { 3 },
            "{said:?} {checkpoints}"
        );
        for _ in 0..2 {
            let commit = sink.commit(Epoch(1), &tokens);
            rig.runtime.block_on(commit).unwrap();
        }
        assert_eq!(read(kafka, &topic), ROWS, "{said:?} {checkpoints}");
        assert_eq!(
            sink.needs_checkpoints().is_some(),
            said == Some("exactly_once")
        );
    }
}

#[test]
fn what_waits_in_a_checkpoint_is_written_whatever_the_script_says_since() {
    let kafka = Kafka::shared();
    for (before, after) in [
        ("exactly_once", "at_least_once"),
        ("at_least_once", "exactly_once"),
    ] {
        let topic = kafka.topic("changed", 1);
        let (_, tokens) = prepared(&rig(kafka, &topic, Some(before)), true, Start::Fresh);
        let rig = rig(kafka, &topic, Some(after));
        let sink = rig.sink(&rows().schema()).unwrap();
        drop(rig.start(&sink, Start::Resumed(Epoch(1))).unwrap());
        rig.runtime
            .block_on(sink.commit(Epoch(1), &tokens))
            .unwrap();
        assert_eq!(read(kafka, &topic), ROWS, "{before} {after}");
    }
}

#[test]
fn fetch_buffers_are_taken_from_the_memory_of_the_job() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("memory", 1);
    produce(&kafka.client(), &topic, &[value(ROWS[0])]);
    let mut rig = Rig::new(&kafka.bootstrap, &topic).columns(&[("id", DataType::Int64)]);
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(8 << 20));
    rig.job.memory = Arc::clone(&pool);
    let source = rig.source().unwrap();
    let split = rig.discover(&source).unwrap().remove(0);
    let mut reader = rig.open(&source, &split);
    let taken = pool.reserved();
    assert!((500 << 10..2 << 20).contains(&taken), "{taken}");
    assert_eq!(rig.take(&mut *reader, 1), [ROWS[0]]);
    drop(reader);
    assert_eq!(pool.reserved(), 0);

    rig.job.memory = Arc::new(GreedyMemoryPool::new(100 << 10));
    let task = rig.task();
    let opened = rig.runtime.block_on(source.open(&split, &[0], &task));
    let error = opened.map(drop).unwrap_err();
    assert_eq!(error.code(), codes::MEMORY, "{error:?}");
    assert!(error.report(None).contains("--memory"), "{error:?}");
}
