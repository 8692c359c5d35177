//! Data that is not as its source declares it, by the program: what `ON PARSE ERROR` and `ON SCHEMA CHANGE`
//! say happens to it, in each format, in batch and streaming, and all rows are accounted for.

use serde_json::{Value, json};

use crate::program::{Ended, Place};

/// Copies a source to `out` as JSON lines.
fn script(columns: &str, clauses: &str, options: &str, select: &str) -> String {
    format!(
        "CREATE SOURCE input {columns} {clauses} WITH (connector = 'file', {options});
        CREATE SINK output WITH (connector = 'file', path = 'out', format = 'json')
            AS SELECT {select} FROM input;"
    )
}

fn run(place: &Place, script: &str, mode: &str) -> Ended {
    place.run(script, &["--mode", mode, "--summary", "json"])
}

/// The rows of `out`, in the order of their texts.
fn rows(place: &Place) -> Vec<Value> {
    let mut lines: Vec<String> = Vec::new();
    for file in place.files("out") {
        if file.ends_with(".json") {
            let text = std::fs::read_to_string(place.path().join("out").join(file)).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What is in the rescue column of a row.
fn rescued(row: &Value) -> Value {
    match row["_rescued"].as_str() {
        Some(text) => serde_json::from_str(text).unwrap(),
        None => Value::Null,
    }
}

/// Runs in both modes and gives rows, each with what was rescued of it, and the account of the source.
#[track_caller]
fn check(files: &[(&str, &[u8])], script: &str, expected: &[(Value, Value)]) -> Value {
    let mut account = Value::Null;
    for mode in ["batch", "streaming"] {
        let place = Place::new();
        for (file, content) in files {
            place.write(&format!("in/{file}"), content);
        }
        let summary = run(&place, script, mode).ok().summary();
        let mut found = rows(&place);
        let rests: Vec<Value> = found.iter().map(rescued).collect();
        for row in &mut found {
            row.as_object_mut().unwrap().remove("_rescued");
        }
        let mut found: Vec<(Value, Value)> = found.into_iter().zip(rests).collect();
        let mut expected = expected.to_vec();
        found.sort_by_key(|row| format!("{row:?}"));
        expected.sort_by_key(|row| format!("{row:?}"));
        assert_eq!(found, expected, "{mode}: {script}");
        assert_eq!(summary["adds_up"], true, "{summary}");
        account = summary["sources"][0].clone();
    }
    account
}

const BROKEN: &[u8] = b"{\"id\":1,\"price\":1.5,\"day\":\"2026-01-01\"}\n\
    {\"id\":2,\"price\":\"dear\",\"day\":\"2026-01-02\"}\n\
    {\"id\":\"x\",\"price\":[1],\"day\":\"never\"}\n\
    not json\n\
    \n\
    [4]\n\
    {\"id\":5}\n";
const COLUMNS: &str = "(id BIGINT, price DOUBLE, day DATE)";
const JSON: &str = "path = 'in/*', format = 'json'";

#[test]
fn broken_records_of_json_are_rescued_skipped_kept_or_fatal() {
    let files = [("a.json", BROKEN)];
    let rescue = script(COLUMNS, "ON PARSE ERROR RESCUE INTO _rescued", JSON, "*");
    let whole = json!({"id": 1, "price": 1.5, "day": "2026-01-01"});
    let account = check(
        &files,
        &rescue,
        &[
            (
                json!({"id": 2, "day": "2026-01-02"}),
                json!({"price": "dear"}),
            ),
            (whole.clone(), Value::Null),
            (json!({"id": 5}), Value::Null),
            (json!({}), json!({"_raw": "[4]"})),
            (json!({}), json!({"_raw": "not json"})),
            (json!({}), json!({"id": "x", "price": [1], "day": "never"})),
        ],
    );
    assert_eq!(
        (&account["rows_in"], &account["dead_letters"]),
        (&json!(6), &json!(0))
    );
    // Nobody asks for what is rescued: the row is there all the same, and so is one that is bad elsewhere.
    let some = script(
        COLUMNS,
        "ON PARSE ERROR RESCUE INTO _rescued",
        JSON,
        "price",
    );
    let mut priced = vec![(json!({}), Value::Null); 5];
    priced.push((json!({"price": 1.5}), Value::Null));
    check(&files, &some, &priced);
    let good = [(whole, Value::Null), (json!({"id": 5}), Value::Null)];
    let skip = script(COLUMNS, "ON PARSE ERROR SKIP", JSON, "*");
    let account = check(&files, &skip, &good);
    assert_eq!(
        (&account["rows_in"], &account["skipped"]),
        (&json!(6), &json!(4))
    );
    let keep = script(COLUMNS, "ON PARSE ERROR QUARANTINE", JSON, "*");
    let account = check(&files, &keep, &good);
    assert_eq!(
        [
            &account["rows_in"],
            &account["ruled"],
            &account["dead_letters"]
        ],
        [&json!(6), &json!(4), &json!(0)]
    );
    let place = Place::new();
    place.write("in/a.json", BROKEN);
    let fail = script(COLUMNS, "ON PARSE ERROR FAIL", JSON, "*");
    run(&place, &fail, "batch").fails(1, "E0302", &["a.json", "price"]);
}

#[test]
fn broken_records_of_csv_are_rescued() {
    let text = b"id,price,day\n1,1.5,2026-01-01\n2,dear,2026-01-02\n3\nx,,\n\"7\",\"a\nb\",2026-01-03\n\xff,1,\n";
    let files = [("a.csv", text.as_slice())];
    let clauses = "ON PARSE ERROR RESCUE INTO rest";
    let csv = "path = 'in/*', format = 'csv'";
    let script = script(COLUMNS, clauses, csv, "id, price, day, rest AS _rescued");
    check(
        &files,
        &script,
        &[
            (
                json!({"id": 1, "price": 1.5, "day": "2026-01-01"}),
                Value::Null,
            ),
            (
                json!({"id": 2, "day": "2026-01-02"}),
                json!({"price": "dear"}),
            ),
            (
                json!({"id": 7, "day": "2026-01-03"}),
                json!({"price": "a\nb"}),
            ),
            (json!({}), json!({"_raw": "3"})),
            (json!({}), json!({"_raw_hex": "ff2c312c"})),
            (json!({}), json!({"id": "x"})),
        ],
    );
}

/// New keys and columns, missing ones, other types; nothing at all.
#[test]
fn new_columns_are_ignored_rescued_or_fatal() {
    let line = b"{\"id\":1,\"new\":{\"a\":[1,2]},\"price\":2}\n{\"id\":2,\"day\":\"2026-01-01\"}\n";
    let files = [("a.json", line.as_slice()), ("b.json", b"")];
    let known = json!({"id": 1, "price": 2.0});
    let other = json!({"id": 2, "day": "2026-01-01"});
    let plain = [(known.clone(), Value::Null), (other.clone(), Value::Null)];
    for clauses in ["", "ON SCHEMA CHANGE IGNORE", "ON SCHEMA CHANGE WIDEN"] {
        check(&files, &script(COLUMNS, clauses, JSON, "*"), &plain);
    }
    let rescue = script(COLUMNS, "ON SCHEMA CHANGE RESCUE", JSON, "*");
    let new = json!({"new": {"a": [1, 2]}});
    check(&files, &rescue, &[(known, new), (other, Value::Null)]);
    let fail = script(COLUMNS, "ON SCHEMA CHANGE FAIL", JSON, "*");
    let place = Place::new();
    place.write("in/a.json", line);
    run(&place, &fail, "batch").fails(1, "E0207", &["a.json", "\"new\"", "RESCUE"]);

    let files = [
        ("a.csv", b"id,new,price\n1,x,2\n2,,3\n".as_slice()),
        ("b.csv", b"".as_slice()),
    ];
    let csv = "path = 'in/*', format = 'csv'";
    let rescue = script(COLUMNS, "ON SCHEMA CHANGE RESCUE INTO _rescued", csv, "*");
    check(
        &files,
        &rescue,
        &[
            (json!({"id": 1, "price": 2.0}), json!({"new": "x"})),
            (json!({"id": 2, "price": 3.0}), Value::Null),
        ],
    );
    let fail = script(COLUMNS, "ON SCHEMA CHANGE FAIL", csv, "*");
    let place = Place::new();
    place.write("in/a.csv", files[0].1);
    let words = ["a.csv", "\"new\" is new", "\"day\" is missing"];
    run(&place, &fail, "batch").fails(1, "E0207", &words);
}

#[test]
fn types_of_parquet_may_be_wider_narrower_or_others() {
    let make = |place: &Place, name: &str, columns: &str| {
        let script = format!(
            "CREATE VIEW rows AS SELECT {columns};
            CREATE SINK made WITH (connector = 'file', path = 'in/{name}', format = 'parquet') AS SELECT * FROM rows;"
        );
        place.run(&script, &[]).ok();
    };
    let parquet = "path = 'in/**/*.parquet'";
    let of = |columns: &[&str], clauses: &str, mode: &str| {
        let place = Place::new();
        for (number, columns) in columns.iter().enumerate() {
            make(&place, &format!("f{number}"), columns);
        }
        let columns = "(id BIGINT, price DOUBLE, day TIMESTAMP)";
        let ended = run(&place, &script(columns, clauses, parquet, "*"), mode);
        (place, ended)
    };
    let narrow = "CAST(1 AS INT) AS id, CAST(1.5 AS REAL) AS price, DATE '2026-01-01' AS day";
    let same = "CAST(2 AS BIGINT) AS id, CAST(2.5 AS DOUBLE) AS price, TIMESTAMP '2026-01-02 00:00:00' AS day";
    let other = "CAST(3 AS BIGINT) AS id, 'dear' AS price, TIMESTAMP '2026-01-03 00:00:00' AS day, 7 AS new";
    for mode in ["batch", "streaming"] {
        for clauses in [
            "",
            "ON SCHEMA CHANGE IGNORE",
            "ON SCHEMA CHANGE WIDEN",
            "ON SCHEMA CHANGE RESCUE",
        ] {
            let (place, ended) = of(&[narrow, same], clauses, mode);
            ended.ok();
            let found = rows(&place);
            assert_eq!(found.len(), 2, "{clauses}");
            assert_eq!(
                (&found[0]["id"], &found[0]["price"]),
                (&json!(1), &json!(1.5))
            );
            assert_eq!(
                found[0]["day"].as_str().unwrap().split('T').next(),
                Some("2026-01-01")
            );
        }
        let (_, ended) = of(&[same, narrow], "ON SCHEMA CHANGE FAIL", mode);
        ended.fails(1, "E0207", &["\"id\" is Int32, not Int64"]);
        let (place, ended) = of(&[same], "ON SCHEMA CHANGE FAIL", mode);
        ended.ok();
        assert_eq!(rows(&place).len(), 1);
        // A text in place of a number: the whole file, one value, or nothing is set aside.
        let (place, ended) = of(&[same, other], "ON SCHEMA CHANGE WIDEN", mode);
        assert_eq!(ended.ok().summary()["dead_letters"][0]["reason"], "schema");
        assert_eq!(rows(&place).len(), 1);
        let (_, ended) = of(
            &[same, other],
            "ON SCHEMA CHANGE WIDEN ON PARSE ERROR FAIL",
            mode,
        );
        ended.fails(1, "E0207", &["values could be lost", "\"price\""]);
        let (place, ended) = of(&[same, other], "ON SCHEMA CHANGE RESCUE", mode);
        assert_eq!(ended.ok().summary()["adds_up"], true);
        let found = rows(&place);
        assert_eq!(found.len(), 2);
        assert_eq!(rescued(&found[1]), json!({"price": "dear", "new": 7}));
        assert_eq!(
            (&found[1]["id"], &found[1]["price"]),
            (&json!(3), &Value::Null)
        );
    }
}

/// Columns that are not declared get the rescue column behind them.
#[test]
fn discovered_columns_are_rescued_too() {
    let files = [
        ("a.csv", b"id,n\n1,2\n2,3\n".as_slice()),
        ("b.csv", b"id,n,x\n3,4,5\n4,many,\n"),
    ];
    let clauses = "ON PARSE ERROR RESCUE INTO _rescued ON SCHEMA CHANGE RESCUE";
    let script = script("", clauses, "path = 'in/*.csv'", "id, n, _rescued");
    check(
        &files,
        &script,
        &[
            (json!({"id": 1, "n": 2}), Value::Null),
            (json!({"id": 2, "n": 3}), Value::Null),
            (json!({"id": 3, "n": 4}), json!({"x": "5"})),
            (json!({"id": 4}), json!({"n": "many"})),
        ],
    );
}

/// What cannot be rescued is kept aside: a row without a value that must be there, a damaged file.
#[test]
fn what_cannot_be_rescued_is_a_dead_letter() {
    let place = Place::new();
    place.write("in/a.json", b"{\"id\":\"x\"}\n{\"id\":1}\n");
    place.write("in/b.json.gz", b"no gzip");
    let columns = "(id BIGINT NOT NULL)";
    let script = script(columns, "ON PARSE ERROR RESCUE INTO _rescued", JSON, "*");
    let summary = run(&place, &script, "batch").ok().summary();
    assert_eq!(rows(&place), [json!({"id": 1})]);
    assert_eq!(summary["adds_up"], true, "{summary}");
    let mut reasons: Vec<&str> = summary["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["corrupt", "null"]);
}

#[test]
fn what_a_source_cannot_promise_is_refused() {
    let refused = |columns: &str, clauses: &str, options: &str, error: &str, words: &[&str]| {
        let place = Place::new();
        place.write("in/a.json", b"{\"id\":1}\n");
        let script = format!(
            "CREATE SOURCE input {columns} {clauses} WITH ({options});
            CREATE SINK output WITH (connector = 'blackhole') AS SELECT * FROM input;"
        );
        place.run(&script, &[]).fails_with(error, words);
    };
    let file = "connector = 'file', path = 'in/*.json'";
    let id = "(id BIGINT)";
    refused(
        id,
        "ON SCHEMA CHANGE EVOLVE",
        file,
        "E0109",
        &["EVOLVE", "planned", "RESCUE"],
    );
    refused(id, "ON PARSE ERROR RESCUE", file, "E0101", &["INTO"]);
    refused(
        id,
        "ON PARSE ERROR SKIP ON PARSE ERROR FAIL",
        file,
        "E0101",
        &["once each"],
    );
    refused(
        id,
        "ON PARSE ERRORS FAIL",
        file,
        "E0101",
        &["ON PARSE ERROR or ON SCHEMA CHANGE"],
    );
    refused(
        id,
        "ON SCHEMA CHANGE WIDE",
        file,
        "E0101",
        &["FAIL, WIDEN, RESCUE or IGNORE"],
    );
    let two = "ON PARSE ERROR RESCUE INTO a ON SCHEMA CHANGE RESCUE INTO b";
    refused(id, two, file, "E0107", &["\"a\" and \"b\""]);
    let both = "connector = 'file', path = 'in/*.json', on_error = 'fail'";
    refused(id, "ON PARSE ERROR SKIP", both, "E0203", &["on_error"]);
    let rescue = "ON PARSE ERROR RESCUE INTO id";
    refused(id, rescue, file, "E0106", &["\"id\"", "VARCHAR"]);
    let made = "connector = 'generator'";
    refused(
        id,
        "ON SCHEMA CHANGE RESCUE",
        made,
        "E0109",
        &["'generator'"],
    );
}
