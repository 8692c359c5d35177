//! The whole program between two topics.

use super::rig::{Put, Rig, consume, produce, value};
use crate::program::Place;
use crate::servers::kafka::Kafka;
use arrow::datatypes::DataType;
use rdkafka::Message as _;

#[test]
fn a_pipeline_from_topic_to_topic_writes_each_row_once() {
    let kafka = Kafka::shared();
    // More partitions than subtasks: all are read side by side.
    let (from, to) = (kafka.topic("whole-in", 5), kafka.topic("whole-out", 1));
    let records: Vec<Put> = (0..1_000)
        .map(|id| Put {
            partition: id % 5,
            ..value(format!(r#"{{"id":{id},"price":{}}}"#, id * 2))
        })
        .collect();
    produce(&kafka.client(), &from, &records);
    let at = &kafka.bootstrap;
    let script = format!(
        "CREATE SOURCE s (id BIGINT, price BIGINT, o BIGINT METADATA FROM 'offset') WITH (\
         connector = 'kafka', bootstrap_servers = '{at}', topic = '{from}', stop = 'latest');\n\
         CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '{at}', topic = '{to}', \
         delivery = 'exactly_once') AS SELECT id, price, o FROM s WHERE price >= 1000;\n"
    );
    let place = Place::new();
    place
        .run(&script, &["--mode", "streaming", "--state", "state"])
        .ok();
    let mut read: Vec<String> = consume(&kafka.client(), &to)
        .iter()
        .map(|message| String::from_utf8(message.payload().unwrap().to_vec()).unwrap())
        .collect();
    read.sort();
    let row = |id| format!(r#"{{"id":{id},"price":{},"o":{}}}"#, id * 2, id / 5);
    let mut expected: Vec<String> = (500..1_000).map(row).collect();
    expected.sort();
    assert_eq!(read, expected);
    let columns = [("id", DataType::Int64)];
    let back = Rig::new(at, &to).columns(&columns).read_all().unwrap();
    assert_eq!(back.len(), 500);
}
