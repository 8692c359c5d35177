//! Rules: what they hold, where they stand, and what is kept for later.

use expect_test::expect;

use super::{check, run};

#[test]
fn all_clauses() {
    check(
        "CREATE SOURCE a (
            b INT,
            CONSTRAINT plain EXPECT (b > 0),
            CONSTRAINT full EXPECT (b < 9) WHEN (b IS NOT NULL) SCOPE ROW DIMENSION volume WEIGHT 2.5
                SEVERITY CRITICAL ON VIOLATION QUARANTINE ROW INTO other ON UNKNOWN VIOLATE
                ON OVERFLOW 10 FAIL UPDATE,
            CONSTRAINT set EXPECT (b <> 5) ON VIOLATION SET (b = b + 1, c = NULL)
                ON OVERFLOW 0.05 FAIL UPDATE,
            CONSTRAINT gone EXPECT (b <> 6) ON VIOLATION DROP ROW ON UNKNOWN PASS,
            CONSTRAINT kept EXPECT (b <> 7) ON VIOLATION QUARANTINE,
            CONSTRAINT strict EXPECT (b <> 8) ON VIOLATION FAIL UPDATE
        ) WITH (x = 1)",
        expect![[r#"
            1:1 source a@1:15
              column b INT
              rule plain@3:24 (b > 0) @3:37 validity warning 1 warn
              rule full@4:24 (b < 9) @4:36 when b IS NOT NULL volume critical 2.5 quarantine other@5:68 unknown violates Rows(10)
              rule set@7:24 (b <> 5) @7:35 validity warning 1 set b@7:62 = b + 1 set c@7:73 = NULL Share(0.05)
              rule gone@9:24 (b <> 6) @9:36 validity warning 1 drop
              rule kept@10:24 (b <> 7) @10:36 validity warning 1 quarantine -
              rule strict@11:24 (b <> 8) @11:38 validity warning 1 fail
              x = "1" @12:21
        "#]],
    );
}

#[test]
fn places() {
    check(
        "CREATE MATERIALIZED VIEW v (a, CONSTRAINT r EXPECT (a > 0) ON VIOLATION WARN) AS SELECT 1;
         CREATE SINK s (CONSTRAINT r EXPECT (a > 0)) WITH (x = 1);
         CREATE EXPECTATION e ON s EXPECT (a > 0) ON VIOLATION DROP ROW;
         CREATE SOURCE a (\"constraint\" INT, expect INT) WITH (x = 1)",
        expect![[r#"
            1:1 materialized v@1:26
              rule r@1:43 (a > 0) @1:52 validity warning 1 warn (a)
              SELECT 1
            2:10 sink s@2:22
              rule r@2:36 (a > 0) @2:45 validity warning 1 warn
              x = "1" @2:64
            3:10 expectation on s@3:34
              rule e@3:29 (a > 0) @3:43 validity warning 1 drop
            4:10 source a@4:24
              column constraint INT
              column expect INT
              x = "1" @4:67
        "#]],
    );
}

/// The error of a rule on a source.
fn error(rule: &str) -> String {
    run(&format!("CREATE SOURCE a (CONSTRAINT {rule}) WITH (x = 1)"))
}

#[test]
fn wrong_rules() {
    let rules = [
        "EXPECT (a > 0)",
        "r EXPECT a > 0",
        "r EXPECT (a > 0",
        "r EXPECT ()",
        "r EXPECT (a > 0) ON VIOLATION",
        "r EXPECT (a > 0) ON VIOLATION DROP",
        "r EXPECT (a > 0) ON ERROR WARN",
        "r EXPECT (a > 0) ON VIOLATION WARN ON VIOLATION WARN",
        "r EXPECT (a > 0) DIMENSION validty",
        "r EXPECT (a > 0) WEIGHT 0",
        "r EXPECT (a > 0) ON OVERFLOW 1.5 FAIL UPDATE",
        "r EXPECT (a > 0) ON OVERFLOW x FAIL UPDATE",
        "r EXPECT (a > 0) ON VIOLATION SET (a = 1, a = 2)",
        "r EXPECT (a > 0), CONSTRAINT r EXPECT (a > 1)",
    ];
    let errors: Vec<String> = rules.map(error).into();
    expect![[r#"
        error[E0101]: line 1, column 29: expected the name of the rule but found 'EXPECT'
        error[E0101]: line 1, column 38: expected '(' but found 'a'
          hint: the expression of a rule stands in parentheses
        error[E0101]: line 1, column 46: expected ',' or ')' but found 'WITH'
        error[E0101]: line 1, column 39: expected an expression but found ')'
        error[E0101]: line 1, column 58: expected WARN, DROP ROW, QUARANTINE, FAIL UPDATE or SET (column = expression) but found ')'
        error[E0101]: line 1, column 63: expected ROW but found ')'
        error[E0101]: line 1, column 49: expected VIOLATION, UNKNOWN or OVERFLOW but found 'ERROR'
        error[E0101]: line 1, column 64: the rule has ON VIOLATION twice
        error[E0101]: line 1, column 56: unknown dimension validty
          hint: did you mean "validity"?
        error[E0116]: line 1, column 53: a weight is greater than 0
        error[E0116]: line 1, column 58: a share of rows is greater than 0 and less than 1
          hint: a number of rows is written without a point: ON OVERFLOW 100 FAIL UPDATE
        error[E0101]: line 1, column 58: expected a number of rows, or a share such as 0.01 but found 'x'
        error[E0107]: line 1, column 71: the column "a" is set twice
        error[E0107]: line 1, column 58: the table has two rules called "r"
          hint: rules are counted by their names: give one of them another"#]].assert_eq(&errors.join("\n"));
}

#[test]
fn rules_over_keys() {
    let rules = [
        "r EXPECT UNIQUE (a, b) WITHIN INTERVAL '7' DAY KEEP FIRST ON VIOLATION DROP ROW",
        "r EXPECT UNIQUE (*) DIMENSION validity",
        "r EXPECT (a, b) DETERMINES (c) PER (d)",
        "r EXPECT TRANSITION (a) IN (('x', 'y'), (NULL, 'x')) PER (b) ORDER BY ts",
        "r EXPECT DECREASING STRICTLY (a) WHEN (b > 0) PER (c)",
        "r EXPECT SEQUENTIAL (a)",
        "r EXPECT NO OVERLAP (a, b) PER (c)",
        "r EXPECT (a, b) REFERENCES c(d, e)",
        "r EXPECT (abs(a - lag(a)) < 10) ORDER BY ts ASC PER (b)",
    ];
    let parsed: Vec<String> = rules.map(error).into();
    expect![[r#"
        1:1 source a@1:15
          rule r@1:29 UNIQUE (a, b) WITHIN 604800s @1:38 uniqueness warning 1 drop
          x = "1" @1:120
        1:1 source a@1:15
          rule r@1:29 UNIQUE (*) @1:38 validity warning 1 warn
          x = "1" @1:79
        1:1 source a@1:15
          rule r@1:29 (a, b) DETERMINES (c) @1:38 per (d) consistency warning 1 warn
          x = "1" @1:79
        1:1 source a@1:15
          rule r@1:29 TRANSITION (a) IN (('x', 'y'), (NULL, 'x')) ORDER BY ts @1:38 per (b) consistency warning 1 warn
          x = "1" @1:113
        1:1 source a@1:15
          rule r@1:29 DECREASING STRICTLY (a) @1:38 per (c) when b > 0 consistency warning 1 warn
          x = "1" @1:94
        1:1 source a@1:15
          rule r@1:29 SEQUENTIAL (a) @1:38 consistency warning 1 warn
          x = "1" @1:64
        1:1 source a@1:15
          rule r@1:29 NO OVERLAP (a, b) @1:38 per (c) consistency warning 1 warn
          x = "1" @1:75
        1:1 source a@1:15
          rule r@1:29 (a, b) REFERENCES c(d, e) @1:38 consistency warning 1 warn
          x = "1" @1:75
        1:1 source a@1:15
          rule r@1:29 (abs(a - lag(a)) < 10) ORDER BY ts @1:38 per (b) validity warning 1 warn
          x = "1" @1:96
    "#]].assert_eq(&parsed.concat());
}

#[test]
fn what_is_kept_for_later() {
    let rules = [
        "r EXPECT (a + 1) REFERENCES b(c)",
        "r EXPECT NO DOUBT (a)",
        "r EXPECT (a > 0) ON VIOLATION CALL heal",
    ];
    let errors: Vec<String> = rules.map(error).into();
    expect![[r#"
        error[E0109]: line 1, column 46: REFERENCES of a rule is not supported in this version
          hint: rules look at one row, EXPECT (expression), or at an aggregate of many, EXPECT (count(*) > 0)
        error[E0101]: line 1, column 41: expected ROWS, OVERLAP or OUTLIERS but found 'DOUBT'
        error[E0109]: line 1, column 59: ON VIOLATION CALL is not supported in this version
          hint: use WARN, DROP ROW, QUARANTINE, FAIL UPDATE or SET (column = expression)"#]].assert_eq(&errors.join("\n"));
    let statements = [
        "CREATE VIEW v (a, CONSTRAINT r EXPECT (a > 0)) AS SELECT 1",
        "CREATE OR REPLACE EXPECTATION e ON s EXPECT (a > 0)",
    ];
    let errors: Vec<String> = statements.map(run).into();
    expect![[r#"
        error[E0109]: line 1, column 39: CONSTRAINT of a view that is not materialized is not supported in this version
          hint: put the rule on the source, on a MATERIALIZED VIEW or on the sink
        error[E0109]: line 1, column 19: OR REPLACE and IF NOT EXISTS of an expectation is not supported in this version
          hint: a rule is part of its table: create the table anew with other rules"#]].assert_eq(&errors.join("\n"));
}
