//! Rules over keys in scripts: a batch and a stream give the same counts with any parallelism, all
//! readers of a source see the same rows, and what cannot be asked is refused before a row is read.

use expect_test::expect;

use super::rules::{done, each, ids, told};
use super::*;

const EVENTS: &str = r#"
    CREATE SOURCE events (
        id BIGINT, k BIGINT, city VARCHAR, status VARCHAR, seq BIGINT, x DOUBLE, lo BIGINT,
        hi BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts
    ) WITH (connector = 'memory', rows = '
        {"id": 1, "k": 1, "city": "a", "status": "new", "seq": 1, "x": 10.0, "lo": 1, "hi": 3, "ts": "2024-01-01T00:00:01"}
        {"id": 2, "k": 1, "city": "a", "status": "paid", "seq": 2, "x": 11.0, "lo": 3, "hi": 5, "ts": "2024-01-01T00:00:02"}
        {"id": 3, "k": 2, "city": "b", "status": "new", "seq": 1, "x": 5.0, "lo": 1, "hi": 2, "ts": "2024-01-01T00:00:03"}
        {"id": 4, "k": 1, "city": "c", "status": "sent", "seq": 4, "x": 30.0, "lo": 4, "hi": 6, "ts": "2024-01-01T00:00:04"}
        {"id": 5, "k": 2, "city": null, "status": "sent", "seq": 2, "x": 6.0, "lo": 9, "hi": 5, "ts": "2024-01-01T00:00:05"}
        {"id": 6, "k": null, "city": "z", "status": "new", "seq": 7, "x": 1.0, "lo": 1, "hi": 9, "ts": "2024-01-01T00:00:06"}
        {"id": 7, "k": 1, "city": "a", "status": "new", "seq": 3, "x": 31.0, "lo": 5, "hi": null, "ts": "2024-01-01T00:00:07"}
        {"id": 8, "k": 2, "city": "b", "status": "paid", "seq": 2, "x": null, "lo": null, "hi": 3, "ts": "2024-01-01T00:00:08"}
        {"id": 9, "k": 2, "city": "b", "status": "back", "seq": 3, "x": 7.0, "lo": 2, "hi": 2, "ts": "2024-01-01T00:00:09"}');
"#;

/// Rules, each with the rows that it could answer for, those that break it and those it could not
/// answer for.
const COUNTED: [(&str, &str); 21] = [
    ("UNIQUE (id)", "9/0/0"),
    ("UNIQUE (k) KEEP FIRST", "8/6/1"),
    ("UNIQUE (k) ON UNKNOWN VIOLATE", "9/7/1"),
    ("UNIQUE (k) WHEN (status = 'new')", "3/1/1"),
    ("UNIQUE (k, city)", "7/4/2"),
    ("UNIQUE (city) PER (k)", "7/4/2"),
    ("UNIQUE (*)", "9/0/0"),
    ("UNIQUE (city) WITHIN INTERVAL '3' SECOND", "8/2/1"),
    ("(k) DETERMINES (city)", "7/1/2"),
    (
        "TRANSITION (status) IN (('new', 'paid'), ('paid', 'sent'), ('paid', 'back')) PER (k)",
        "8/3/1",
    ),
    (
        "TRANSITION (status) IN (('new', 'paid'), ('paid', 'sent'), (NULL, 'paid')) PER (k)",
        "8/6/1",
    ),
    ("INCREASING STRICTLY (seq) PER (k)", "8/2/1"),
    ("DECREASING (seq) PER (k)", "8/4/1"),
    ("INCREASING (id)", "9/0/0"),
    ("SEQUENTIAL (seq) PER (k)", "8/3/1"),
    ("NO OVERLAP (lo, hi) PER (k)", "7/2/2"),
    ("(abs(x - lag(x)) < 10) PER (k)", "4/1/5"),
    ("INCREASING (seq) PER (k) ORDER BY ts", "8/1/1"),
    ("(lag(status) = 'new' OR lag(id) IS NULL) PER (k)", "8/4/1"),
    (
        "NO OUTLIERS (seq, method => 'zscore', k => 1) LAST (3 ROWS)",
        "6/2/3",
    ),
    (
        "NO OUTLIERS (seq, k => 0.5, method => 'iqr') SCOPE LAST (4 ROWS) ON UNKNOWN VIOLATE",
        "9/5/4",
    ),
];

fn counted(script: &str) {
    let mut rules = String::new();
    for (number, (rule, _)) in COUNTED.iter().enumerate() {
        rules.push_str(&format!(
            "CREATE EXPECTATION r{number} ON events EXPECT {rule};"
        ));
    }
    let script = format!("{EVENTS} {rules} {script}");
    let expected: Vec<String> = COUNTED
        .iter()
        .enumerate()
        .map(|(number, (_, counts))| format!("r{number} {counts}"))
        .collect();
    each(&script, |done, at| {
        let expected = format!("events: 9 = 9 + 0 + 0 (0) {}", expected.join(", "));
        assert_eq!(told(&done.letters.tallies()), [expected], "{at}");
        let account = done.accounts.iter().find(|a| a.name == "events").unwrap();
        assert_eq!((account.rows_in, account.ruled), (9, 0), "{at}");
    });
}

#[test]
fn every_rule_counts_alike_in_batch_and_streaming() {
    counted("INSERT INTO lake SELECT id FROM events");
}

#[test]
fn several_readers_count_once() {
    counted(
        "INSERT INTO lake SELECT id FROM events WHERE id > 4;
         INSERT INTO lake SELECT id FROM events WHERE id < 2",
    );
}

#[test]
fn windows_behind_rules_count_alike() {
    counted(
        "CREATE SINK out WITH (connector = 'memory');
         INSERT INTO lake SELECT id FROM events;
         INSERT INTO out SELECT window_start, count(*) AS n
         FROM TUMBLE(events, ts, INTERVAL '5 seconds') GROUP BY window_start",
    );
}

/// Three stages: the row that one keeps back is not asked by the next.
#[test]
fn a_row_meets_the_strongest_fate_of_its_stage() {
    let script = format!(
        "{EVENTS}
         CREATE EXPECTATION row ON events EXPECT (id <> 9) ON VIOLATION DROP ROW;
         CREATE EXPECTATION one ON events EXPECT UNIQUE (k) ON VIOLATION DROP ROW;
         CREATE EXPECTATION fd ON events EXPECT (k) DETERMINES (city) ON VIOLATION QUARANTINE;
         CREATE EXPECTATION st ON events EXPECT INCREASING (x) PER (status) ON VIOLATION SET (x = 0);
         INSERT INTO lake SELECT id, x FROM events;
         INSERT INTO lake SELECT id + 100, x FROM events WHERE id = 6"
    );
    each(&script, |done, at| {
        assert_eq!(
            done.rows,
            [
                "| 1 | 10.0 |",
                "| 106 | 0.0 |",
                "| 3 | 0.0 |",
                "| 6 | 0.0 |"
            ],
            "{at}"
        );
        assert_eq!(ids(&done.store, "events"), [4], "{at}");
        let expected = "events: 9 = 3 + 5 + 1 (2) row 9/1/0, one 7/5/1, fd 6/1/2, st 3/2/0";
        assert_eq!(told(&done.letters.tallies()), [expected], "{at}");
        let account = done.accounts.iter().find(|a| a.name == "events").unwrap();
        assert_eq!((account.rows_in, account.ruled), (9, 6), "{at}");
    });
}

/// Which of the rows is the second one is the same for both sides.
#[test]
fn both_sides_of_a_join_see_the_same_rows() {
    let script = format!(
        "{EVENTS} CREATE EXPECTATION one ON events EXPECT UNIQUE (k) ON VIOLATION DROP ROW;
         INSERT INTO lake SELECT a.id AS one, b.id AS other FROM events a JOIN events b ON a.k = b.k"
    );
    block_on(async {
        for parallelism in [1, 3] {
            let done = done(parallelism, "batch", &script).await;
            let done = done.unwrap_or_else(|error| panic!("{}", error.report(None)));
            assert_eq!(done.rows, ["| 1 | 1 |", "| 3 | 3 |"]);
            let expected = "events: 9 = 3 + 6 + 0 (0) one 8/6/1";
            assert_eq!(told(&done.letters.tallies()), [expected]);
        }
    });
}

#[test]
fn rules_of_sinks_and_views() {
    let script = format!(
        "{EVENTS} CREATE SINK out (
             CONSTRAINT some EXPECT (id > 1) ON VIOLATION DROP ROW,
             CONSTRAINT one EXPECT UNIQUE (k) ON VIOLATION QUARANTINE
         ) WITH (connector = 'memory');
         CREATE MATERIALIZED VIEW v (CONSTRAINT fd EXPECT (k) DETERMINES (city)) AS
             SELECT id, k, city FROM events;
         CREATE MATERIALIZED VIEW w (CONSTRAINT first EXPECT UNIQUE (city) ON VIOLATION DROP ROW) AS
             SELECT id, city FROM events;
         INSERT INTO out SELECT id, k FROM v"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows, ["| 2 | 1 |", "| 3 | 2 |", "| 6 | |"], "{at}");
        assert_eq!(ids(&done.store, "out"), [4, 5, 7, 8, 9], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            [
                "out: 9 = 3 + 1 + 5 (0) some 9/1/0, one 7/5/1",
                "v: 9 = 9 + 0 + 0 (0) fd 7/1/2",
                "w: 9 = 5 + 4 + 0 (0) first 8/4/1"
            ],
            "{at}"
        );
    });
}

#[test]
fn no_rows_break_no_rule() {
    let script = "CREATE SOURCE none (id BIGINT, k BIGINT,
             CONSTRAINT one EXPECT UNIQUE (id) ON VIOLATION DROP ROW,
             CONSTRAINT up EXPECT INCREASING (id) PER (k) ON VIOLATION FAIL UPDATE
         ) WITH (connector = 'memory', rows = '');
         INSERT INTO lake SELECT id FROM none";
    each(script, |done, at| {
        assert!(done.rows.is_empty(), "{at}");
        assert!(done.letters.tallies().is_empty(), "{at}");
    });
}

#[test]
fn a_job_fails_where_a_rule_over_keys_says_so() {
    let failing = [
        (
            "EXPECT UNIQUE (k) ON VIOLATION FAIL UPDATE",
            "a row of \"events\" breaks rule \"r\"",
        ),
        (
            "EXPECT UNIQUE (k) ON OVERFLOW 5 FAIL UPDATE",
            "too many rows of \"events\" break rule \"r\"",
        ),
        (
            "EXPECT UNIQUE (k) ON OVERFLOW 0.7 FAIL UPDATE",
            "too many rows of \"events\" break rule \"r\"",
        ),
    ];
    block_on(async {
        for (rule, message) in failing {
            for mode in ["batch", "streaming"] {
                let script = format!(
                    "{EVENTS} CREATE EXPECTATION r ON events {rule}; INSERT INTO lake SELECT id FROM events"
                );
                let error = done(2, mode, &script).await.err().expect("it fails");
                assert_eq!(error.message(), message, "{mode}");
            }
        }
    });
}

#[test]
fn the_graph_shows_rules_over_keys() {
    let rules = "CREATE EXPECTATION one ON orders EXPECT UNIQUE (id) ON VIOLATION DROP ROW;
         CREATE EXPECTATION up ON orders EXPECT INCREASING STRICTLY (ts) PER (status);
         CREATE EXPECTATION plain ON orders EXPECT (amount > 0);
         CREATE SINK out (CONSTRAINT gap EXPECT SEQUENTIAL (id)) WITH (connector = 'memory');
         INSERT INTO out SELECT id FROM orders WHERE status = 'open'";
    check_graph(
        2,
        rules,
        expect![[r#"
            batch
            Sink out: memory (id Int64) [x1]
              Rules out: rules=[gap: sequential (id@0) -> warn] [x1] -> forward
                Island (DataFusion) [x2] -> rebalance
                  | FilterExec: status@1 = open, projection=[id@0]
                  |   ProjectionExec: expr=[id@0 as id, status@1 as status]
                  |     RulesExec: orders, rules=[one: unique (id@0) -> drop row]
                  |       RulesExec: orders, rules=[up: increasing strictly (ts@3) per (status@1) -> warn]
                  |         RepartitionExec: partitioning=Hash([status@1], 2), input_partitions=2
                  |           ScanExec: orders, memory columns=[id, status, amount, ts] rules=[plain: amount@2 > 0 -> warn]
        "#]],
    );
    check_graph(
        2,
        &format!("SET pipeline.mode = 'streaming'; {rules}"),
        expect![[r#"
            streaming
            Sink out: memory (id Int64) [x1]
              Rules out: rules=[gap: sequential (id@0) -> warn] [x1] -> forward
                Filter [status@1 = open] Project [id@0] [x2] -> rebalance
                  Project [id@0, status@1] [x2] -> forward
                    Rules orders: rules=[one: unique (id@0) -> drop row] [x2] -> forward
                      Rules orders: rules=[up: increasing strictly (ts@3) per (status@1) -> warn] [x2] -> hash(id@0)
                        Source orders: memory columns=[id, status, amount, ts] watermark=[ts - INTERVAL '5 seconds'] rules=[plain: amount@2 > 0 -> warn] [x2] -> hash(status@1)
        "#]],
    );
}

const MISWRITTEN: [&str; 10] = [
    "EXPECT UNIQUE (idd)",
    "EXPECT UNIQUE ()",
    "EXPECT UNIQUE (id, id)",
    "EXPECT UNIQUE id",
    "EXPECT UNIQUE (id) WITHIN 7",
    "EXPECT UNIQUE (id) WITHIN INTERVAL '7' DOGS",
    "EXPECT (id) DETERMINES (statuss)",
    "EXPECT (id) DETERMINES status",
    "EXPECT (id, status) IS UNIQUE",
    "EXPECT TRANSITION (status) IN ('new', 'paid')",
];

const MISPLANNED: [&str; 13] = [
    "EXPECT TRANSITION (id) IN (('new', 1))",
    "EXPECT TRANSITION (status) IN (('new', NULL))",
    "EXPECT TRANSITION (status) IN ((status, 'new'))",
    "EXPECT INCREASING (id, ts) PER (status)",
    "EXPECT INCREASING (id) PER (nope)",
    "EXPECT INCREASING (id) ORDER BY amount",
    "EXPECT INCREASING (id) ORDER BY ts DESC",
    "EXPECT SEQUENTIAL (amount)",
    "EXPECT NO OVERLAP (id)",
    "EXPECT NO OVERLAP (id, ts)",
    "EXPECT (id > lag(id, 2))",
    "EXPECT (lag(id)) PER (status)",
    "EXPECT UNIQUE (id) MOSTLY 0.9",
];

/// What is said of rules of `orders`.
fn refused(rules: &[&str]) -> String {
    block_on(async {
        let mut text = String::new();
        for rule in rules {
            let mut session = session(1);
            execute(&mut session, ORDERS).await.unwrap();
            let statement = format!("CREATE EXPECTATION r ON orders {rule}");
            let error = execute(&mut session, &statement).await.unwrap_err();
            text.push_str(&format!("{rule}\n{}\n\n", error.report(None)));
        }
        text
    })
}

#[test]
fn rules_over_keys_that_are_miswritten() {
    expect![[r#"
        EXPECT UNIQUE (idd)
        error[E0104]: line 1, column 47: unknown column "idd"
          hint: did you mean "id"?

        EXPECT UNIQUE ()
        error[E0101]: line 1, column 47: expected the name of a column but found ')'

        EXPECT UNIQUE (id, id)
        error[E0107]: line 1, column 51: column "id" is in the list twice

        EXPECT UNIQUE id
        error[E0101]: line 1, column 46: expected '(' but found 'id'

        EXPECT UNIQUE (id) WITHIN 7
        error[E0101]: line 1, column 58: expected INTERVAL but found the number 7

        EXPECT UNIQUE (id) WITHIN INTERVAL '7' DOGS
        error[E0116]: line 1, column 58: "7 dogs" is no time span
          hint: write INTERVAL '7 days' or INTERVAL '7' DAY

        EXPECT (id) DETERMINES (statuss)
        error[E0104]: line 1, column 56: unknown column "statuss"
          hint: did you mean "status"?

        EXPECT (id) DETERMINES status
        error[E0101]: line 1, column 55: expected '(' but found 'status'

        EXPECT (id, status) IS UNIQUE
        error[E0109]: line 1, column 42: a rule over a list of columns is not supported in this version
          hint: rules look at one row, EXPECT (expression), or at an aggregate of many, EXPECT (count(*) > 0)

        EXPECT TRANSITION (status) IN ('new', 'paid')
        error[E0101]: line 1, column 63: expected '(' but found a string

    "#]].assert_eq(&refused(&MISWRITTEN));
}

#[test]
fn rules_over_keys_that_cannot_be_planned() {
    expect![[r#"
        EXPECT TRANSITION (id) IN (('new', 1))
        error[E0106]: line 1, column 39: 'new' is no value of the state, which is Int64

        EXPECT TRANSITION (status) IN (('new', NULL))
        error[E0116]: line 1, column 39: a transition to NULL: a state that is null is unknown
          hint: a null before the comma says how a key may begin

        EXPECT TRANSITION (status) IN ((status, 'new'))
        error[E0104]: line 1, column 64: unknown column "status"

        EXPECT INCREASING (id, ts) PER (status)
        error[E0116]: line 1, column 50: the rule is about one column

        EXPECT INCREASING (id) PER (nope)
        error[E0104]: line 1, column 60: unknown column "nope"
          hint: known: id, status, amount, ts

        EXPECT INCREASING (id) ORDER BY amount
        error[E0106]: line 1, column 64: "amount" is Float64, not a TIMESTAMP
          hint: rows are ordered by their event time

        EXPECT INCREASING (id) ORDER BY ts DESC
        error[E0109]: line 1, column 67: ORDER BY ... DESC of a rule is not supported in this version
          hint: rows are asked in the order of their event time: turn the rule around instead

        EXPECT SEQUENTIAL (amount)
        error[E0106]: line 1, column 51: "amount" is Float64: only whole numbers follow one another
          hint: use INCREASING STRICTLY for other numbers and for times

        EXPECT NO OVERLAP (id)
        error[E0116]: line 1, column 50: NO OVERLAP has two columns
          hint: where the range begins and where it ends: NO OVERLAP (valid_from, valid_to)

        EXPECT NO OVERLAP (id, ts)
        error[E0106]: line 1, column 55: "id" is Int64 and "ts" is Timestamp(µs): a range has two ends of one type
          hint: declare both with one type, or cast one in a view

        EXPECT (id > lag(id, 2))
        error[E0116]: line 1, column 39: lag(id, 2): lag takes one column in a rule
          hint: write lag(column): the value of the row of the key that came before

        EXPECT (lag(id)) PER (status)
        error[E0106]: line 1, column 39: EXPECT needs true or false, but the expression gives Int64
          hint: compare it with something: EXPECT (column > 0)

        EXPECT UNIQUE (id) MOSTLY 0.9
        error[E0109]: line 1, column 39: a rule over keys with SCOPE, EVERY or MOSTLY is not supported in this version
          hint: ask for the share: EXPECT (unique_ratio(column) >= 0.99), with SCOPE or EVERY

    "#]].assert_eq(&refused(&MISPLANNED));
}

#[test]
fn tables_without_what_rules_over_keys_need() {
    let scripts = [
        "CREATE EXPECTATION r ON customers EXPECT UNIQUE (id) WITHIN INTERVAL '1' DAY",
        "CREATE SOURCE s (id BIGINT, a TIMESTAMP, b TIMESTAMP, WATERMARK FOR a AS a,
         CONSTRAINT r EXPECT INCREASING (id) ORDER BY b) WITH (connector = 'memory', rows = '')",
        "CREATE SOURCE s (id BIGINT, a TIMESTAMP, CONSTRAINT r EXPECT INCREASING (id) ORDER BY a)
         WITH (connector = 'memory', rows = '')",
        "CREATE MATERIALIZED VIEW v (CONSTRAINT r EXPECT UNIQUE (id) ON VIOLATION DROP ROW) AS
         SELECT id FROM orders; INSERT INTO lake SELECT * FROM v",
        "SET pipeline.mode = 'streaming'; CREATE MATERIALIZED VIEW v (CONSTRAINT r EXPECT UNIQUE (n))
         AS SELECT status, count(*) AS n FROM orders GROUP BY status",
        "SET pipeline.mode = 'streaming'; CREATE EXPECTATION r ON customers EXPECT UNIQUE (id);
         INSERT INTO lake SELECT o.id FROM orders o JOIN customers c ON o.id = c.id;
         INSERT INTO lake SELECT id FROM customers",
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
        error[E0109]: line 1, column 42: rule over keys: WITHIN
          detail: the rows of "customers" have no event time
          hint: declare WATERMARK FOR a column on the source, or leave WITHIN out

        error[E0109]: line 2, column 30: rule over keys: ORDER BY "b"
          detail: rows wait for their turn until the watermark is there, which goes by "a"
          hint: ORDER BY a, or leave it out: rows are then asked as they come

        error[E0109]: line 1, column 62: rule over keys: ORDER BY "a"
          detail: rows wait for their turn until the watermark is there, and these rows have none
          hint: declare WATERMARK FOR the column on the source, or leave ORDER BY out

        error[E0109]: line 2, column 64: view "v" cannot be read in this script because of rule "r"
          detail: queries compute a view anew, and which of its rows break a rule over keys, a window or a batch depends on the order in which they come
          hint: put the rule on a source or a sink, or let it warn

        error[E0109]: line 1, column 82: rule over keys: the rows of "v" change
          detail: a rule over keys counts rows as they come, and can't take one back
          hint: put the rule on a source whose rows are only added

        error[E0109]: source "customers" is read as a stream and as a table
          detail: its rules over keys would be asked twice, in two orders
          hint: declare a second source over the same data for the table

    "#]].assert_eq(&text);
}
