//! JSON messages of a topic that are not as their source declares them: broken ones, new keys, values that
//! do not fit. What each word of `ON PARSE ERROR` and `ON SCHEMA CHANGE` makes of them.

use serde_json::{Value, json};

use super::rig::{Put, produce, value};
use crate::program::{Ended, Place};
use crate::servers::kafka::Kafka;

/// By their offsets.
const RECORDS: [&str; 6] = [
    r#"{"id":1,"price":1.5}"#,
    "not json",
    r#"{"id":2,"price":"dear"}"#,
    r#"{"id":3,"price":2,"note":"new"}"#,
    r#"{"id":9223372036854775808,"price":1}"#,
    r#"{"id":5}"#,
];

fn topic() -> (&'static Kafka, String) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("deviations", 1);
    let records: Vec<Put> = RECORDS.iter().map(value).collect();
    produce(&kafka.client(), &topic, &records);
    (kafka, topic)
}

fn run(place: &Place, (kafka, topic): &(&Kafka, String), clause: &str, mode: &str) -> Ended {
    let at = &kafka.bootstrap;
    let script = format!(
        "CREATE SOURCE s (id BIGINT, price DOUBLE) {clause} WITH (connector = 'kafka', \
         bootstrap_servers = '{at}', topic = '{topic}', stop = 'latest');\n\
         CREATE SINK out WITH (connector = 'file', path = 'out/{mode}', format = 'json') AS SELECT * FROM s;\n"
    );
    let state = format!("state-{mode}");
    place.run(
        &script,
        &["--mode", mode, "--state", &state, "--summary", "json"],
    )
}

/// The rows of the sink, each with what is rescued of it, in the order of their texts.
fn rows(place: &Place, mode: &str) -> Vec<(Value, Value)> {
    let mut found = Vec::new();
    for file in place.files(&format!("out/{mode}")) {
        if !file.ends_with(".json") || file.contains("_temporary") {
            continue;
        }
        let text = std::fs::read_to_string(place.path().join("out").join(mode).join(file)).unwrap();
        for line in text.lines() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            let rescued = row.as_object_mut().unwrap().remove("_rescued");
            let rescued = rescued.and_then(|text| serde_json::from_str(text.as_str()?).unwrap());
            found.push((row, rescued.unwrap_or(Value::Null)));
        }
    }
    found.sort_by_key(|row| format!("{row:?}"));
    found
}

/// Runs in both modes; `counts` are rows out, kept back, dead letters and skipped.
#[track_caller]
fn check(clause: &str, mut expected: Vec<(Value, Value)>, counts: [u64; 4]) -> Place {
    let topic = topic();
    let place = Place::new();
    expected.sort_by_key(|row| format!("{row:?}"));
    for mode in ["batch", "streaming"] {
        let summary = run(&place, &topic, clause, mode).ok().summary();
        assert_eq!(rows(&place, mode), expected, "{mode} {clause}: {summary}");
        assert_eq!(summary["adds_up"], true, "{summary}");
        let source = &summary["sources"][0];
        let count = |name: &str| source[name].as_u64().unwrap_or(0);
        let found = ["rows_out", "ruled", "dead_letters", "skipped"].map(count);
        assert_eq!((count("rows_in"), found), (6, counts), "{mode} {clause}");
    }
    place
}

fn plain(rows: &[Value]) -> Vec<(Value, Value)> {
    rows.iter().map(|row| (row.clone(), Value::Null)).collect()
}

fn good() -> [Value; 3] {
    [
        json!({"id": 1, "price": 1.5}),
        json!({"id": 3, "price": 2.0}),
        json!({"id": 5}),
    ]
}

#[test]
fn broken_messages_end_the_job_or_are_skipped() {
    let place = Place::new();
    run(&place, &topic(), "ON PARSE ERROR FAIL", "batch").fails(1, "E0302", &["\"s\""]);
    check("ON PARSE ERROR SKIP", plain(&good()), [3, 0, 0, 3]);
}

#[test]
fn broken_messages_are_rescued() {
    let mut expected = plain(&good());
    expected.extend([
        (json!({}), json!({"_raw": "not json"})),
        (json!({"id": 2}), json!({"price": "dear"})),
        (
            json!({"price": 1.0}),
            json!({"id": 9_223_372_036_854_775_808_u64}),
        ),
    ]);
    check(
        "ON PARSE ERROR RESCUE INTO _rescued",
        expected,
        [6, 0, 0, 0],
    );
}

#[test]
fn messages_with_other_keys_are_read_without_them() {
    for word in ["IGNORE", "WIDEN"] {
        let clause = format!("ON SCHEMA CHANGE {word}");
        check(&clause, plain(&good()), [3, 0, 3, 0]);
    }
}

#[test]
fn messages_with_other_keys_end_the_job() {
    let place = Place::new();
    let ended = run(&place, &topic(), "ON SCHEMA CHANGE FAIL", "batch");
    ended.fails(1, "E0207", &["note"]);
    assert!(rows(&place, "batch").is_empty());
}

#[test]
fn other_keys_are_rescued() {
    let mut expected = plain(&good());
    expected[1].1 = json!({"note": "new"});
    // A value that fits no column is a parse error, as what is no JSON at all is.
    check("ON SCHEMA CHANGE RESCUE", expected, [3, 0, 3, 0]);
}

#[test]
fn broken_messages_are_in_quarantine_with_their_bytes() {
    let place = check("ON PARSE ERROR QUARANTINE", plain(&good()), [3, 3, 0, 0]);
    let kept = "SELECT _offset, arrow_cast(_raw, 'Utf8') FROM quarantine.s ORDER BY 1";
    for mode in ["batch", "streaming"] {
        let state = format!("state-{mode}");
        let words = ["sql", "--state", &state, "--format", "json", "-c", kept];
        let told = place.weir(&words).ok().out;
        let told = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let told: Vec<_> = told.map(|row| row["_offset"].as_u64().unwrap()).collect();
        assert_eq!(told, [1, 2, 4], "{mode}");
    }
}
