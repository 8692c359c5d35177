//! The sink.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use weir_engine::changelog::{OP_COLUMN, RowKind};
use weir_engine::error::{Kind, codes};
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, Sink, SinkWriter, Start};

use super::rig::{PATIENCE, Rig, consume, send, value};
use crate::servers::kafka::Kafka;

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let names = ids.clone().map(|id| format!("n{id}"));
    RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
        ),
        ("name", Arc::new(StringArray::from_iter_values(names))),
    ])
    .unwrap()
}

fn lines(ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| format!(r#"{{"id":{id},"name":"n{id}"}}"#))
        .collect()
}

/// What a reader of committed records finds, keys before values.
fn read(kafka: &Kafka, topic: &str) -> Vec<String> {
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or("null".to_owned(), |b| {
            String::from_utf8(b.to_vec()).unwrap()
        })
    };
    consume(&kafka.client(), topic)
        .iter()
        .map(|message| match message.key() {
            None => text(message.payload()),
            key => format!("{} = {}", text(key), text(message.payload())),
        })
        .collect()
}

/// Rows of a kilobyte: ten thousand, numbered by the batch's number.
fn wide(number: i64) -> RecordBatch {
    let text = "x".repeat(1_000);
    let ids = Int64Array::from_iter_values((0..10_000).map(|row| number * 10_000 + row));
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec![text; 10_000]))),
    ])
    .unwrap()
}

/// The numbers of committed rows, in the order of the topic.
fn ids(kafka: &Kafka, topic: &str) -> Vec<i64> {
    let number = |line: &String| {
        let line = line.strip_prefix(r#"{"id":"#).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    read(kafka, topic).iter().map(number).collect()
}

impl Rig {
    fn write(&self, writer: &mut dyn SinkWriter, batch: RecordBatch) -> Vec<CommitToken> {
        self.runtime.block_on(writer.write(batch)).unwrap();
        writer.finished()
    }

    fn prepare(&self, writer: &mut dyn SinkWriter) -> Vec<CommitToken> {
        self.runtime.block_on(writer.prepare()).unwrap()
    }

    fn commit(&self, sink: &Arc<dyn Sink>, epoch: u64, tokens: &[CommitToken]) {
        self.runtime
            .block_on(sink.commit(Epoch(epoch), tokens))
            .unwrap();
    }
}

/// An exactly-once sink of its own pipeline, which is named by the topic.
fn exact(kafka: &Kafka, topic: &str) -> Rig {
    let mut rig = Rig::new(&kafka.bootstrap, topic).with("delivery", "exactly_once");
    rig.job.pipeline = topic.into();
    rig
}

#[test]
fn at_least_once_has_everything_when_it_is_prepared() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("alo", 1);
    let rig = Rig::new(&kafka.bootstrap, &topic);
    let sink = rig.sink(&batch(0..1).schema()).unwrap();
    assert_eq!(sink.needs_checkpoints(), None);
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    for part in 0..5 {
        rig.write(&mut *writer, batch(part * 1_000..(part + 1) * 1_000));
    }
    let tokens = rig.prepare(&mut *writer);
    assert_eq!(tokens.iter().map(|token| token.rows).sum::<u64>(), 5_000);
    assert_eq!(read(kafka, &topic), lines(0..5_000));
    rig.commit(&sink, 1, &tokens);
    // And back through the source.
    let columns = [("id", DataType::Int64), ("name", DataType::Utf8)];
    let back = Rig::new(&kafka.bootstrap, &topic).columns(&columns);
    assert_eq!(back.read_all().unwrap(), lines(0..5_000));
}

#[test]
fn updates_become_upserts_and_tombstones() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("upsert", 1);
    let rows = batch(0..1);
    let op = |kinds: &[RowKind], ids: &[i64], names: &[&str]| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
            ("name", Arc::new(StringArray::from(names.to_vec()))),
            (
                OP_COLUMN,
                Arc::new(kinds.iter().map(|k| k.number()).collect::<Int8Array>()),
            ),
        ])
        .unwrap()
    };
    let changes = op(
        &[
            RowKind::Insert,
            RowKind::Insert,
            RowKind::UpdateBefore,
            RowKind::UpdateAfter,
            RowKind::Delete,
        ],
        &[1, 2, 1, 1, 2],
        &["a", "b", "a", "c", "b"],
    );
    let rig = Rig::new(&kafka.bootstrap, &topic).with("key", "id");
    let sink = rig.sink(&changes.schema()).unwrap();
    assert!(sink.takes_changelog());
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    rig.write(&mut *writer, changes.clone());
    rig.prepare(&mut *writer);
    let expected = [
        r#"{"id":1} = {"id":1,"name":"a"}"#,
        r#"{"id":2} = {"id":2,"name":"b"}"#,
        r#"{"id":1} = {"id":1,"name":"c"}"#,
        r#"{"id":2} = null"#,
    ];
    assert_eq!(read(kafka, &topic), expected);

    let plain = Rig::new(&kafka.bootstrap, &topic);
    assert!(!plain.sink(&rows.schema()).unwrap().takes_changelog());
    let error = plain.sink(&changes.schema()).unwrap_err();
    assert_eq!(error.code(), codes::UNSUPPORTED);
    let error = plain.with("key", "nmae").sink(&rows.schema()).unwrap_err();
    assert!(
        error.report(None).contains("did you mean \"name\"?"),
        "{error:?}"
    );
}

#[test]
fn a_commit_can_be_repeated_and_shows_its_rows_once() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("repeat", 2);
    let rig = exact(kafka, &topic).with("key", "id");
    let sink = rig.sink(&batch(0..1).schema()).unwrap();
    assert!(sink.needs_checkpoints().is_some());
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    assert!(rig.write(&mut *writer, batch(0..100)).is_empty());
    let first = rig.prepare(&mut *writer);
    rig.write(&mut *writer, batch(100..200));
    let second = rig.prepare(&mut *writer);
    assert!(read(kafka, &topic).is_empty());

    rig.commit(&sink, 1, &first);
    rig.commit(&sink, 1, &first);
    assert_eq!(read(kafka, &topic).len(), 100);
    rig.commit(&sink, 2, &second);
    rig.commit(&sink, 1, &first);
    assert_eq!(read(kafka, &topic).len(), 200);

    // Another process commits the last epoch again before it begins, as a start does, and goes on.
    let later = rig.sink(&batch(0..1).schema()).unwrap();
    rig.commit(&later, 2, &second);
    assert_eq!(read(kafka, &topic).len(), 200);
    let mut writer = rig.start(&later, Start::Resumed(Epoch(2))).unwrap();
    rig.write(&mut *writer, batch(200..300));
    rig.commit(&later, 3, &rig.prepare(&mut *writer));
    let mut all = read(kafka, &topic);
    all.sort();
    let mut expected: Vec<_> = (0..300)
        .zip(lines(0..300))
        .map(|(id, line)| format!(r#"{{"id":{id}}} = {line}"#))
        .collect();
    expected.sort();
    assert_eq!(all, expected);
    // An epoch without rows is none of the topic's business.
    assert!(rig.prepare(&mut *writer).is_empty());
    rig.commit(&later, 4, &[]);
}

#[test]
fn large_epochs_go_in_chunks_and_a_part_is_completed() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("chunks", 1);
    let rig = exact(kafka, &topic);
    let sink = rig.sink(&wide(0).schema()).unwrap();
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    let mut tokens = Vec::new();
    for number in 0..5 {
        tokens.extend(rig.write(&mut *writer, wide(number)));
    }
    tokens.extend(rig.prepare(&mut *writer));
    assert!(tokens.len() >= 3, "{}", tokens.len());
    assert_eq!(tokens.iter().map(|token| token.rows).sum::<u64>(), 50_000);
    // As after a crash in the middle: two chunks are there, then all are committed.
    rig.commit(&sink, 1, &tokens[..2]);
    let some = read(kafka, &topic).len();
    assert!((1..50_000).contains(&some));
    let later = rig.sink(&wide(0).schema()).unwrap();
    rig.commit(&later, 1, &tokens);
    rig.start(&later, Start::Resumed(Epoch(1))).unwrap();
    rig.commit(&sink, 1, &tokens);
    let read = ids(kafka, &topic);
    assert!(read == (0..50_000).collect::<Vec<_>>(), "{}", read.len());
}

#[test]
fn subtasks_share_an_epoch_and_recovery_commits_token_by_token() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("subtasks", 1);
    let rig = exact(kafka, &topic);
    let schema = batch(0..1).schema();
    let sink = rig.sink(&schema).unwrap();
    let mut first = rig.start(&sink, Start::Fresh).unwrap();
    let mut task = rig.task();
    (task.subtask, task.parallelism) = (1, 2);
    let second = rig.runtime.block_on(sink.writer(&schema, &task));
    let mut second = second.unwrap();
    for epoch in 1..4 {
        let from = i64::try_from(epoch).unwrap() * 20 - 20;
        rig.write(&mut *second, batch(from..from + 10));
        rig.write(&mut *first, batch(from + 10..from + 20));
        let mut tokens = rig.prepare(&mut *second);
        tokens.extend(rig.prepare(&mut *first));
        assert_eq!(tokens.len(), 2);
        // A crash after the first of them, then all again, one by one, in another process.
        rig.commit(&sink, epoch, &tokens[..1]);
        let later = rig.sink(&schema).unwrap();
        rig.start(&later, Start::Resumed(Epoch(epoch))).unwrap();
        for token in &tokens {
            rig.commit(&later, epoch, std::slice::from_ref(token));
        }
    }
    assert_eq!(ids(kafka, &topic), (0..60).collect::<Vec<_>>());
}

#[test]
fn two_instances_write_each_row_once() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("two", 1);
    let rig = exact(kafka, &topic);
    let schema = batch(0..1).schema();
    let old = rig.sink(&schema).unwrap();
    let mut writer = rig.start(&old, Start::Fresh).unwrap();
    rig.write(&mut *writer, batch(0..10));
    let first = rig.prepare(&mut *writer);
    rig.commit(&old, 1, &first);
    rig.write(&mut *writer, batch(10..20));
    let second = rig.prepare(&mut *writer);

    // The old one is frozen; a new one commits its last epoch and goes on.
    let new = rig.sink(&schema).unwrap();
    let mut writer = rig.start(&new, Start::Resumed(Epoch(2))).unwrap();
    rig.commit(&new, 2, &second);
    rig.write(&mut *writer, batch(20..30));
    let third = rig.prepare(&mut *writer);
    rig.commit(&new, 3, &third);
    // It wakes up, in the middle of its commit.
    rig.commit(&old, 2, &second);
    rig.write(&mut *writer, batch(30..40));
    let fourth = rig.prepare(&mut *writer);
    rig.commit(&new, 4, &fourth);
    assert_eq!(read(kafka, &topic), lines(0..40));

    // Both at once, many times: whoever is first, each epoch is there once.
    let mut last = 40;
    for epoch in 5..15 {
        rig.write(&mut *writer, batch(last..last + 5));
        last += 5;
        let tokens = rig.prepare(&mut *writer);
        let (one, other) = rig.runtime.block_on(async {
            tokio::join!(
                old.commit(Epoch(epoch), &tokens),
                new.commit(Epoch(epoch), &tokens)
            )
        });
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        for failed in [one, other].into_iter().filter_map(Result::err) {
            assert_eq!(failed.kind(), Kind::Conflict, "{failed:?}");
        }
    }
    assert_eq!(read(kafka, &topic), lines(0..last));
}

#[test]
fn what_an_earlier_run_left_open_is_never_seen() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("left", 1);
    // A process that died in its transaction.
    let mut config = kafka.client();
    config.set("transactional.id", format!("weir-{topic}-out"));
    let dead: BaseProducer = config.create().unwrap();
    dead.init_transactions(PATIENCE).unwrap();
    dead.begin_transaction().unwrap();
    send(&dead, &topic, &[value("half")]);
    dead.flush(PATIENCE).unwrap();
    let rig = exact(kafka, &topic);
    let sink = rig.sink(&batch(0..1).schema()).unwrap();
    let mut writer = rig.start(&sink, Start::Resumed(Epoch(7))).unwrap();
    rig.write(&mut *writer, batch(0..3));
    rig.commit(&sink, 8, &rig.prepare(&mut *writer));
    assert_eq!(read(kafka, &topic), lines(0..3));
    assert!(dead.commit_transaction(PATIENCE).is_err());
}

#[test]
fn an_older_checkpoint_than_the_topic_is_refused_and_a_fresh_start_is_not() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("rewind", 1);
    let rig = exact(kafka, &topic);
    let schema = batch(0..1).schema();
    let run = |rig: &Rig, start, epoch, ids| -> weir_engine::Result<()> {
        let sink = rig.sink(&schema).unwrap();
        let mut writer = rig.start(&sink, start)?;
        rig.write(&mut *writer, batch(ids));
        rig.commit(&sink, epoch, &rig.prepare(&mut *writer));
        Ok(())
    };
    run(&rig, Start::Fresh, 9, 0..2).unwrap();
    let error = run(&rig, Start::Resumed(Epoch(5)), 6, 2..4).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        (codes::COMMIT, Kind::Conflict)
    );
    assert_eq!(read(kafka, &topic), lines(0..2));
    let repeat = exact(kafka, &topic).with("on_rewind", "repeat");
    run(&repeat, Start::Resumed(Epoch(5)), 6, 2..4).unwrap();
    assert_eq!(read(kafka, &topic), lines(0..4));
    // The state was thrown away: epochs are counted from 1 again.
    run(&rig, Start::Fresh, 1, 4..6).unwrap();
    run(&rig, Start::Resumed(Epoch(1)), 2, 6..8).unwrap();
    assert_eq!(read(kafka, &topic), lines(0..8));
}

#[test]
fn a_broker_that_goes_away_in_the_middle_gets_everything_once() {
    let kafka = Kafka::start();
    let topic = kafka.topic("outage", 1);
    let schema = batch(0..1).schema();
    let exact = exact(&kafka, &topic);
    let sink = exact.sink(&schema).unwrap();
    let mut writer = exact.start(&sink, Start::Fresh).unwrap();
    exact.write(&mut *writer, batch(0..10));
    let tokens = exact.prepare(&mut *writer);
    exact.commit(&sink, 1, &tokens);
    exact.write(&mut *writer, batch(10..20));
    let tokens = exact.prepare(&mut *writer);
    kafka.down();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| exact.commit(&sink, 2, &tokens));
        kafka.up();
        commit.join().unwrap();
    });
    assert_eq!(read(&kafka, &topic), lines(0..20));

    let topic = kafka.topic("outage", 1);
    let rig = Rig::new(&kafka.bootstrap, &topic);
    let sink = rig.sink(&schema).unwrap();
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    rig.write(&mut *writer, batch(0..10));
    rig.prepare(&mut *writer);
    kafka.down();
    rig.write(&mut *writer, batch(10..20));
    std::thread::scope(|scope| {
        let prepare = scope.spawn(|| rig.prepare(&mut *writer).len());
        kafka.up();
        assert_eq!(prepare.join().unwrap(), 1);
    });
    assert_eq!(read(&kafka, &topic), lines(0..20));
}

#[test]
fn a_transaction_that_expires_is_written_again() {
    let kafka = Kafka::start();
    let topic = kafka.topic("expires", 1);
    let rig = exact(&kafka, &topic).with("transaction_timeout", "1 second");
    let rows = wide(0);
    let sink = rig.sink(&rows.schema()).unwrap();
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    rig.write(&mut *writer, rows);
    let tokens = rig.prepare(&mut *writer);
    let mut config = kafka.client();
    config.set("isolation.level", "read_uncommitted");
    let look: BaseConsumer = config.create().unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| rig.commit(&sink, 1, &tokens));
        // The broker dies in the middle of the transaction and is away for longer than it lives.
        let deadline = Instant::now() + PATIENCE;
        while look.fetch_watermarks(&topic, 0, PATIENCE).unwrap().1 == 0 {
            assert!(Instant::now() < deadline, "nothing is written");
        }
        kafka.down();
        kafka.up();
        commit.join().unwrap();
    });
    assert_eq!(ids(&kafka, &topic), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_writer_whose_transactions_were_taken_over_looks_and_goes_on() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("taken", 1);
    let rig = exact(kafka, &topic);
    let sink = rig.sink(&batch(0..1).schema()).unwrap();
    let mut writer = rig.start(&sink, Start::Fresh).unwrap();
    let mut config = kafka.client();
    config.set("transactional.id", format!("weir-{topic}-out"));
    for epoch in 1..4 {
        let other: BaseProducer = config.create().unwrap();
        other.init_transactions(PATIENCE).unwrap();
        let first = i64::try_from(epoch).unwrap() * 3 - 3;
        rig.write(&mut *writer, batch(first..first + 3));
        rig.commit(&sink, epoch, &rig.prepare(&mut *writer));
    }
    assert_eq!(read(kafka, &topic), lines(0..9));
}

#[test]
fn what_cannot_be_written_is_said_before_the_first_row() {
    let kafka = Kafka::shared();
    let schema = Arc::new(Schema::empty());
    let rig = Rig::new(&kafka.bootstrap, "weir-no-such-topic");
    let sink = rig.sink(&batch(0..1).schema()).unwrap();
    let check = sink.check(&schema, Start::Fresh);
    let error = rig.runtime.block_on(check).unwrap_err();
    assert_eq!(error.code(), codes::NOT_FOUND, "{error:?}");
}
