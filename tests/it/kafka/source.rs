//! The source.

use arrow::datatypes::DataType;
use rdkafka::producer::{BaseProducer, Producer as _};
use weir_engine::error::{Kind, codes};

use super::rig::{PATIENCE, Put, Rig, produce, send, value};
use crate::servers::kafka::{Kafka, PASSWORD, USER};

const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64), ("name", DataType::Utf8)];

fn row(id: usize) -> Put {
    value(format!(r#"{{"id":{id},"name":"n{id}"}}"#))
}

fn rows(ids: std::ops::Range<usize>) -> Vec<Put> {
    ids.map(row).collect()
}

fn lines(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| format!(r#"{{"id":{id},"name":"n{id}"}}"#))
        .collect()
}

#[test]
fn rows_come_once_in_the_order_of_their_partition() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("order", 3);
    let mut expected = Vec::new();
    for partition in 0..3 {
        let ids = partition * 10_000..(partition + 1) * 10_000;
        let mut records = rows(ids.clone());
        for record in &mut records {
            record.partition = i32::try_from(partition).unwrap();
        }
        produce(&kafka.client(), &topic, &records);
        expected.extend(lines(ids));
    }
    let rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
    assert_eq!(rig.read_all().unwrap(), expected);
    // With batches of a size that fits nothing, and with little memory.
    let mut rig = rig.with("buffer_size", "1MiB").with("batch_time", "1ms");
    rig.job.batch_rows = 7;
    assert_eq!(rig.read_all().unwrap(), expected);
}

#[test]
fn reading_begins_where_it_is_told() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("start", 1);
    let mut records = rows(0..20);
    for (number, record) in (0_i64..).zip(&mut records) {
        record.timestamp = Some(1_700_000_000_000 + number * 1_000);
    }
    produce(&kafka.client(), &topic, &records);
    let cases = [
        ("earliest", 0),
        ("latest", 20),
        ("0:15", 15),
        ("7:3", 0),
        ("1700000005000", 5),
        ("1700000004500", 5),
        ("2023-11-14T22:13:30Z", 10),
        ("1800000000000", 20),
    ];
    for (start, first) in cases {
        let rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
        let read = rig.with("start", start).read_all().unwrap();
        assert_eq!(read, lines(first..20), "{start}");
    }
}

#[test]
fn a_restart_goes_on_at_the_saved_position() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("restart", 1);
    produce(&kafka.client(), &topic, &rows(0..1_000));
    let mut rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
    rig.job.batch_rows = 64;
    let source = rig.source().unwrap();
    let mut split = rig.discover(&source).unwrap().remove(0);
    let mut read = Vec::new();
    loop {
        // A new reader for each batch, from the position of the last one.
        let mut reader = rig.open(&source, &split);
        if split.position.is_none() {
            assert_eq!(reader.position().0, "beginning");
        }
        let Some(batch) = rig.next(&mut *reader).unwrap() else {
            break;
        };
        read.extend(super::rig::json(&batch));
        split.position = Some(reader.position());
    }
    assert_eq!(read, lines(0..1_000));
    assert_eq!(split.position.unwrap().0, "1000");
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("grows", 1);
    produce(&kafka.client(), &topic, &rows(0..3));
    let rig = Rig::new(&kafka.bootstrap, &topic)
        .columns(COLUMNS)
        .streaming();
    let rig = rig.with("start", "latest");
    let source = rig.source().unwrap();
    let first = rig.discover(&source).unwrap();
    assert_eq!(first.len(), 1);
    assert!(rig.discover(&source).unwrap().is_empty());
    kafka.grow(&topic, 3);
    let more = loop {
        let more = rig.discover(&source).unwrap();
        if !more.is_empty() {
            break more;
        }
    };
    let ids: Vec<_> = more.iter().map(|split| split.id.clone()).collect();
    assert_eq!(ids, [format!("{topic}/1"), format!("{topic}/2")]);
    let mut late = row(9);
    late.partition = 2;
    produce(&kafka.client(), &topic, &[late, row(3)]);
    let mut reader = rig.open(&source, &first[0]);
    assert_eq!(rig.take(&mut *reader, 1), lines(3..4));
    let mut reader = rig.open(&source, &more[1]);
    assert_eq!(rig.take(&mut *reader, 1), lines(9..10));
    // A run that goes on from a checkpoint which does not know the partition reads it so too.
    let resumed = rig.source().unwrap();
    resumed.resume();
    let split = rig.discover(&resumed).unwrap().remove(2);
    let mut reader = rig.open(&resumed, &split);
    assert_eq!(rig.take(&mut *reader, 1), lines(9..10));
}

#[test]
fn a_poison_message_becomes_a_dead_letter() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("poison", 1);
    let poison = [
        row(0),
        value(r#"{"id":1"#),
        value(b"\xff\xfe"),
        row(2),
        value(r#"{"id":"x"}"#),
        Put::default(),
        row(3),
    ];
    produce(&kafka.client(), &topic, &poison);
    let rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
    let read = rig.read_all().unwrap();
    assert_eq!(read, [lines(0..1), lines(2..4)].concat());
    rig.job.dead_letters.flush().unwrap();
    let letters = rig.letters.letters();
    let seen: Vec<_> = letters
        .iter()
        .map(|letter| (letter.offset.unwrap(), letter.raw.as_slice()))
        .collect();
    let expected: [(u64, &[u8]); 3] = [(1, br#"{"id":1"#), (2, b"\xff\xfe"), (4, br#"{"id":"x"}"#)];
    assert_eq!(seen, expected);
    for letter in &letters {
        assert_eq!(letter.origin, format!("{topic}/0"));
        assert!(!letter.detail.is_empty() && !letter.reason.is_empty());
    }
    let error = rig.failing().read_all().unwrap_err();
    assert_eq!(error.code(), codes::DECODE);
    assert!(
        error.report(None).contains(&format!("in {topic}/0 at 1")),
        "{error:?}"
    );
}

#[test]
fn metadata_columns_tell_of_the_record() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("metadata", 1);
    let put = Put {
        key: Some("k".to_owned()),
        timestamp: Some(1_700_000_000_123),
        ..row(5)
    };
    produce(&kafka.client(), &topic, &[row(4), put]);
    let rig = Rig::new(&kafka.bootstrap, &topic)
        .columns(&[("id", DataType::Int64)])
        .metadata("t", "topic")
        .metadata("p", "partition")
        .metadata("o", "offset")
        .metadata("at", "timestamp")
        .metadata("whose", "timestamp_type")
        .metadata("k", "key")
        .metadata("h", "headers")
        .with("start", "0:1");
    assert_eq!(
        rig.read_all().unwrap(),
        [format!(
            r#"{{"id":5,"t":"{topic}","p":0,"o":1,"at":"2023-11-14T22:13:20.123","whose":"create","k":"6b","h":[]}}"#
        )]
    );
}

#[test]
fn records_of_open_and_aborted_transactions_are_not_read() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("aborted", 1);
    let mut config = kafka.client();
    config.set("transactional.id", &topic);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let transaction = |ids| {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, &rows(ids));
        producer.flush(PATIENCE).unwrap();
    };
    transaction(0..5);
    producer.commit_transaction(PATIENCE).unwrap();
    transaction(5..10);
    producer.abort_transaction(PATIENCE).unwrap();
    transaction(10..15);
    producer.commit_transaction(PATIENCE).unwrap();
    transaction(15..20);
    // The last one is open: a bounded source ends before it.
    let rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
    let committed = [lines(0..5), lines(10..15)].concat();
    assert_eq!(rig.read_all().unwrap(), committed);
    producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(rig.read_all().unwrap(), committed);
    let rig = rig.with("isolation_level", "read_uncommitted");
    assert_eq!(rig.read_all().unwrap(), lines(0..20));
}

#[test]
fn a_broker_that_goes_away_and_returns_loses_nothing() {
    let kafka = Kafka::start();
    let topic = kafka.topic("outage", 1);
    produce(&kafka.client(), &topic, &rows(0..100));
    let rig = Rig::new(&kafka.bootstrap, &topic)
        .columns(COLUMNS)
        .streaming();
    let source = rig.source().unwrap();
    let split = rig.discover(&source).unwrap().remove(0);
    let mut reader = rig.open(&source, &split);
    assert_eq!(rig.take(&mut *reader, 100), lines(0..100));
    for round in 1..3 {
        kafka.down();
        // While it is away there is nothing to read and nothing to find, and no error.
        assert!(matches!(
            rig.runtime.block_on(reader.next()).unwrap(),
            weir_engine::source::Read::Pending
        ));
        kafka.up();
        let ids = round * 100..(round + 1) * 100;
        produce(&kafka.client(), &topic, &rows(ids.clone()));
        assert_eq!(rig.take(&mut *reader, 100), lines(ids));
    }
}

#[test]
fn an_offset_that_is_gone_is_an_error_unless_the_script_says_otherwise() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("gone", 1);
    produce(&kafka.client(), &topic, &rows(0..10));
    // Retention in one call.
    let mut before = rdkafka::TopicPartitionList::new();
    before
        .add_partition_offset(&topic, 0, rdkafka::Offset::Offset(6))
        .unwrap();
    let options = rdkafka::admin::AdminOptions::new();
    let deleted = crate::program::block_on(kafka.admin().delete_records(&before, &options));
    deleted.unwrap();

    let rig = Rig::new(&kafka.bootstrap, &topic).columns(COLUMNS);
    assert_eq!(rig.read_all().unwrap(), lines(6..10));
    let rig = rig.with("start", "0:2");
    let error = rig.read_all().unwrap_err();
    assert_eq!((error.code(), error.kind()), (codes::OFFSET, Kind::Data));
    assert!(error.message().contains(&format!("{topic}/0")), "{error}");
    let rig = rig.with("on_offset_out_of_range", "earliest");
    assert_eq!(rig.read_all().unwrap(), lines(6..10));
    let rig = rig.with("on_offset_out_of_range", "latest");
    assert_eq!(rig.read_all().unwrap(), lines(0..0));
}

#[test]
fn topics_are_found_by_name_and_by_pattern() {
    let kafka = Kafka::shared();
    let first = kafka.topic("pattern-a", 1);
    let second = kafka.topic("pattern-b", 1);
    produce(&kafka.client(), &first, &rows(0..2));
    produce(&kafka.client(), &second, &rows(2..4));
    let both = Rig::new(&kafka.bootstrap, &format!("{second}, {first}")).columns(COLUMNS);
    assert_eq!(both.read_all().unwrap(), lines(0..4));
    let pattern = format!("weir-pattern-[ab]-{}-.*", std::process::id());
    let matching = Rig::new(&kafka.bootstrap, "x")
        .without("topic")
        .columns(COLUMNS);
    let matching = matching.with("topic_pattern", &pattern);
    assert_eq!(matching.read_all().unwrap(), lines(0..4));

    let near = format!("{first}x");
    let error = Rig::new(&kafka.bootstrap, &near)
        .columns(COLUMNS)
        .read_all();
    let error = error.unwrap_err();
    assert_eq!(error.code(), codes::NOT_FOUND);
    assert!(
        error
            .report(None)
            .contains(&format!("did you mean \"{first}\"?")),
        "{error:?}"
    );
}

#[test]
fn encrypted_lines_and_logins() {
    let kafka = Kafka::shared();
    let (Some(tls), Some(login), Some(authority)) = (kafka.tls(), kafka.login(), kafka.authority())
    else {
        return;
    };
    let authority = authority.to_str().unwrap();
    let topic = kafka.topic("tls", 1);
    produce(&kafka.client(), &topic, &rows(0..3));
    let encrypted = Rig::new(&tls, &topic)
        .columns(COLUMNS)
        .with("security_protocol", "ssl");
    let trusting = encrypted.with("ssl_ca_location", authority);
    assert_eq!(trusting.read_all().unwrap(), lines(0..3));
    // The system trusts no such certificate.
    let error = trusting.without("ssl_ca_location").read_all().unwrap_err();
    assert_eq!(error.code(), codes::PERMISSION, "{error:?}");

    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let rig = Rig::new(&login, &topic)
            .columns(COLUMNS)
            .with("security_protocol", "sasl_ssl")
            .with("ssl_ca_location", authority)
            .with("sasl_mechanism", mechanism)
            .with("sasl_username", USER)
            .with("sasl_password", PASSWORD);
        assert_eq!(rig.read_all().unwrap(), lines(0..3), "{mechanism}");
        let error = rig
            .with("sasl_password", "canary-5519")
            .read_all()
            .unwrap_err();
        assert_eq!(error.code(), codes::PERMISSION, "{mechanism}: {error:?}");
        assert!(!format!("{error:?}{}", error.report(None)).contains("canary-5519"));
    }
}

#[test]
fn a_broker_that_is_not_there_is_said() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let error = Rig::new(&address, "t")
        .columns(COLUMNS)
        .read_all()
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        error.report(None).contains("onnection refused"),
        "{}",
        error.report(None)
    );
}
