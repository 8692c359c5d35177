//! What scripts say of topics, through the whole program: where to begin, metadata, bad messages,
//! logins, options that are refused.

use arrow::datatypes::DataType;
use serde_json::{Value, json};

use super::rig::{Put, Rig, produce, value};
use crate::program::{Ended, Place};
use crate::servers::kafka::{Kafka, PASSWORD, USER};

/// The lines of the JSON files of a sink, in order.
fn lines(place: &Place, folder: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in place.files(folder) {
        let text = std::fs::read_to_string(place.path().join(folder).join(file)).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    let rows = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}

/// Reads a topic in batch into JSON files.
fn copy(at: &str, topic: &str, columns: &str, more: &str) -> String {
    format!(
        "CREATE SOURCE s ({columns}) WITH (connector = 'kafka', bootstrap_servers = '{at}', \
         topic = '{topic}'{more});\n\
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'json') \
         AS SELECT * FROM s;\n"
    )
}

#[test]
fn scripts_say_where_to_begin_and_ask_for_metadata() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("begin", 2);
    let records = (0..8).map(|id| Put {
        partition: id % 2,
        key: Some(format!("k{id}")),
        timestamp: Some(1_700_000_000_000 + i64::from(id) * 1_000),
        ..value(format!(r#"{{"id":{id}}}"#))
    });
    produce(&kafka.client(), &topic, &records.collect::<Vec<_>>());
    let columns = "id BIGINT, p INT METADATA FROM 'partition', o BIGINT METADATA FROM 'offset', \
                   t VARCHAR METADATA FROM 'topic', k BYTEA METADATA FROM 'key', \
                   at TIMESTAMP METADATA FROM 'timestamp', \
                   whose VARCHAR METADATA FROM 'timestamp_type'";
    let row = |id: i64| {
        json!({
            "id": id, "p": id % 2, "o": id / 2, "t": topic,
            "k": format!("6b3{id}"), "whose": "create",
            "at": format!("2023-11-14T22:13:{}", 20 + id),
        })
    };
    let cases: [(&str, &[i64]); 5] = [
        ("earliest", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("latest", &[]),
        ("2023-11-14 22:13:25", &[5, 6, 7]),
        ("1700000006000", &[6, 7]),
        ("0:3,1:1", &[3, 5, 6, 7]),
    ];
    for (start, ids) in cases {
        let place = Place::new();
        let script = copy(
            &kafka.bootstrap,
            &topic,
            columns,
            &format!(", start = '{start}'"),
        );
        place.run(&script, &["--mode", "batch"]).ok();
        let expected: Vec<Value> = ids.iter().map(|id| row(*id)).collect();
        let mut found = lines(&place, "out");
        found.sort_by_key(|row| row["id"].as_i64());
        assert_eq!(found, expected, "{start}");
    }
}

#[test]
fn bad_messages_are_kept_aside_or_end_the_job_and_the_reason_is_said() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("poison", 1);
    let mut records: Vec<Put> = (0..2_000)
        .map(|id| value(format!(r#"{{"id":{id}}}"#)))
        .collect();
    records[500] = value(r#"{"id":"#);
    records[1_000] = value(r#"{"id":"many"}"#);
    records[1_500] = value(b"\xff");
    produce(&kafka.client(), &topic, &records);

    let place = Place::new();
    let script = copy(&kafka.bootstrap, &topic, "id BIGINT", "");
    let ended = place.run(&script, &["--mode", "batch", "--summary", "json"]);
    let ended = ended.ok();
    let ids: Vec<i64> = {
        let mut ids: Vec<i64> = lines(&place, "out")
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    };
    let bad = [500, 1_000, 1_500];
    assert_eq!(
        ids,
        (0..2_000)
            .filter(|id| !bad.contains(id))
            .collect::<Vec<_>>()
    );
    let letters = ended.summary()["dead_letters"].to_string();
    assert!(
        letters.contains("decode") && letters.contains("value"),
        "{letters}"
    );
    let query = "CREATE SOURCE letters WITH (connector = 'file', \
                 path = '.weir/script/dead_letters/**/*.parquet'); \
                 SELECT file, \"offset\", reason, detail FROM letters ORDER BY 2";
    let kept = place
        .weir(&["sql", "--format", "json", "-c", query])
        .ok()
        .out;
    let kept: Vec<Value> = kept
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let told = kept.iter().map(|letter| {
        assert_eq!(letter["file"], format!("{topic}/0"));
        assert!(!letter["detail"].as_str().unwrap().is_empty());
        (
            letter["offset"].as_i64().unwrap(),
            letter["reason"].as_str().unwrap(),
        )
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(500, "decode"), (1_000, "value"), (1_500, "decode")]);

    let script = copy(&kafka.bootstrap, &topic, "id BIGINT", ", on_error = 'fail'");
    let place = Place::new();
    let ended = place.run(&script, &["--mode", "batch"]);
    ended.fails(1, "E0302", &[&format!("{topic}/0"), "500", "invalid JSON"]);
    assert!(lines(&place, "out").is_empty());
}

#[test]
fn sources_and_sinks_speak_tls_and_log_in() {
    let kafka = Kafka::shared();
    let (Some(mutual), Some(login)) = (kafka.mutual(), kafka.login()) else {
        return;
    };
    let (authority, key) = (kafka.authority().unwrap(), kafka.key().unwrap());
    let (authority, key) = (authority.display(), key.display());
    let from = kafka.topic("login-in", 1);
    let rows: Vec<Put> = (0..10)
        .map(|id| value(format!(r#"{{"id":{id}}}"#)))
        .collect();
    produce(&kafka.client(), &from, &rows);
    let run = |at: &str, options: &str, to: &str| -> Ended {
        let script = format!(
            "CREATE SOURCE s (id BIGINT) WITH (connector = 'kafka', bootstrap_servers = '{at}', \
             topic = '{from}', ssl_ca_location = '{authority}', {options});\n\
             CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '{at}', \
             topic = '{to}', ssl_ca_location = '{authority}', {options}) AS SELECT id FROM s;\n"
        );
        Place::new().run(&script, &["--mode", "batch", "--state", "state"])
    };
    let user = |mechanism: &str, password: &str| {
        format!(
            "security_protocol = 'sasl_ssl', sasl_mechanism = '{mechanism}', \
             sasl_username = '{USER}', sasl_password = '{password}'"
        )
    };
    let certificate = format!(
        "security_protocol = 'ssl', ssl_certificate_location = '{authority}', \
         ssl_key_location = '{key}'"
    );
    let good = [
        (&login, user("PLAIN", PASSWORD)),
        (&login, user("SCRAM-SHA-256", PASSWORD)),
        (&login, user("SCRAM-SHA-512", PASSWORD)),
        (&mutual, certificate),
    ];
    for (at, options) in good {
        let to = kafka.topic("login-out", 1);
        run(at, &options, &to).ok();
        let columns = [("id", DataType::Int64)];
        let back = Rig::new(&kafka.bootstrap, &to).columns(&columns).read_all();
        assert_eq!(back.unwrap().len(), 10, "{options}");
    }
    let to = kafka.topic("login-out", 1);
    let canary = "canary-7731";
    let refused = run(&login, &user("SCRAM-SHA-256", canary), &to);
    let refused = refused.fails_with("E0205", &["refuses the login"]);
    assert!(!format!("{refused:?}").contains(canary), "{refused:?}");
    let nobody = run(&mutual, "security_protocol = 'ssl'", &to);
    nobody.fails_with("E0205", &["refuses the login"]);
}

#[test]
fn options_that_may_not_be_passed_are_named_with_their_place() {
    let cases = [
        ("group.id", "E0203", "consumer groups"),
        ("plugin.library.paths", "E0203", "runs a command"),
        (
            "enable.ssl.certificate.verification",
            "E0203",
            "stand in for the broker",
        ),
        ("queued.max.messages.kbytes", "E0203", "buffer_size"),
        ("clientid", "E0202", "client.id"),
    ];
    for (property, code, words) in cases {
        let more = format!(", properties.{property} = 'x'");
        let script = copy("127.0.0.1:1", "t", "id BIGINT", &more);
        let name = format!("properties.{property}");
        let ended = Place::new().run(&script, &[]);
        ended.fails(2, code, &[&name, words, "script.sql:1:"]);
    }
    let sink = "CREATE SOURCE s (seq BIGINT) WITH (connector = 'generator', rows = '1');\n\
                CREATE SINK out WITH (connector = 'kafka', bootstrap_servers = '127.0.0.1:1', \
                topic = 't', properties.acks = '0') AS SELECT seq FROM s;\n";
    let ended = Place::new().run(sink, &[]);
    ended.fails(
        2,
        "E0203",
        &["properties.acks", "lose nothing", "script.sql:2:"],
    );
    let script = copy("127.0.0.1:1", "t", "id BIGINT", ", start = 'tomorrow'");
    let ended = Place::new().run(&script, &[]);
    ended.fails(2, "E0203", &["\"start\"", "'earliest'", "script.sql:1:"]);
}
