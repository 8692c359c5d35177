//! Hostile bytes: never a panic, and every message is rows, rejected or skipped.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::server::Server;
use super::*;

const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"s","type":["null","string"]},{"name":"l","type":{"type":"array","items":"int"}},{"name":"m","type":{"type":"map","values":"string"}},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},{"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},{"name":"f","type":{"type":"fixed","name":"F","size":3}}]}"#;
const PROTO: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message M { int64 a = 1; string s = 2; repeated int32 l = 3; map<string, M2> m = 4; google.protobuf.Timestamp t = 5; enum E { X = 0; } repeated E e = 6; } message M2 { bytes b = 1; optional bool o = 2; }";

/// Messages that are right, to be damaged.
fn seeds(format: &str) -> Vec<Vec<u8>> {
    let texts: &[&[u8]] = match format {
        "json" => &[
            br#"{"a":1,"s":"\u00e4\n","t":"2024-01-02T03:04:05Z","d":"1.25","x":{"y":[1,{"z":null}]}}"#,
            b"{\"a\":-5,\"s\":null}",
        ],
        "csv" => &[b"1,\"a,\"\"b\",2024-01-02T03:04:05,1.25", b"2,,,"],
        "debezium-json" => &[
            br#"{"schema":{"fields":[{"field":"after","fields":[{"field":"t","name":"io.debezium.time.MicroTimestamp"},{"field":"d","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}]}]},"payload":{"before":null,"after":{"a":1,"s":"x","t":1704164645678901,"d":"BNI="},"op":"c"}}"#,
            br#"{"before":{"a":1},"after":{"a":2},"op":"u"}"#,
            br#"{"before":{"a":1},"after":null,"op":"d"}"#,
        ],
        "avro" => &[
            b"\x00\x00\x00\x00\x01\x02\x02\x02x\x04\x02\x04\x00\x02\x02k\x02v\x00\x04\x04\xd2\x02abc",
            b"\x00\x00\x00\x00\x01\x03\x00\x00\x00\x02\x05\x00abc",
        ],
        "protobuf" => &[
            b"\x00\x00\x00\x00\x02\x00\x08\x05\x12\x01x\x1a\x02\x01\x02\x22\x08\x0a\x01k\x12\x03\x0a\x01v\x2a\x04\x08\x01\x10\x02\x32\x02\x00\x07",
            b"\x00\x00\x00\x00\x02\x02\x02\x0a\x01v",
        ],
        _ => &[b"anything"],
    };
    texts.iter().map(|text| text.to_vec()).collect()
}

fn damaged(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Option<Vec<u8>> {
    const SIGNS: &[u8] = b"{}[]\",:\\\n\r0e.-+nulltrue\x00\x01\x7f\x80\xff\xc3";
    let mut message = seeds[rng.random_range(0..seeds.len())].clone();
    match rng.random_range(0..10) {
        0 => return None,
        1 => {
            let length = rng.random_range(0..40);
            return Some((0..length).map(|_| rng.random()).collect());
        }
        2 => return Some(message),
        _ => {}
    }
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=message.len());
        let sign = if rng.random() {
            SIGNS[rng.random_range(0..SIGNS.len())]
        } else {
            rng.random()
        };
        match rng.random_range(0..5) {
            0 => message.truncate(at),
            1 => message.insert(at, sign),
            2 if at < message.len() => message[at] = sign,
            3 if at < message.len() => drop(message.remove(at)),
            _ => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let start = rng.random_range(0..other.len());
                message.splice(at..at, other[start..].iter().copied());
            }
        }
    }
    Some(message)
}

/// What a decoder makes of messages that it takes all at once, if it does.
fn take(decoder: &mut dyn Decoder, messages: &[Option<&[u8]>]) -> Option<Decoded> {
    let mut values = Messages::default();
    for (index, value) in (0_u32..).zip(messages) {
        if let Some(value) = value {
            values.push(value, index);
        }
        assert_eq!(values.of(index as usize), *value);
    }
    let taken = decoder.take(&mut values, messages.len());
    taken.then(|| decoder.flush().unwrap())
}

#[tokio::test]
async fn every_message_is_accounted_for() {
    let server = Server::start().await;
    server.add("orders-value", 1, "AVRO", AVRO, &[]);
    server.add("proto", 2, "PROTOBUF", PROTO, &[]);
    let columns = [
        ("a", DataType::Int64),
        ("s", DataType::Utf8),
        ("t", MICROS),
        ("d", DataType::Decimal128(10, 2)),
    ];
    let seeds_to_try: Vec<u64> = match std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (0..6).collect(),
    };
    for seed in seeds_to_try {
        println!("every_message_is_accounted_for: SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for format in ["json", "csv", "raw", "debezium-json", "avro", "protobuf"] {
            let mut given = vec![("format", format)];
            if matches!(format, "avro" | "protobuf") {
                given.push(("schema_registry", &server.url));
            }
            if format == "protobuf" {
                given.push(("schema_registry_subject", "proto"));
            }
            let columns: &[(&str, DataType)] = match format {
                "raw" => &columns[1..2],
                "avro" | "protobuf" => &[],
                _ => &columns,
            };
            let [mut decoder, mut whole] = [
                decoder(&given, columns).await,
                decoder(&given, columns).await,
            ];
            let seeds = seeds(format);
            for _ in 0..25 {
                let count = rng.random_range(0..40);
                let messages: Vec<_> = (0..count).map(|_| damaged(&mut rng, &seeds)).collect();
                let values: Vec<Option<&[u8]>> = messages.iter().map(Option::as_deref).collect();
                let decoded = decode(&mut *decoder, &values).await;
                // All at once is the same as one after the other.
                let at_once = take(&mut *whole, &values);
                assert_eq!(at_once.is_some(), format == "json");
                if let Some(at_once) = at_once {
                    assert_eq!(show(&at_once), show(&decoded));
                }
                // A message that is right is a row, whatever its neighbours are.
                for (index, message) in messages.iter().enumerate() {
                    if message
                        .as_ref()
                        .is_some_and(|message| seeds.contains(message))
                    {
                        let index = u32::try_from(index).unwrap();
                        assert!(
                            decoded.origin.contains(&index),
                            "{format}: {:?}",
                            decoded.rejected
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_message_means_the_same_alone_and_among_others() {
    let columns = [
        ("a", DataType::Int64),
        ("s", DataType::Utf8),
        ("t", MICROS),
        ("d", DataType::Decimal128(10, 2)),
    ];
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(7);
    println!("a_message_means_the_same_alone_and_among_others: SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for format in ["json", "csv", "debezium-json"] {
        let mut decoder = decoder(&[("format", format)], &columns).await;
        let seeds = seeds(format);
        for _ in 0..30 {
            let messages: Vec<_> = (0..30).map(|_| damaged(&mut rng, &seeds)).collect();
            let values: Vec<Option<&[u8]>> = messages.iter().map(Option::as_deref).collect();
            let together = decode(&mut *decoder, &values).await;
            let mut alone = Vec::new();
            for value in &values {
                let one = decode(&mut *decoder, &[*value]).await;
                alone.push(one.batch);
            }
            let alone = arrow::compute::concat_batches(&together.batch.schema(), &alone).unwrap();
            assert_eq!(table(&together.batch), table(&alone), "{format}");
        }
    }
}
