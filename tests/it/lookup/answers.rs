//! What a lookup join gives is what a join with all rows of the table gives.

use crate::program::Place;
use crate::servers::postgres::Postgres;

/// Orders with keys that are missing in the table, NULL, or there several times.
fn orders(rows: i64) -> String {
    let rows = (0..rows).map(|n| {
        let region = ["eu", "us", ""][(n % 3) as usize];
        match n % 17 {
            0 => format!("{n},,{region}\n"),
            _ => format!("{n},{},{region}\n", n * 7 % 120),
        }
    });
    format!("n,customer,region\n{}", rows.collect::<String>())
}

fn customers(postgres: &Postgres) -> String {
    postgres.table(
        "id int4, region text, name varchar(20), score numeric(8,2), active bool",
        "SELECT i % 100, (ARRAY['eu', 'us', NULL])[i % 3 + 1], 'c' || i, i / 4.0, i % 2 = 0
         FROM generate_series(1, 250) i
         UNION ALL SELECT NULL, 'eu', 'nobody', 1, true",
    )
}

/// The rows that a query gives, in order.
fn rows(place: &Place, script: &str, flags: &[&str]) -> Vec<String> {
    let folder = place.path().join("out");
    std::fs::remove_dir_all(&folder).ok();
    place.run(script, flags).ok();
    let mut rows = Vec::new();
    for file in place
        .files("out")
        .iter()
        .filter(|file| file.ends_with(".json"))
    {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        rows.extend(text.lines().map(str::to_owned));
    }
    rows.sort();
    rows
}

struct Case {
    name: &'static str,
    join: &'static str,
    /// Conditions after the keys, and the rest of the query.
    query: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "inner",
        join: "JOIN",
        query: "ON o.customer = c.id",
    },
    Case {
        name: "left",
        join: "LEFT JOIN",
        query: "ON o.customer = c.id",
    },
    Case {
        name: "left by two columns",
        join: "LEFT JOIN",
        query: "ON o.customer = c.id AND o.region = c.region",
    },
    Case {
        name: "left with more conditions",
        join: "LEFT JOIN",
        query: "ON o.customer = c.id AND c.active AND o.n > c.score * 3",
    },
    Case {
        name: "inner with a filter",
        join: "JOIN",
        query: "ON o.customer = c.id WHERE c.score > 20 AND o.n % 2 = 0",
    },
    Case {
        name: "a key that is computed",
        join: "JOIN",
        query: "ON o.customer + 1 = c.id AND upper(o.region) = upper(c.region)",
    },
];

#[test]
fn a_lookup_join_gives_what_a_join_with_the_table_gives() {
    let postgres = Postgres::shared();
    let table = customers(postgres);
    let place = Place::new();
    place.write("orders/1.csv", orders(1_500));
    let script = |case: &Case, lookup: &str, options: &str| {
        format!(
            "CREATE SOURCE orders (n BIGINT, customer BIGINT, region VARCHAR)
                WITH (connector = 'file', path = 'orders/*.csv', format = 'csv');
             CREATE SOURCE customers (id INT, region VARCHAR, name VARCHAR, score DECIMAL(8,2),
                active BOOLEAN) WITH ({}{options});
             CREATE SINK out WITH (connector = 'file', path = 'out', format = 'json') AS
             SELECT o.n, o.customer, c.name, c.score, c.region, c.score + o.n AS total
             FROM orders o {} customers {lookup} AS c {};",
            postgres.options(&table),
            case.join,
            case.query
        )
    };
    let cache = ", lookup.cache_ttl = '1 hour', lookup.cache_rows = '40', lookup.batch_rows = '13'";
    let at = "FOR SYSTEM_TIME AS OF PROCTIME()";
    for case in CASES {
        let expected = rows(&place, &script(case, "", ""), &["--mode", "batch"]);
        assert!(expected.len() > 100, "{}: {}", case.name, expected.len());
        for (mode, options, parallelism) in [
            ("batch", cache, "1"),
            ("streaming", "", "3"),
            ("streaming", cache, "2"),
        ] {
            let flags = [
                "--mode",
                mode,
                "--parallelism",
                parallelism,
                "--batch-rows",
                "100",
            ];
            let found = rows(&place, &script(case, at, options), &flags);
            assert!(
                found == expected,
                "{} in {mode}: {} rows, not {}",
                case.name,
                found.len(),
                expected.len()
            );
        }
    }
}

/// A join of which only the table's columns are used, for rows that come once, stays one that asks.
#[test]
fn rows_of_the_table_alone_come_too() {
    let postgres = Postgres::shared();
    let table = postgres.table(
        "id int8, name text",
        "VALUES (1, 'one'), (1, 'uno'), (2, 'two')",
    );
    let place = Place::new();
    place.write("in/1.csv", "id\n1\n1\n3\n");
    let script = format!(
        "CREATE SOURCE s (id BIGINT) WITH (connector = 'file', path = 'in/*.csv', format = 'csv');
         CREATE SOURCE t (id BIGINT, name VARCHAR, PRIMARY KEY (id)) WITH ({});
         CREATE SINK out WITH (connector = 'file', path = 'out', format = 'json') AS
         SELECT t.name FROM (SELECT DISTINCT id FROM s) d
         JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON d.id = t.id;",
        postgres.options(&table)
    );
    let found = rows(&place, &script, &["--mode", "streaming"]);
    assert_eq!(found, ["{\"name\":\"one\"}", "{\"name\":\"uno\"}"]);
}

#[test]
fn a_plan_says_what_is_asked() {
    let postgres = Postgres::shared();
    let table = customers(postgres);
    let place = Place::new();
    place.write("orders/1.csv", orders(10));
    let script = format!(
        "SET pipeline.mode = 'streaming'; SET pipeline.parallelism = 2;
         CREATE SOURCE orders (n BIGINT, customer BIGINT)
            WITH (connector = 'file', path = 'orders/*.csv', format = 'csv');
         CREATE SOURCE customers WITH ({}, lookup.cache_ttl = '5 seconds');
         EXPLAIN SELECT o.n, c.name FROM orders o
         LEFT JOIN customers FOR SYSTEM_TIME AS OF PROCTIME() AS c ON o.customer = c.id;",
        postgres.options(&table)
    );
    place.write("explain.sql", script);
    let said = place.weir(&["sql", "-f", "explain.sql"]).ok().out;
    for words in [
        "Lookup join left on",
        &format!("asks postgres public.{table} by (id)"),
        "cache of 100000 keys for 5s, 1024 keys per query",
        "-> hash(",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
}
