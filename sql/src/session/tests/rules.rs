//! Rules in scripts: what is refused, what the graph shows, and that a batch and a stream give the same
//! rows, the same quarantine and the same counts with any parallelism.

use arrow::array::AsArray;
use expect_test::expect;
use weir_engine::dead_letter::{DeadLetters, MemoryStore};
use weir_engine::rules::TableTally;

use super::memory::{Memory, Written};
use super::runs::try_run;
use super::*;

/// What a pipeline did.
pub(super) struct Done {
    pub(super) rows: Vec<String>,
    pub(super) letters: DeadLetters,
    pub(super) store: Arc<MemoryStore>,
    pub(super) accounts: Vec<weir_engine::runtime::SourceAccount>,
}

pub(super) async fn done(parallelism: u32, mode: &str, script: &str) -> Result<Done> {
    let memory = Memory::default();
    let written: Written = Arc::clone(&memory.written);
    let mut session = session_with(parallelism, memory);
    execute(
        &mut session,
        &format!("{ORDERS} SET pipeline.mode = '{mode}'; {script}"),
    )
    .await?;
    let pipeline = session.pipeline().await?.expect("the script inserts");
    let store = Arc::new(MemoryStore::default());
    let kept: Arc<MemoryStore> = Arc::clone(&store);
    let letters = DeadLetters::new(kept);
    let (rows, accounts) = try_run(&session, pipeline, &written, &letters).await?;
    Ok(Done {
        rows,
        letters,
        store,
        accounts,
    })
}

/// The ids of quarantined rows.
pub(super) fn ids(store: &MemoryStore, table: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for rows in store.rows(table) {
        let column = rows.column_by_name("id").unwrap();
        let column = column.as_primitive::<arrow::datatypes::Int64Type>();
        ids.extend(column.values().iter().copied());
    }
    ids.sort_unstable();
    ids
}

pub(super) fn told(tallies: &[TableTally]) -> Vec<String> {
    tallies
        .iter()
        .map(|t| {
            let rules = t.rules.iter();
            let rules: Vec<String> = rules
                .map(|r| format!("{} {}/{}/{}", r.name, r.evaluated, r.violated, r.unknown))
                .collect();
            assert!(t.adds_up());
            format!(
                "{}: {} = {} + {} + {} ({}) {}",
                t.table,
                t.rows_in,
                t.published,
                t.dropped,
                t.quarantined,
                t.repaired,
                rules.join(", ")
            )
        })
        .collect()
}

/// Runs a script in both modes with one subtask and three.
pub(super) fn each(script: &str, look: impl Fn(Done, &str)) {
    block_on(async {
        for mode in ["batch", "streaming"] {
            for parallelism in [1, 3] {
                let at = format!("{mode} x{parallelism}");
                match done(parallelism, mode, script).await {
                    Ok(done) => look(done, &at),
                    Err(error) => panic!("{at}: {}", error.report(None)),
                }
            }
        }
    });
}

const RULED: &str = r#"
    CREATE SOURCE bad (
        id BIGINT, amount DOUBLE, ts TIMESTAMP,
        WATERMARK FOR ts AS ts,
        CONSTRAINT positive EXPECT (amount > 0) ON VIOLATION QUARANTINE,
        CONSTRAINT small EXPECT (amount < 100) ON VIOLATION SET (amount = 100),
        CONSTRAINT known EXPECT (id <> 4) ON VIOLATION DROP ROW,
        CONSTRAINT sane EXPECT (ts < TIMESTAMP '2030-01-01') ON VIOLATION DROP ROW
    ) WITH (connector = 'memory', rows = '
        {"id": 1, "amount": 10.0, "ts": "2024-01-01T00:00:01"}
        {"id": 2, "amount": -1.0, "ts": "2024-01-01T00:00:02"}
        {"id": 3, "amount": 500.0, "ts": "2024-01-01T00:00:03"}
        {"id": 4, "amount": 7.0, "ts": "2024-01-01T00:00:04"}
        {"id": 5, "amount": null, "ts": "2024-01-01T00:00:05"}
        {"id": 6, "amount": 1.0, "ts": "9999-01-01T00:00:00"}
        {"id": 7, "amount": 2.0, "ts": "2024-01-01T00:00:07"}');
"#;

#[test]
fn rules_of_a_source() {
    let script = format!("{RULED} INSERT INTO lake SELECT id, amount FROM bad");
    each(&script, |done, at| {
        assert_eq!(
            done.rows,
            ["| 1 | 10.0 |", "| 3 | 100.0 |", "| 5 | |", "| 7 | 2.0 |"],
            "{at}"
        );
        assert_eq!(ids(&done.store, "bad"), [2], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            ["bad: 7 = 4 + 2 + 1 (1) positive 6/1/1, small 6/1/1, known 7/1/0, sane 7/1/0"],
            "{at}"
        );
        let account = done
            .accounts
            .iter()
            .find(|account| account.name == "bad")
            .unwrap();
        assert_eq!(
            (account.rows_in, account.rows_out, account.ruled),
            (7, 4, 3),
            "{at}"
        );
    });
}

/// The row of the year 9999 would close all windows.
#[test]
fn a_row_that_is_kept_back_moves_no_watermark() {
    let script = format!(
        "{RULED} INSERT INTO lake SELECT window_start, count(*) AS n
         FROM TUMBLE(bad, ts, INTERVAL '1 second') GROUP BY window_start"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows.len(), 4, "{at}: {:?}", done.rows);
        let account = done
            .accounts
            .iter()
            .find(|account| account.name == "bad")
            .unwrap();
        assert_eq!((account.late, account.ruled), (0, 3), "{at}");
    });
}

/// A filter above, columns that are not read, two readers: the same rows are judged, once.
#[test]
fn queries_do_not_change_which_rows_are_judged() {
    let script = format!(
        "{RULED} INSERT INTO lake SELECT id FROM bad WHERE id > 6;
         INSERT INTO lake SELECT a.id FROM bad a WHERE a.id < 2"
    );
    each(&script, |done, at| {
        assert_eq!(done.rows, ["| 1 |", "| 7 |"], "{at}");
        assert_eq!(ids(&done.store, "bad"), [2], "{at}");
        assert_eq!(done.letters.tallies()[0].rows_in, 7, "{at}");
        let kept = done.store.rows("bad").remove(0);
        assert!(
            kept.column_by_name("amount").is_some(),
            "{at}: the whole row is kept"
        );
    });
}

#[test]
fn rules_of_a_sink() {
    let script = "CREATE SINK out (CONSTRAINT paid EXPECT (status = 'open') ON VIOLATION QUARANTINE
            INTO unpaid) WITH (connector = 'memory');
        CREATE EXPECTATION large ON out EXPECT (amount < 35) ON VIOLATION DROP ROW;
        INSERT INTO out SELECT id, status, amount FROM orders;
        INSERT INTO out SELECT id + 10, status, amount FROM orders WHERE amount > 15";
    each(script, |done, at| {
        let found: Vec<_> = done.rows.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "| 1 | open | 10.0 |",
                "| 13 | open | 30.0 |",
                "| 3 | open | 30.0 |"
            ],
            "{at}"
        );
        assert_eq!(ids(&done.store, "unpaid"), [2, 12], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            ["out: 7 = 3 + 2 + 2 (0) paid 7/2/0, large 7/2/0"],
            "{at}"
        );
    });
}

/// Both sides of an update fall alike: what is left is what the rules let through.
#[test]
fn rules_of_results_that_change() {
    let script = "CREATE SINK out (CONSTRAINT few EXPECT (n < 3) ON VIOLATION DROP ROW)
            WITH (connector = 'memory');
        INSERT INTO out SELECT status, count(*) AS n FROM orders GROUP BY status";
    block_on(async {
        for parallelism in [1, 3] {
            let done = done(parallelism, "streaming", script).await;
            let done = done.unwrap_or_else(|error| panic!("{}", error.report(None)));
            assert_eq!(done.rows, ["| paid | 1 |"], "x{parallelism}");
        }
    });
}

#[test]
fn queries_see_the_rows_that_a_view_shows() {
    let view = "CREATE MATERIALIZED VIEW v (CONSTRAINT paid EXPECT (status = 'open') ON VIOLATION
            QUARANTINE, CONSTRAINT low EXPECT (amount < 25) ON VIOLATION SET (amount = 25.0)) AS
            SELECT id, status, amount FROM orders;";
    let script = format!("{view} INSERT INTO lake SELECT id, amount FROM v WHERE id > 1");
    each(&script, |done, at| {
        assert_eq!(done.rows, ["| 3 | 25.0 |", "| 4 | 25.0 |"], "{at}");
        assert_eq!(ids(&done.store, "v"), [2], "{at}");
        assert_eq!(
            told(&done.letters.tallies()),
            ["v: 4 = 3 + 0 + 1 (2) paid 4/1/0, low 4/2/0"],
            "{at}"
        );
    });
}

#[test]
fn a_job_fails_where_a_rule_says_so() {
    let failing = [
        (
            "CREATE EXPECTATION strict ON orders EXPECT (id < 4) ON VIOLATION FAIL UPDATE;",
            "a row of \"orders\" breaks rule \"strict\"",
        ),
        (
            "CREATE EXPECTATION some ON orders EXPECT (id < 3) ON VIOLATION QUARANTINE
             ON OVERFLOW 1 FAIL UPDATE;",
            "too many rows of \"orders\" break rule \"some\"",
        ),
        (
            "CREATE EXPECTATION share ON orders EXPECT (id < 3) ON OVERFLOW 0.4 FAIL UPDATE;",
            "too many rows of \"orders\" break rule \"share\"",
        ),
    ];
    block_on(async {
        for (rule, message) in failing {
            for mode in ["batch", "streaming"] {
                let script = format!("{rule} INSERT INTO lake SELECT id FROM orders");
                let error = done(2, mode, &script).await.err().expect("it fails");
                assert_eq!(error.message(), message, "{mode}");
            }
        }
        let bearable = "CREATE EXPECTATION share ON orders EXPECT (id < 3)
            ON OVERFLOW 0.5 FAIL UPDATE; INSERT INTO lake SELECT id FROM orders";
        assert_eq!(done(2, "batch", bearable).await.unwrap().rows.len(), 4);
    });
}

#[test]
fn the_graph_shows_rules() {
    check_graph(
        1,
        "CREATE EXPECTATION paid ON orders EXPECT (amount * 2 > 1) ON VIOLATION QUARANTINE;
         CREATE EXPECTATION low ON orders EXPECT (amount * 2 < 9) WHEN (id > 0);
         CREATE SINK out (CONSTRAINT r EXPECT (id > 0) ON VIOLATION DROP ROW)
             WITH (connector = 'memory');
         INSERT INTO out SELECT id FROM orders WHERE status = 'open'",
        expect![[r#"
            batch
            Sink out: memory (id Int64) [x1]
              Rules out: rules=[r: id@0 > 0 -> drop row] [x1] -> forward
                Island (DataFusion) [x1] -> forward
                  | FilterExec: status@1 = open, projection=[id@0]
                  |   ScanExec: orders, memory columns=[id, status] rules=[paid: amount@2 * 2 > 1 -> quarantine into orders; low: amount@2 * 2 < 9 when id@0 > 0 -> warn] shared=1
        "#]],
    );
}

const WRONG: [&str; 17] = [
    "EXPECT (amont > 0)",
    "EXPECT (amount)",
    "EXPECT (amount > 'x')",
    "EXPECT (sum(amount) > 0) MOSTLY 0.5",
    "EXPECT (amount > 0) SCOPE TABLE",
    "EXPECT (count(*)) PER (id)",
    "EXPECT (sum(sum(amount)) > 0)",
    "EXPECT NORMAL (count(*), METHOD 'nope') SCOPE WINDOW (TUMBLE (ts, INTERVAL '1' HOUR))",
    "EXPECT (row_number() OVER (ORDER BY id) > 0)",
    "EXPECT (nope(amount))",
    "EXPECT (status ~ '(')",
    "EXPECT (random() > 0.5)",
    "EXPECT (id IN (SELECT id FROM customers))",
    "EXPECT (id > 0) WHEN (status)",
    "EXPECT (id > 0) ON VIOLATION SET (idd = 1)",
    "EXPECT (id > 0) ON VIOLATION SET (ts = NULL)",
    "EXPECT (id > 0) ON VIOLATION SET (id = [1])",
];

#[test]
fn what_cannot_be_planned() {
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
        EXPECT (amont > 0)
        error[E0104]: line 1, column 40: unknown column "amont"
          hint: did you mean "amount"?

        EXPECT (amount)
        error[E0106]: line 1, column 39: EXPECT needs true or false, but the expression gives Float64
          hint: compare it with something: EXPECT (column > 0)

        EXPECT (amount > 'x')
        error[E0106]: line 1, column 39: cannot cast string 'x' to value of Float64 type
          hint: use TRY_CAST where a value may not fit

        EXPECT (sum(amount) > 0) MOSTLY 0.5
        error[E0116]: line 1, column 39: sum(amount) is computed over many rows, MOSTLY asks each by itself
          hint: leave MOSTLY out, or the aggregate

        EXPECT (amount > 0) SCOPE TABLE
        error[E0116]: line 1, column 39: a rule with a scope asks many rows at once, but its expression has no aggregate
          hint: write EXPECT (count(*) > 0), or the share of rows that has to hold: MOSTLY 0.99

        EXPECT (count(*)) PER (id)
        error[E0106]: line 1, column 39: EXPECT needs true or false, but the expression gives Int64
          hint: compare it with something: EXPECT (count(*) > 0)

        EXPECT (sum(sum(amount)) > 0)
        error[E0114]: line 1, column 48: aggregate function calls cannot be nested: 'sum(this.amount)' is nested inside 'sum(sum(this.amount))'

        EXPECT NORMAL (count(*), METHOD 'nope') SCOPE WINDOW (TUMBLE (ts, INTERVAL '1' HOUR))
        error[E0117]: line 1, column 39: unknown method "nope"
          hint: known: auto, ewma, robust_z, iqr, fixed, change, rate, cusum, page_hinkley, seasonal, holt_winters, rcf, half_space_trees, knn, context, extreme, spectral_residual, change_point, adwin, kswin, rare, stl, s_h_esd, ar, ets, matrix_profile, ecod, copod, mahalanobis

        EXPECT (row_number() OVER (ORDER BY id) > 0)
        error[E0116]: line 1, column 40: row_number is computed over many rows, a rule looks at one
          hint: compute it in a MATERIALIZED VIEW, and put the rule there

        EXPECT (nope(amount))
        error[E0105]: line 1, column 40: unknown function "nope"
          hint: did you mean "mode"?

        EXPECT (status ~ '(')
        error[E0116]: line 1, column 39: a pattern is no regular expression
          detail: unclosed group
          hint: the syntax is that of Rust's regex crate; a bracket is written \( where it stands for itself

        EXPECT (random() > 0.5)
        error[E0116]: line 1, column 40: random says another thing of the same row each time
          hint: compare with columns of the row

        EXPECT (id IN (SELECT id FROM customers))
        error[E0116]: line 1, column 40: a rule over rows holds a query
          hint: ask the table: EXPECT NO ROWS (SELECT ...), or join the other one in a MATERIALIZED VIEW and put the rule there

        EXPECT (id > 0) WHEN (status)
        error[E0106]: line 1, column 39: WHEN needs true or false, but the expression gives Utf8
          hint: compare it with something: EXPECT (column > 0)

        EXPECT (id > 0) ON VIOLATION SET (idd = 1)
        error[E0104]: line 1, column 66: unknown column "idd"
          hint: did you mean "id"?

        EXPECT (id > 0) ON VIOLATION SET (ts = NULL)
        error[E0116]: line 1, column 66: column "ts" cannot be set: the watermark goes by it
          hint: quarantine the row, or repair it in a query

        EXPECT (id > 0) ON VIOLATION SET (id = [1])
        error[E0106]: line 1, column 66: column "id" is Int64, but the rule sets it to List(Int64)

    "#]].assert_eq(&text);
}

#[test]
fn tables_that_rules_cannot_be_put_on() {
    let scripts = [
        "CREATE EXPECTATION r ON nope EXPECT (id > 0)",
        "CREATE VIEW v AS SELECT 1 AS id; CREATE EXPECTATION r ON v EXPECT (id > 0)",
        "CREATE EXPECTATION r ON orders EXPECT (id > 0); CREATE EXPECTATION r ON orders EXPECT (id > 1)",
        "CREATE MATERIALIZED VIEW v AS SELECT id FROM orders; INSERT INTO lake SELECT * FROM v;
         CREATE EXPECTATION r ON v EXPECT (id > 0)",
        "CREATE MATERIALIZED VIEW v (CONSTRAINT r EXPECT (ts < PROCTIME())) AS SELECT ts FROM orders",
        "CREATE SINK s (id BIGINT, CONSTRAINT r EXPECT (idd > 0)) WITH (connector = 'memory');
         INSERT INTO s SELECT id FROM orders",
        "CREATE SOURCE q (_rules BIGINT, CONSTRAINT r EXPECT (_rules > 0) ON VIOLATION QUARANTINE)
         WITH (connector = 'memory', rows = '')",
    ];
    let text = block_on(async {
        let mut text = String::new();
        for script in scripts {
            let mut session = session(1);
            execute(&mut session, ORDERS).await.unwrap();
            let error = execute(&mut session, script).await.unwrap_err();
            text.push_str(&format!("{}\n\n", error.report(None)));
        }
        text
    });
    expect![[r#"
        error[E0103]: line 1, column 25: unknown table "nope"
          hint: known: customers, lake, orders

        error[E0109]: line 1, column 58: "v" is a view that this script does not keep
          hint: put the rule on a source, on a MATERIALIZED VIEW of the script or on a sink

        error[E0107]: line 1, column 68: the table has two rules called "r"
          hint: rules are counted by their names: give one of them another

        error[E0116]: line 2, column 34: "lake" reads view "v" already, without the rule
          hint: put the statement right behind the view

        error[E0116]: line 1, column 55: proctime says another thing of a row when it is taken back than when it came
          hint: put the rule on a source or a sink whose rows are only added

        error[E0104]: line 1, column 48: unknown column "idd"
          hint: did you mean "id"?

        error[E0107]: line 1, column 44: a quarantine table has a column "_rules" of its own
          hint: give the column of the table another name

    "#]].assert_eq(&text);
    check_graph(
        1,
        "CREATE EXPECTATION r ON orders EXPECT (id > 0) ON VIOLATION QUARANTINE INTO bad;
         CREATE EXPECTATION r ON customers EXPECT (id > 0) ON VIOLATION QUARANTINE INTO bad;
         INSERT INTO lake SELECT id FROM orders",
        expect![[r#"
            error[E0116]: "customers" and "orders" share the quarantine table "bad"
              hint: name another one: ON VIOLATION QUARANTINE INTO name"#]],
    );
}
