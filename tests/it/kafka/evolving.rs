//! A topic whose Avro schema changes while the program reads it. The registry is a stand-in.

use serde_json::{Value, json};

use super::rig::{PATIENCE, Put, consume, produce, value};
use crate::program::Place;
use crate::servers::kafka::Kafka;
use crate::servers::registry::Registry;
use rdkafka::Message as _;

const FIRST: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"}]}"#;
/// A field more.
const SECOND: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"price","type":["null","double"],"default":null}]}"#;
/// Another order, one field less, and a wider type.
const THIRD: &str = r#"{"type":"record","name":"Order","fields":[{"name":"price","type":"float"},{"name":"id","type":"int"}]}"#;

fn long(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7F).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [long(i64::try_from(text.len()).unwrap()), text.into()].concat()
}

/// A message in Confluent's form.
fn message(schema: u32, parts: &[Vec<u8>]) -> Put {
    let head = [&[0][..], &schema.to_be_bytes()].concat();
    value([head, parts.concat()].concat())
}

/// The dead letters, in the order of the topic.
fn letters(place: &Place) -> Vec<Value> {
    let query = "CREATE SOURCE letters WITH (connector = 'file', \
                 path = 'state/dead_letters/**/*.parquet'); \
                 SELECT \"offset\", reason, detail FROM letters ORDER BY 1";
    let asked = place.weir(&["sql", "--format", "json", "-c", query]).ok();
    let lines = asked.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_schema_that_evolves_is_followed_and_what_does_not_fit_is_kept_aside() {
    let (kafka, registry) = (Kafka::shared(), Registry::start());
    let (from, to) = (kafka.topic("avro-in", 1), kafka.topic("avro-out", 1));
    let subject = format!("{from}-value");
    let first = registry.add(&subject, FIRST);
    let (at, url) = (&kafka.bootstrap, &registry.url);
    let script = format!(
        "SET pipeline.checkpoint_interval = '200ms';\n\
         SET pipeline.mode = 'streaming';\n\
         CREATE SOURCE orders (id BIGINT, name VARCHAR, price DOUBLE) WITH (connector = 'kafka', \
         bootstrap_servers = '{at}', topic = '{from}', format = 'avro', schema_registry = '{url}');\n\
         CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '{at}', topic = '{to}') \
         AS SELECT id, name, price FROM orders;\n"
    );
    let read = || -> Vec<Value> {
        let messages = consume(&kafka.client(), &to);
        let values = messages.iter().map(|message| message.payload().unwrap());
        values.map(|v| serde_json::from_slice(v).unwrap()).collect()
    };
    let put = |records: &[Put]| produce(&kafka.client(), &from, records);
    let place = Place::new();
    put(&[message(first, &[long(1), string("one")])]);
    let mut running = place.start(&script, &["--state", "state"]);
    running.until(PATIENCE, "the first row", || read().len() == 1);

    let second = registry.add(&subject, SECOND);
    let third = registry.add(&subject, THIRD);
    let price = 2.5_f64.to_le_bytes().to_vec();
    put(&[
        message(second, &[long(2), string("two"), long(1), price]),
        message(first, &[long(3), string("three")]),
        message(77, &[long(4)]),
        message(third, &[1.5_f32.to_le_bytes().to_vec(), long(5)]),
        value(b"no header"),
        message(second, &[long(6), string("six"), long(0)]),
        message(second, &[long(7)]),
    ]);
    running.until(PATIENCE, "all rows", || read().len() == 5);
    running.signal("INT");
    let said = running.wait().ok().out;
    assert_eq!(
        read(),
        [
            json!({"id": 1, "name": "one", "price": null}),
            json!({"id": 2, "name": "two", "price": 2.5}),
            json!({"id": 3, "name": "three", "price": null}),
            json!({"id": 5, "name": null, "price": 1.5}),
            json!({"id": 6, "name": "six", "price": null}),
        ]
    );
    let letters = letters(&place);
    let told: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter["offset"].as_i64().unwrap(),
                letter["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(3, "schema"), (5, "decode"), (7, "decode")],
        "{letters:?}"
    );
    let detail = letters[0]["detail"].as_str().unwrap();
    assert!(detail.contains("schema 77"), "{detail}");
    assert!(said.contains("schema"), "{said}");
}
