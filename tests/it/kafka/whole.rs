//! The whole program between two topics, and the examples.

use super::rig::{PATIENCE, Put, Rig, consume, produce, value};
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

#[test]
fn the_examples_run() {
    let kafka = Kafka::start();
    let place = Place::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka");
    for name in ["orders.sql", "totals.sql"] {
        let script = std::fs::read_to_string(folder.join(name)).unwrap();
        place.write(name, script);
    }
    let broker = format!("BROKER={}", kafka.bootstrap);
    let start = |script| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        place.spawn({
            command.args(["run", script, "--progress", "never", "--set", &broker]);
            command
        })
    };
    let mut orders = start("orders.sql");
    let made = || {
        let admin = kafka.admin();
        let topics = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        topics.topics().iter().any(|topic| topic.name() == "orders")
    };
    orders.until(PATIENCE, "a topic", made);
    let mut totals = start("totals.sql");
    totals.until(PATIENCE, "a window", || {
        !place.files("out/revenue").is_empty()
    });
    orders.signal("INT");
    orders.wait().ok();
    totals.signal("INT");
    totals.wait().ok();
    let query = "SELECT count(*) AS users, max(orders) > 1 AS more FROM totals";
    let words = [
        "sql",
        "--state",
        ".weir/totals",
        "--format",
        "json",
        "-c",
        query,
    ];
    let view = place.weir(&words).ok().out;
    assert_eq!(view.trim(), r#"{"users":100,"more":true}"#);
}
