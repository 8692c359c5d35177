//! Plain texts must be read as arrow's decoder reads them, and all others must be left to it.
//!
//! Random tests print their seed; `SEED=n` replays one.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};

use super::objects::{Found, Objects};
use super::table::Table;

fn fields() -> Fields {
    let zone = |zone: &str| DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into()));
    let types = [
        ("truth", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("u8", DataType::UInt8),
        ("u16", DataType::UInt16),
        ("u32", DataType::UInt32),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("text", DataType::Utf8),
        ("decimal", DataType::Decimal128(10, 2)),
        ("date", DataType::Date32),
        ("second", DataType::Timestamp(TimeUnit::Second, None)),
        ("micros", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("nanos", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("utc", zone("+00:00")),
        ("berlin", zone("Europe/Berlin")),
    ];
    let fields = types.map(|(name, data_type)| Field::new(name, data_type, true));
    Fields::from(fields.to_vec())
}

/// The same columns in a few numbers, so that both ways to find one by its name are taken.
fn some_fields(rng: &mut StdRng) -> Fields {
    let all = fields();
    let count = rng.random_range(1..=all.len());
    let first = rng.random_range(0..=all.len() - count);
    all.iter().skip(first).take(count).cloned().collect()
}

const STRINGS: &[&str] = &[
    "",
    "x",
    "true",
    "12",
    "-3",
    " 7 ",
    "007",
    "1.25",
    "1e3",
    "NaN",
    "2024-02-29",
    "2023-02-29",
    "2024-01-02T03:04:05",
    "2024-01-02 03:04:05.678",
    "2024-01-02T03:04:05.678901Z",
    "2024-01-02T03:04:05.678901234",
    "1600-12-31T23:59:59.999",
    "0000-01-01T00:00:00Z",
    "2024-01-02T03:04:60",
    "2024-01-02T24:00:00",
    "2024-03-31T02:30:00",
    "2024-13-01T00:00:00",
    "2024-01-02T03:04:05+02:00",
    "2024-01-02T03:04:05.1",
    "2024-01-02t03:04:05z",
    "030405",
    "9999-12-31T23:59:59.999999999Z",
    "a \\\" b",
    "\\\\",
    "\\/",
    "\\b\\f\\n\\r\\t",
    "\\u00e4",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\ud83dx",
    "\\u12",
    "\\x",
    "ä€😀",
    "tab\there",
    "line\nbreak",
    "a text that is longer than a few words are \\u0041 and more",
];
const OTHERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "42",
    "127",
    "128",
    "-128",
    "-129",
    "255",
    "256",
    "65536",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "99999999999999999999",
    "1.0",
    "1.5",
    "-2.50",
    "1e2",
    "1E-2",
    "1.5e+3",
    "01",
    "1.",
    ".5",
    "-",
    "+1",
    "1-2",
    "0x1",
    "true",
    "false",
    "null",
    "nul",
    "True",
    "{}",
    "[]",
    "[1,2]",
    "{\"i64\":1}",
    "[1 2]",
    "[[{\"a\":[null,\"\\n\"]}]]",
    "{\"a\":1,}",
    "1700000000123",
    "12345.67",
    "1e400",
    "",
];
const BLANKS: &[&str] = &["", "", "", "", " ", "\n", "\t \r\n", "\u{c}"];

fn object(rng: &mut StdRng, fields: &Fields) -> Vec<u8> {
    let mut text = String::new();
    let mut add = |rng: &mut StdRng, part: &str| {
        let blank = if rng.random_bool(0.9) {
            ""
        } else {
            BLANKS.choose(rng).unwrap()
        };
        text.push_str(part);
        text.push_str(blank);
    };
    add(rng, "{");
    for member in 0..rng.random_range(0..8) {
        if member > 0 {
            add(rng, ",");
        }
        let name = match rng.random_range(0..10) {
            0 => "unknown",
            1 => "\\u0069d",
            _ => fields[rng.random_range(0..fields.len())].name(),
        };
        add(rng, &format!("\"{name}\""));
        add(rng, ":");
        let value = match rng.random_range(0..4) {
            0 => (*OTHERS.choose(rng).unwrap()).to_owned(),
            1 => format!("\"{}\"", STRINGS.choose(rng).unwrap()),
            2 => rng.random_range(-200..200).to_string(),
            _ => "null".to_owned(),
        };
        add(rng, &value);
    }
    add(rng, "}");
    let mut text = text.into_bytes();
    if rng.random_bool(0.1) {
        let at = rng.random_range(0..=text.len());
        match rng.random_range(0..4) {
            0 => text.truncate(at),
            1 => text.insert(at, rng.random()),
            2 => text.insert(at, b"{}[]\",:\\0e.-n"[rng.random_range(0..13)]),
            _ => text.extend_from_slice(b" {}"),
        }
    }
    text
}

fn told(found: &Found, texts: usize) -> (Vec<usize>, Vec<(usize, String)>) {
    let rows = found.texts.clone().unwrap_or_else(|| (0..texts).collect());
    let failed = found
        .failed
        .iter()
        .map(|(at, error)| (*at, error.to_string()));
    (rows, failed.collect())
}

#[test]
fn every_text_is_what_arrow_makes_of_it() {
    let seeds: Vec<u64> = match std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (0..40).collect(),
    };
    let mut plain = 0;
    for seed in seeds {
        println!("every_text_is_what_arrow_makes_of_it: SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let fields = some_fields(&mut rng);
        let mut ours = Objects::new(fields.clone()).unwrap();
        let mut arrows = Objects::by_arrow(fields.clone()).unwrap();
        let mut table = Table::plan(&Arc::new(Schema::new(fields.clone()))).unwrap();
        for _ in 0..10 {
            let count = rng.random_range(1..60);
            let texts: Vec<_> = (0..count).map(|_| object(&mut rng, &fields)).collect();
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            plain += count - table.decode(&texts, false).unwrap().1.len();
            ours.wake();
            let found = ours.decode_each(&texts, false).unwrap();
            let (rows, failed) = told(&found, count);
            // One by one, so that nothing but the text itself decides.
            let (mut all, mut expected) = (Vec::new(), Vec::new());
            for (number, text) in texts.iter().enumerate() {
                match arrows.decode([*text].into_iter()) {
                    Ok(row) => {
                        assert!(rows.contains(&number), "{}", String::from_utf8_lossy(text));
                        all.push(row);
                    }
                    Err(error) => expected.push((number, error.to_string())),
                }
            }
            assert_eq!(failed, expected);
            let all = arrow::compute::concat_batches(found.batch.schema_ref(), &all).unwrap();
            for (name, (ours, theirs)) in fields
                .iter()
                .zip(found.batch.columns().iter().zip(all.columns()))
            {
                assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{name}");
                assert_eq!(ours.to_data().data_type(), theirs.to_data().data_type());
            }
        }
    }
    // What is compared is not only arrow's decoder with itself.
    assert!(plain > 2_000 || std::env::var("SEED").is_ok(), "{plain}");
}

#[test]
fn plain_objects_are_not_left_to_arrow() {
    let mut table = Table::plan(&Arc::new(Schema::new(fields()))).unwrap();
    let texts: [&[u8]; 6] = [
        br#"{"i64":1,"text":"a","truth":true,"micros":"2024-01-02T03:04:05.678Z"}"#,
        br#" { "text" : "\u00e4 \"b\"" , "i64" : null } "#,
        br#"{"other":{"a":[1,2.5e3,{"b":"\\"}],"c":null},"f64":-1.5,"f32":"2","i8":"-7"}"#,
        br#"{"decimal":"12.50","date":"2024-02-29","nanos":1700000000000000000}"#,
        br#"{"decimal":3,"utc":"2024-01-02T03:04:05Z","berlin":"2024-07-02 03:04:05","text":1.50}"#,
        br"{}",
    ];
    let (batch, odd) = table.decode(&texts, false).unwrap();
    assert_eq!((batch.num_rows(), odd), (6, Vec::new()));
}

#[test]
fn whole_numbers_of_all_lengths() {
    let fields = vec![Field::new("x", DataType::Int64, true)];
    let mut table = Table::plan(&Arc::new(Schema::new(fields))).unwrap();
    for digits in 1..=19 {
        for number in [
            10_i64.pow(digits - 1),
            1_234_567_890_123_456_789 % 10_i64.pow(digits - 1),
        ] {
            for number in [number, -number] {
                for end in ["}", "   }", ",\"y\":\"0123456789\"}"] {
                    let text = format!("{{\"x\":{number}{end}");
                    let (batch, odd) = table.decode(&[text.as_bytes()], true).unwrap();
                    assert!(odd.is_empty(), "{text}");
                    let values = batch.column(0).as_primitive::<Int64Type>();
                    assert_eq!(values.values(), &[number], "{text}");
                }
            }
        }
    }
}

#[test]
fn columns_that_are_not_simple_are_left_to_arrow() {
    let list = DataType::new_list(DataType::Int64, true);
    for data_type in [list, DataType::UInt64, DataType::Binary] {
        let fields = vec![Field::new("x", data_type, true)];
        assert!(Table::plan(&Arc::new(Schema::new(fields))).is_none());
    }
}

#[test]
fn topics_that_are_seldom_plain_are_read_by_arrow_at_once() {
    let fields = vec![Field::new("x", DataType::Int64, true)];
    let mut objects = Objects::new(fields.into()).unwrap();
    let odd: Vec<&[u8]> = vec![b"{\"x\":1.0}"; 10];
    let first = objects.decode_each(&odd, false).unwrap();
    assert!(first.texts.is_some() && first.batch.num_rows() == 10);
    let second = objects.decode_each(&odd, false).unwrap();
    assert!(second.texts.is_none() && second.batch.num_rows() == 10);
}
