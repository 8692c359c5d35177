//! Rules that rows wait for, in scripts: a batch and a stream publish and quarantine the same windows with
//! any parallelism, and what cannot be waited for is refused before a row is read.

use arrow::array::{Array, AsArray};
use expect_test::expect;

use super::rules::{Done, done, each, ids, told};
use super::*;

const EVENTS: &str = r#"
    CREATE SOURCE events (id BIGINT, k VARCHAR, x DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 minute')
    WITH (connector = 'memory', rows = '
        {"id": 1, "k": "a", "x": 5.0, "ts": "2024-01-01T00:00:01"}
        {"id": 2, "k": "a", "x": 1.0, "ts": "2024-01-01T00:00:02"}
        {"id": 3, "k": "b", "x": 7.0, "ts": "2024-01-01T00:00:03"}
        {"id": 4, "k": "a", "x": 9.0, "ts": "2024-01-01T00:00:11"}
        {"id": 5, "k": "b", "x": null, "ts": "2024-01-01T00:00:12"}
        {"id": 6, "k": "b", "x": 2.0, "ts": "2024-01-01T00:00:14"}
        {"id": 7, "k": "a", "x": 3.0, "ts": "2024-01-01T00:00:25"}
        {"id": 8, "k": "b", "x": null, "ts": "2024-01-01T00:00:26"}
        {"id": 9, "k": "a", "x": 4.0, "ts": null}');
"#;
const WINDOW: &str = "SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' SECOND))";

/// Rules, each with the rows that are kept back and its verdicts: answered, broken, unknown.
const RULES: [(&str, &[i64], &str); 17] = [
    (
        "(sum(x) > 5) {W} PER (k) ON VIOLATION QUARANTINE WINDOW",
        &[5, 6, 7],
        "5/2/1",
    ),
    (
        "(sum(x) > 5) {W} PER (k) ON VIOLATION QUARANTINE WINDOW ON UNKNOWN VIOLATE",
        &[5, 6, 7, 8],
        "6/3/0",
    ),
    (
        "(sum(x) > 0) {W} PER (k) ON VIOLATION QUARANTINE WINDOW",
        &[],
        "5/0/1",
    ),
    (
        "(count(*) >= 3) {W} ON VIOLATION QUARANTINE WINDOW",
        &[7, 8],
        "3/1/0",
    ),
    (
        "(count(*) > 2) EVERY INTERVAL '10' SECOND ON VIOLATION QUARANTINE WINDOW",
        &[7, 8],
        "3/1/0",
    ),
    (
        "(x > 3) MOSTLY 0.5 {W} ON VIOLATION QUARANTINE WINDOW",
        &[7, 8],
        "3/1/0",
    ),
    (
        "(x > 3) MOSTLY 0.5 {W} PER (k) ON VIOLATION QUARANTINE WINDOW",
        &[5, 6, 7],
        "5/2/1",
    ),
    (
        "(count(*) > 2) {W} WHEN (k = 'b') ON VIOLATION QUARANTINE WINDOW",
        &[3, 5, 6, 8],
        "3/3/0",
    ),
    (
        "(count(DISTINCT k) > 1 AND max(x) > 8) {W} ON VIOLATION QUARANTINE WINDOW",
        &[1, 2, 3, 7, 8],
        "3/2/0",
    ),
    (
        "(completeness(x) = 1) SCOPE BATCH PER (k) ON VIOLATION QUARANTINE BATCH",
        &[3, 5, 6, 8],
        "2/1/0",
    ),
    ("(count(*) = 9) ON VIOLATION QUARANTINE BATCH", &[], "1/0/0"),
    (
        "(count(*) = 8) ON VIOLATION QUARANTINE BATCH INTO bad",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        "1/1/0",
    ),
    (
        "(count(*) FILTER (WHERE x > 6) > 2) WHEN (x IS NOT NULL) ON VIOLATION QUARANTINE BATCH",
        &[1, 2, 3, 4, 6, 7, 9],
        "1/1/0",
    ),
    (
        "DISTINCT (k) = ('a', 'b') ON VIOLATION QUARANTINE BATCH",
        &[],
        "1/0/0",
    ),
    (
        "DISTINCT (k) IN ('a') PER (k) ON VIOLATION QUARANTINE BATCH",
        &[3, 5, 6, 8],
        "2/1/0",
    ),
    (
        "SCHEMA (id BIGINT, k BIGINT) ON VIOLATION QUARANTINE BATCH",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        "1/1/0",
    ),
    (
        "(sum(x) > 5) WHEN (k = 'z') ON VIOLATION QUARANTINE BATCH ON UNKNOWN VIOLATE",
        &[],
        "?",
    ),
];

/// What was observed of the quarantined rows.
fn observed(done: &Done, table: &str) -> Vec<String> {
    let mut all = Vec::new();
    for rows in done.store.rows(table) {
        let column = rows.column_by_name("_observed").unwrap();
        all.extend(
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned),
        );
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_rule_keeps_the_same_rows_back() {
    for (rule, kept, counts) in RULES {
        let rule = rule.replace("{W}", WINDOW);
        let into = if rule.ends_with("INTO bad") {
            "bad"
        } else {
            "events"
        };
        let script = format!(
            "{EVENTS} CREATE EXPECTATION r ON events EXPECT {rule};
             INSERT INTO lake SELECT id FROM events"
        );
        each(&script, |done, at| {
            let at = format!("{rule} {at}");
            assert_eq!(ids(&done.store, into), kept, "{at}");
            let rows: Vec<i64> = (1..10).filter(|id| !kept.contains(id)).collect();
            let rows: Vec<String> = rows.iter().map(|id| format!("| {id} |")).collect();
            assert_eq!(done.rows, rows, "{at}");
            // Without a row a table that ends has a verdict, a batch of a stream has none.
            let counts = match (counts, at.contains("batch x")) {
                ("?", true) => "1/1/0",
                ("?", false) => "0/0/0",
                (counts, _) => counts,
            };
            let (published, kept) = (rows.len(), kept.len());
            let expected = format!("events: 9 = {published} + 0 + {kept} (0) r {counts}");
            assert_eq!(told(&done.letters.tallies()), [expected], "{at}");
            let account = done.accounts.iter().find(|a| a.name == "events").unwrap();
            let found = (
                account.rows_in,
                account.rows_out,
                account.ruled,
                account.late,
            );
            assert_eq!(found, (9, published as u64, kept as u64, 0), "{at}");
        });
    }
}

/// Rules of all kinds of one table: those over rows come first, those over keys behind the wait.
#[test]
fn gates_stand_between_rows_and_keys() {
    let script = format!(
        "{EVENTS}
         CREATE EXPECTATION row ON events EXPECT (id <> 4) ON VIOLATION DROP ROW;
         CREATE EXPECTATION once ON events EXPECT UNIQUE (k) ON VIOLATION QUARANTINE INTO twice;
         CREATE EXPECTATION three ON events EXPECT (count(*) >= 3) {WINDOW} ON VIOLATION QUARANTINE WINDOW;
         CREATE EXPECTATION two ON events EXPECT (count(*) >= 2) {WINDOW} ON VIOLATION QUARANTINE WINDOW;
         CREATE EXPECTATION all ON events EXPECT (max(id) = 9) SCOPE BATCH ON VIOLATION QUARANTINE BATCH;
         INSERT INTO lake SELECT id FROM events WHERE id > 1;
         INSERT INTO lake SELECT id FROM events WHERE id < 2"
    );
    each(&script, |done, at| {
        // The window of 4, 5 and 6 has lost 4; 9 has no window, and is the first of its key.
        assert_eq!(ids(&done.store, "events"), [5, 6, 7, 8], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            ["events: 9 = 2 + 1 + 6 (0) row 9/1/0, once 4/2/0, three 3/2/0, two 3/0/0, all 1/0/0"],
            "{at}"
        );
        let twice = ids(&done.store, "twice");
        assert_eq!((twice.len(), done.rows.len()), (2, 2), "{at}: {twice:?}");
        assert_eq!(observed(&done, "events"), [r#"{"count(*)":2}"#], "{at}");
    });
}

#[test]
fn gates_of_sinks_and_views() {
    let script = format!(
        "{EVENTS}
         CREATE SINK out (CONSTRAINT r EXPECT (count(*) > 2) {WINDOW} ON VIOLATION QUARANTINE WINDOW)
             WITH (connector = 'memory');
         CREATE MATERIALIZED VIEW v (CONSTRAINT s EXPECT (min(x) > 1.5) PER (k) ON VIOLATION QUARANTINE BATCH)
             AS SELECT id, k, x FROM events;
         INSERT INTO out SELECT id, ts FROM events WHERE ts IS NOT NULL"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows.len(), 6, "{at}");
        assert_eq!(ids(&done.store, "out"), [7, 8], "{at}");
        assert_eq!(ids(&done.store, "v"), [1, 2, 4, 7, 9], "{at}");
        let mut told = told(&done.letters.tallies());
        told.sort();
        assert_eq!(
            told,
            [
                "out: 8 = 6 + 0 + 2 (0) r 3/1/0",
                "v: 9 = 4 + 0 + 5 (0) s 2/1/0"
            ],
            "{at}"
        );
    });
}

/// A window that fails the job holds its rows until then; one without rows fails it too.
#[test]
fn a_window_fails_the_job_before_it_is_published() {
    let rules = [
        format!("(sum(x) > 5) {WINDOW} ON VIOLATION FAIL UPDATE"),
        "(count(*) >= 3) EVERY INTERVAL '10' SECOND ON VIOLATION FAIL UPDATE".to_owned(),
        "(count(*) > 0) EVERY INTERVAL '5' SECOND ON VIOLATION FAIL UPDATE".to_owned(),
        "(count(*) > 9) SCOPE BATCH ON VIOLATION FAIL UPDATE".to_owned(),
    ];
    block_on(async {
        for rule in rules {
            for mode in ["batch", "streaming"] {
                let script = format!(
                    "{EVENTS} CREATE EXPECTATION r ON events EXPECT {rule};
                     INSERT INTO lake SELECT id FROM events"
                );
                let error = done(2, mode, &script).await.err().expect("it fails");
                assert_eq!(error.code(), codes::RULE_BROKEN, "{rule} {mode}");
                let message = "rule \"r\" of \"events\" does not hold";
                assert_eq!(error.message(), message, "{rule} {mode}");
            }
        }
    });
}

#[test]
fn a_batch_that_is_only_told_of_does_not_wait() {
    let script = format!(
        "{EVENTS} CREATE EXPECTATION r ON events EXPECT (count(*) > 4) SCOPE BATCH PER (k);
         INSERT INTO lake SELECT id FROM events"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows.len(), 9, "{at}");
        let told = told(&done.letters.tallies());
        assert!(told.iter().any(|t| t.contains("r 2/1/0")), "{at}: {told:?}");
    });
}

#[test]
fn verdicts_are_results() {
    let script = format!(
        "{EVENTS} CREATE EXPECTATION r ON events EXPECT (count(*) > 1) {WINDOW} PER (k)
             SEVERITY CRITICAL ON VIOLATION QUARANTINE WINDOW;
         INSERT INTO lake SELECT id FROM events"
    );
    each(&script, |done, at| {
        let mut found = Vec::new();
        for rows in done.store.rows("weir.quality_results") {
            let text = |name: &str| {
                rows.column_by_name(name)
                    .unwrap()
                    .as_string::<i32>()
                    .clone()
            };
            let passed = rows.column_by_name("passed").unwrap().as_boolean().clone();
            let start = rows.column_by_name("pane_start").unwrap();
            for row in 0..rows.num_rows() {
                let start = arrow::util::display::array_value_to_string(start, row).unwrap();
                found.push(format!(
                    "{} {} {} {} {} {}",
                    text("scope").value(row),
                    text("segment").value(row),
                    start.get(14..19).unwrap_or("?"),
                    passed.value(row),
                    text("observed").value(row),
                    text("action").value(row),
                ));
            }
            assert_eq!(passed.null_count(), 0, "{at}");
        }
        found.sort();
        let of = |key: &str, start: &str, n: u32| {
            let passed = n > 1;
            format!(
                "window {{\"k\":\"{key}\"}} 00:{start} {passed} {{\"count(*)\":{n}}} quarantine into events"
            )
        };
        let expected = [
            of("a", "00", 2),
            of("a", "10", 1),
            of("a", "20", 1),
            of("b", "00", 1),
            of("b", "10", 2),
            of("b", "20", 1),
        ];
        assert_eq!(found, expected, "{at}");
    });
}

#[test]
fn the_plan_tells_how_long_rows_wait() {
    let script = format!(
        "{EVENTS} CREATE EXPECTATION r ON events EXPECT (count(*) > 1) {WINDOW} PER (k) ON VIOLATION QUARANTINE WINDOW;
         CREATE EXPECTATION s ON events EXPECT (count(*) > 1) SCOPE BATCH ON VIOLATION QUARANTINE BATCH;
         CREATE EXPECTATION t ON events EXPECT (count(*) > 2) SCOPE BATCH;
         SET pipeline.mode = 'streaming'; INSERT INTO lake SELECT id FROM events"
    );
    check_graph(
        2,
        &script,
        expect![[r#"
        streaming
        Sink lake: memory (id Int64) [x2]
          Project [id@0] [x2] -> forward
            Gate events: rules=[s: EXPECT (count(*) > 1) SCOPE BATCH ON VIOLATION QUARANTINE BATCH; t: EXPECT (count(*) > 2) SCOPE BATCH] latency=[until the next checkpoint] [x1] -> rebalance
              Gate events: rules=[r: EXPECT (count(*) > 1) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' SECOND)) PER (k) ON VIOLATION QUARANTINE WINDOW] latency=[70s: window 10s + lateness 1min] [x2] -> rebalance
                Source events: memory columns=[id, k, x, ts] watermark=[ts - INTERVAL '1 minute'] rules=[] [x2] -> hash(k@1)
    "#]],
    );
    let script = script.replace("streaming", "batch");
    check_graph(
        2,
        &script,
        expect![[r#"
        batch
        Sink lake: memory (id Int64) [x1]
          Island (DataFusion) [x1] -> forward
            | ProjectionExec: expr=[id@0 as id]
            |   RulesExec: events, rules=[s: EXPECT (count(*) > 1) SCOPE BATCH ON VIOLATION QUARANTINE BATCH] latency=[until the end of the job]
            |     CoalescePartitionsExec
            |       RulesExec: events, rules=[r: EXPECT (count(*) > 1) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' SECOND)) PER (k) ON VIOLATION QUARANTINE WINDOW] latency=[until the end of the job]
            |         RepartitionExec: partitioning=Hash([k@1], 2), input_partitions=2
            |           ScanExec: events, memory columns=[id, k, x, ts] rules=[]
        Checks events (batch): [t: EXPECT (count(*) > 2) SCOPE BATCH] [x1]
          Island (DataFusion) [x1] -> forward
            | ProjectionExec: expr=[count(Int64(1))@0 > 2 as m0, count(Int64(1))@0 as m1]
            |   AggregateExec: mode=Final, gby=[], aggr=[count(Int64(1))]
            |     CoalescePartitionsExec
            |       AggregateExec: mode=Partial, gby=[], aggr=[count(Int64(1))]
            |         RepartitionExec: partitioning=RoundRobinBatch(2), input_partitions=1
            |           ProjectionExec: expr=[]
            |             RulesExec: events, rules=[s: EXPECT (count(*) > 1) SCOPE BATCH ON VIOLATION QUARANTINE BATCH] latency=[until the end of the job]
            |               CoalescePartitionsExec
            |                 RulesExec: events, rules=[r: EXPECT (count(*) > 1) SCOPE WINDOW (TUMBLE (ts, INTERVAL '10' SECOND)) PER (k) ON VIOLATION QUARANTINE WINDOW] latency=[until the end of the job]
            |                   RepartitionExec: partitioning=Hash([k@1], 2), input_partitions=2
            |                     ScanExec: events, memory columns=[id, k, x, ts] rules=[]
    "#]],
    );
}

const WRONG: [&str; 16] = [
    "EXPECT (count(*) > 0) ON VIOLATION QUARANTINE",
    "EXPECT (count(*) > 0) ON VIOLATION DROP ROW",
    "EXPECT (count(*) > 0) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT (count(*) > 0) EVERY INTERVAL '1' HOUR ON VIOLATION QUARANTINE BATCH",
    "EXPECT (amount > 0) ON VIOLATION QUARANTINE BATCH",
    "EXPECT (amount > 0) SCOPE WINDOW (TUMBLE (ts, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT UNIQUE (id) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT (count(*) > 0) SCOPE WINDOW (HOP (ts, INTERVAL '1' HOUR, INTERVAL '2' HOUR)) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT (count(*) > 0) SCOPE WINDOW (SESSION (ts, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT (count(*) > 0) SCOPE WINDOW (TUMBLE (id, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT (count(*) > 0) SCOPE WINDOW (TUMBLE (ts, INTERVAL '0' HOUR)) ON VIOLATION QUARANTINE WINDOW",
    "EXPECT NO ROWS (SELECT * FROM this WHERE id < 0) ON VIOLATION QUARANTINE BATCH",
    "EXPECT FRESH (ts, INTERVAL '1' HOUR) ON VIOLATION QUARANTINE BATCH",
    "EXPECT (count(*)) ON VIOLATION QUARANTINE BATCH",
    "EXPECT (sum(amont) > 0) PER (status) ON VIOLATION QUARANTINE BATCH",
    "EXPECT (count(*) > 0) ON VIOLATION QUARANTINE BATCH ON OVERFLOW 5 FAIL UPDATE",
];

#[test]
fn what_rows_cannot_wait_for() {
    let text = block_on(async {
        let mut text = String::new();
        for rule in WRONG {
            let mut session = session(1);
            execute(&mut session, ORDERS).await.unwrap();
            let statement = format!("CREATE EXPECTATION r ON orders {rule}");
            let error = execute(&mut session, &statement).await.unwrap_err();
            text.push_str(&format!("{rule}\n{}\n\n", error.report(None)));
        }
        text
    });
    expect![[r#"
        EXPECT (count(*) > 0) ON VIOLATION QUARANTINE
        error[E0116]: line 1, column 20: no single row breaks a rule over many rows, so none can be dropped, changed or quarantined for it
          hint: use ON VIOLATION WARN, FAIL UPDATE, QUARANTINE WINDOW or QUARANTINE BATCH, or a rule over rows: EXPECT (expression without aggregates)

        EXPECT (count(*) > 0) ON VIOLATION DROP ROW
        error[E0116]: line 1, column 20: no single row breaks a rule over many rows, so none can be dropped, changed or quarantined for it
          hint: use ON VIOLATION WARN, FAIL UPDATE, QUARANTINE WINDOW or QUARANTINE BATCH, or a rule over rows: EXPECT (expression without aggregates)

        EXPECT (count(*) > 0) ON VIOLATION QUARANTINE WINDOW
        error[E0116]: line 1, column 20: QUARANTINE WINDOW of a rule without windows
          hint: add SCOPE WINDOW (TUMBLE (column, interval)) or EVERY interval, or write QUARANTINE BATCH

        EXPECT (count(*) > 0) EVERY INTERVAL '1' HOUR ON VIOLATION QUARANTINE BATCH
        error[E0116]: line 1, column 20: QUARANTINE BATCH of a rule that looks at windows
          hint: write QUARANTINE WINDOW, or SCOPE BATCH

        EXPECT (amount > 0) ON VIOLATION QUARANTINE BATCH
        error[E0116]: line 1, column 20: QUARANTINE BATCH of a rule that looks at each row by itself
          hint: write QUARANTINE ROW, or MOSTLY 100% for all rows of a batch

        EXPECT (amount > 0) SCOPE WINDOW (TUMBLE (ts, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW
        error[E0116]: line 1, column 39: a rule with a scope asks many rows at once, but its expression has no aggregate
          hint: write EXPECT (count(*) > 0), or the share of rows that has to hold: MOSTLY 0.99

        EXPECT UNIQUE (id) ON VIOLATION QUARANTINE WINDOW
        error[E0116]: line 1, column 20: QUARANTINE WINDOW of a rule that looks at each row by itself
          hint: write QUARANTINE ROW, or ask the window: EXPECT (unique_ratio(column) = 1) SCOPE WINDOW (..)

        EXPECT (count(*) > 0) SCOPE WINDOW (HOP (ts, INTERVAL '1' HOUR, INTERVAL '2' HOUR)) ON VIOLATION QUARANTINE WINDOW
        error[E0109]: line 1, column 20: QUARANTINE WINDOW with HOP
          detail: a row is in several windows, of which some may hold the rule and others not
          hint: use TUMBLE: SCOPE WINDOW (TUMBLE (column, interval))

        EXPECT (count(*) > 0) SCOPE WINDOW (SESSION (ts, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW
        error[E0109]: line 1, column 20: QUARANTINE WINDOW with SESSION
          detail: a late row may join two sessions that are judged already
          hint: use TUMBLE: SCOPE WINDOW (TUMBLE (column, interval))

        EXPECT (count(*) > 0) SCOPE WINDOW (TUMBLE (id, INTERVAL '1' HOUR)) ON VIOLATION QUARANTINE WINDOW
        error[E0106]: line 1, column 76: "id" is Int64, not a TIMESTAMP
          hint: windows go by the event time

        EXPECT (count(*) > 0) SCOPE WINDOW (TUMBLE (ts, INTERVAL '0' HOUR)) ON VIOLATION QUARANTINE WINDOW
        error[E0111]: line 1, column 39: the size of TUMBLE must be positive
          detail: it is 0s
          hint: write an interval such as INTERVAL '1 minute'

        EXPECT NO ROWS (SELECT * FROM this WHERE id < 0) ON VIOLATION QUARANTINE BATCH
        error[E0109]: line 1, column 20: QUARANTINE BATCH of this rule
          detail: it compares with other rows than those that wait
          hint: use ON VIOLATION WARN or FAIL UPDATE, or an aggregate: EXPECT (count(*) >= 10)

        EXPECT FRESH (ts, INTERVAL '1' HOUR) ON VIOLATION QUARANTINE BATCH
        error[E0109]: line 1, column 20: QUARANTINE BATCH of this rule
          detail: it is broken when no rows come, and then there are none to keep back
          hint: use ON VIOLATION WARN or FAIL UPDATE, or an aggregate: EXPECT (count(*) >= 10)

        EXPECT (count(*)) ON VIOLATION QUARANTINE BATCH
        error[E0106]: line 1, column 39: EXPECT needs true or false, but the expression gives Int64
          hint: compare it with something: EXPECT (count(*) > 0)

        EXPECT (sum(amont) > 0) PER (status) ON VIOLATION QUARANTINE BATCH
        error[E0104]: line 1, column 44: unknown column "amont"
          hint: did you mean "amount"?

        EXPECT (count(*) > 0) ON VIOLATION QUARANTINE BATCH ON OVERFLOW 5 FAIL UPDATE
        error[E0116]: line 1, column 20: a rule over many rows has one verdict, not many rows that break it
          hint: for a share of rows write MOSTLY 0.99; ON OVERFLOW belongs to rules over rows

    "#]].assert_eq(&text);
}

/// What is found when the pipeline is made, or while it runs.
#[test]
fn tables_whose_rows_cannot_wait() {
    let scripts = [
        "CREATE EXPECTATION r ON orders EXPECT (count(*) > 0) SCOPE TABLE ON VIOLATION QUARANTINE BATCH;
         INSERT INTO lake SELECT id FROM orders",
        "CREATE SINK out (CONSTRAINT r EXPECT (count(*) > 0) ON VIOLATION QUARANTINE BATCH) WITH (connector = 'memory');
         INSERT INTO out SELECT status, count(*) AS n FROM orders GROUP BY status",
        "CREATE EXPECTATION r ON customers EXPECT SAME ROWS AS customers SCOPE BATCH;
         INSERT INTO lake SELECT id FROM customers",
        "CREATE MATERIALIZED VIEW v (CONSTRAINT r EXPECT (count(*) > 0) ON VIOLATION QUARANTINE BATCH)
             AS SELECT id FROM orders;
         INSERT INTO lake SELECT id FROM v",
    ];
    let text = block_on(async {
        let mut text = String::new();
        for script in scripts {
            let error = done(1, "streaming", script)
                .await
                .err()
                .expect("it is refused");
            text.push_str(&format!("{}\n\n", error.report(None)));
        }
        text
    });
    expect![[r#"
        error[E0109]: line 14, column 10: rule "r": SCOPE TABLE of a job without an end
          detail: its rows would wait until the table is whole, which it never is
          hint: use SCOPE BATCH: what becomes visible at once, from one checkpoint to the next

        error[E0109]: line 13, column 63: rows wait for "r", and those of "out" change
          detail: a row that has been published may be taken back when its window or batch is over
          hint: put the rule on a source whose rows are only added, or let it warn

        error[E0109]: line 13, column 76: SCOPE BATCH of this rule in a job without an end
          detail: a batch is what comes between two checkpoints, and the rule needs more than an aggregate of it
          hint: use an aggregate of columns, as in EXPECT (count(*) > 0), or SCOPE TABLE for all rows so far

        error[E0109]: line 15, column 42: view "v" cannot be read in this script because of rule "r"
          detail: queries compute a view anew, and which of its rows break a rule over keys, a window or a batch depends on the order in which they come
          hint: put the rule on a source or a sink, or let it warn

    "#]].assert_eq(&text);
}
