//! Rules that refer to another table.

use expect_test::expect;

use super::rules::{each, ids, told};
use super::*;

const TABLES: &str = r#"
    CREATE SOURCE users (id BIGINT, org VARCHAR) WITH (connector = 'memory', rows = '
        {"id": 1, "org": "a"}
        {"id": 2, "org": "b"}
        {"id": null, "org": "c"}');
    CREATE SOURCE events (id BIGINT, user INT, org VARCHAR) WITH (connector = 'memory', rows = '
        {"id": 1, "user": 1, "org": "a"}
        {"id": 2, "user": 3, "org": "a"}
        {"id": 3, "user": null, "org": "a"}
        {"id": 4, "user": 2, "org": "a"}
        {"id": 5, "user": 2, "org": "b"}');
"#;

#[test]
fn a_row_refers_to_a_row_that_is_there() {
    let script = format!(
        "{TABLES} CREATE EXPECTATION fk ON events EXPECT (user) REFERENCES users(id) ON VIOLATION QUARANTINE;
         CREATE EXPECTATION both ON events EXPECT (user, org) REFERENCES users(id, org)
             ON VIOLATION DROP ROW ON UNKNOWN VIOLATE;
         CREATE EXPECTATION again ON events EXPECT (org) REFERENCES users(org) WHEN (id > 4);
         INSERT INTO lake SELECT id FROM events"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows, ["| 1 |", "| 5 |"], "{at}");
        assert_eq!(ids(&done.store, "events"), [2], "{at}");
        let expected = "events: 5 = 2 + 2 + 1 (0) fk 4/1/1, both 5/3/1, again 1/0/0";
        assert_eq!(told(&done.letters.tallies()), [expected], "{at}");
        let account = done.accounts.iter().find(|a| a.name == "events").unwrap();
        assert_eq!((account.rows_in, account.ruled), (5, 3), "{at}");
    });
}

/// What a rule refers to may be a view, and have rules itself, which count nothing here.
#[test]
fn views_and_sinks_refer_too() {
    let script = format!(
        "{TABLES} CREATE EXPECTATION few ON users EXPECT (id < 2) ON VIOLATION DROP ROW;
         CREATE VIEW members AS SELECT id * 1 AS member FROM users;
         CREATE MATERIALIZED VIEW v (CONSTRAINT fk EXPECT (user) REFERENCES members(member)
             ON VIOLATION DROP ROW) AS SELECT id, user FROM events;
         CREATE SINK out (CONSTRAINT org EXPECT (id) REFERENCES users(id) ON VIOLATION DROP ROW)
             WITH (connector = 'memory');
         INSERT INTO out SELECT id FROM v"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows, ["| 1 |"], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            [
                "out: 2 = 1 + 1 + 0 (0) org 2/1/0",
                "v: 5 = 2 + 3 + 0 (0) fk 4/3/1"
            ],
            "{at}"
        );
    });
}

#[test]
fn nothing_is_in_a_table_without_rows() {
    let script = "CREATE SOURCE none (id BIGINT) WITH (connector = 'memory', rows = '');
         CREATE EXPECTATION fk ON orders EXPECT (id) REFERENCES none(id) ON VIOLATION DROP ROW;
         INSERT INTO lake SELECT id FROM orders";
    each(script, |done, at| {
        assert!(done.rows.is_empty(), "{at}");
        let expected = "orders: 4 = 0 + 4 + 0 (0) fk 4/4/0";
        assert_eq!(told(&done.letters.tallies()), [expected], "{at}");
    });
}

#[test]
fn bare_queries_refer_too() {
    check(
        &format!(
            "{TABLES} CREATE EXPECTATION fk ON events EXPECT (user) REFERENCES users(id)
                 ON VIOLATION DROP ROW; SELECT count(*) AS n FROM events"
        ),
        expect![[r#"
            +---+
            | n |
            +---+
            | 4 |
            +---+"#]],
    );
}

#[test]
fn references_that_cannot_be_planned() {
    let scripts = [
        "CREATE EXPECTATION r ON orders EXPECT (id) REFERENCES customer(id)",
        "CREATE EXPECTATION r ON orders EXPECT (id) REFERENCES customers(idd)",
        "CREATE EXPECTATION r ON orders EXPECT (idd) REFERENCES customers(id)",
        "CREATE EXPECTATION r ON orders EXPECT (id, status) REFERENCES customers(id)",
        "CREATE EXPECTATION r ON orders EXPECT (ts) REFERENCES customers(id)",
        "CREATE EXPECTATION r ON orders EXPECT (id) REFERENCES customers",
        "CREATE EXPECTATION r ON orders EXPECT (id) REFERENCES lake(id)",
        "CREATE EXPECTATION r ON orders EXPECT (id) REFERENCES customers(id) PER (status)",
    ];
    let text = block_on(async {
        let mut text = String::new();
        for script in scripts {
            let mut session = session(1);
            execute(&mut session, ORDERS).await.unwrap();
            let error = match execute(&mut session, script).await {
                Err(error) => error,
                Ok(_) => session.pipeline().await.unwrap_err(),
            };
            text.push_str(&format!("{}\n\n", error.report(None)));
        }
        text
    });
    expect![[r#"
        error[E0103]: line 1, column 55: unknown table "customer"
          hint: did you mean "customers"?

        error[E0104]: line 1, column 65: unknown column "idd"
          hint: did you mean "id"?

        error[E0104]: line 1, column 40: unknown column "idd"
          hint: did you mean "id"?

        error[E0116]: line 1, column 39: 2 columns refer to 1

        error[E0106]: line 1, column 40: "ts" is Timestamp(µs) and "id" of customers is Int64: they can't be compared
          hint: declare both with one type, or cast one in a view

        error[E0101]: line 1, column 64: expected '(' but found the end of the statement

        error[E0109]: line 1, column 55: "lake" is a sink, which cannot be read yet
          hint: declare a source over what the sink writes

        error[E0116]: line 1, column 74: REFERENCES looks at each row by itself, without PER and ORDER BY

    "#]].assert_eq(&text);
}
