//! Values of all types come as they are, whether they are read, looked up, or asked for.

use crate::program::Place;
use crate::servers::postgres::Postgres;

/// A column's name, its type in the table and in the source, a value, and what is printed.
const TYPES: &[(&str, &str, &str, &str, &str)] = &[
    ("b", "bool", "BOOLEAN", "true", "true"),
    ("i2", "int2", "SMALLINT", "-7", "-7"),
    ("i4", "int4", "INT", "70000", "70000"),
    (
        "i8",
        "int8",
        "BIGINT",
        "9007199254740993",
        "9007199254740993",
    ),
    ("wide", "int4", "BIGINT", "5", "5"),
    ("f4", "float4", "REAL", "1.5", "1.5"),
    ("f8", "float8", "DOUBLE", "-0.1", "-0.1"),
    (
        "n",
        "numeric(12,3)",
        "DECIMAL(12,3)",
        "-1234.567",
        "-1234.567",
    ),
    ("free", "numeric", "DECIMAL(20,2)", "17.10", "17.10"),
    ("t", "text", "VARCHAR", "'grün ''x'''", "grün 'x'"),
    ("c", "char(5)", "VARCHAR", "'ab'", "ab"),
    ("by", "bytea", "BYTEA", "'\\x00ff'", "00ff"),
    ("d", "date", "DATE", "'1969-12-31'", "1969-12-31"),
    ("tm", "time", "TIME", "'13:14:15.000016'", "13:14:15.000016"),
    (
        "ts",
        "timestamp",
        "TIMESTAMP",
        "'2026-01-02 03:04:05.000006'",
        "2026-01-02T03:04:05.000006",
    ),
    (
        "tz",
        "timestamptz",
        "TIMESTAMP WITH TIME ZONE",
        "'2026-01-02 03:04:05+02'",
        "2026-01-02T01:04:05Z",
    ),
    (
        "u",
        "uuid",
        "VARCHAR",
        "'0189c0de-0000-7abc-8def-0123456789ab'",
        "0189c0de-0000-7abc-8def-0123456789ab",
    ),
    (
        "j",
        "jsonb",
        "VARCHAR",
        "'{\"a\": [1, null]}'",
        "{\\\"a\\\": [1, null]}",
    ),
];

fn columns(of: fn(&(&str, &str, &str, &str, &str)) -> String) -> String {
    TYPES.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[test]
fn values_come_as_they_are() {
    let postgres = Postgres::shared();
    let values = columns(|column| column.3.to_owned());
    let nulls = columns(|_| "NULL".to_owned());
    let table = postgres.table(
        &format!(
            "id int8 PRIMARY KEY, {}",
            columns(|c| format!("{} {}", c.0, c.1))
        ),
        &format!("VALUES (1, {values}), (2, {nulls})"),
    );
    let options = postgres.options(&table);
    let declared = columns(|column| format!("{} {}", column.0, column.2));
    let place = Place::new();
    place.write("keys/1.csv", "id\n1\n2\n");
    let print = "CREATE SINK out WITH (connector = 'print', format = 'json') AS";
    let read = format!(
        "CREATE SOURCE t (id BIGINT, {declared}, PRIMARY KEY (id)) WITH ({options});
         {print} SELECT * FROM t;"
    );
    let looked_up = format!(
        "CREATE SOURCE k (id BIGINT) WITH (connector = 'file', path = 'keys/*.csv', format = 'csv');
         CREATE SOURCE t (id BIGINT, {declared}) WITH ({options});
         {print} SELECT t.* FROM k
         JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON k.id = t.id;"
    );
    for (script, mode) in [
        (&read, "batch"),
        (&looked_up, "streaming"),
        (&looked_up, "batch"),
    ] {
        let said = place.run(script, &["--mode", mode]).ok().out;
        let line = said
            .lines()
            .find(|line| line.contains("\"id\":1"))
            .unwrap_or_else(|| panic!("{said}"));
        for (name, .., shown) in TYPES {
            let quoted = format!("\"{name}\":\"{shown}\"");
            let plain = format!("\"{name}\":{shown}");
            assert!(
                line.contains(&quoted) || line.contains(&plain),
                "no {plain} in {mode}:\n{line}"
            );
        }
        let line = said
            .lines()
            .find(|line| line.contains("\"id\":2"))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(!line.contains("true") && !line.contains("ab"), "{line}");
    }
    // Without declared columns the table's own are read.
    let discovered = format!("CREATE SOURCE t WITH ({options}); {print} SELECT * FROM t;");
    let said = place.run(&discovered, &[]).ok().out;
    assert!(said.contains("\"i8\":9007199254740993"), "{said}");
    assert!(said.contains("2026-01-02T01:04:05Z"), "{said}");
}

/// Every type that a table may be asked by finds the row that has the same value.
#[test]
fn values_are_found_by_any_type() {
    let postgres = Postgres::shared();
    let values = columns(|column| column.3.to_owned());
    let table = postgres.table(
        &columns(|column| format!("{} {}", column.0, column.1)),
        &format!("VALUES ({values})"),
    );
    let options = postgres.options(&table);
    let declared = columns(|column| format!("{} {}", column.0, column.2));
    let sinks = TYPES.iter().map(|(name, ..)| {
        format!(
            "CREATE SINK out_{name} WITH (connector = 'print', format = 'json') AS
             SELECT '{name}' AS found FROM stream s
             JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON s.{name} = t.{name};"
        )
    });
    let script = format!(
        "SET pipeline.mode = 'streaming';
         CREATE SOURCE stream ({declared}) WITH ({options});
         CREATE SOURCE t ({declared}) WITH ({options});
         {}",
        sinks.collect::<String>()
    );
    let said = Place::new().run(&script, &["--parallelism", "1"]).ok().out;
    for (name, ..) in TYPES {
        let found = format!("{{\"found\":\"{name}\"}}");
        assert!(said.contains(&found), "not found by {name}:\n{said}");
    }
}
