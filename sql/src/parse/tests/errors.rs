//! Errors of statements, with their place and hint.

use expect_test::expect;

use super::check;

#[test]
fn unterminated() {
    check(
        "SELECT 1;
SELECT 'abc
;",
        expect![[r#"
            error[E0102]: line 2, column 8: the string that starts here is not terminated
              hint: end it with ', and write a ' inside as ''"#]],
    );
    check(
        "SELECT 1 /* a /* b */
",
        expect![[r#"
            error[E0102]: line 1, column 10: the comment that starts here is not terminated
              hint: end it with */; comments nest"#]],
    );
    check(
        r#"SELECT
  "abc FROM t;"#,
        expect![[r#"
            error[E0102]: line 2, column 3: the quoted name that starts here is not terminated
              hint: end it with "; strings are written in single quotes"#]],
    );
    check(
        "SELECT $x$ a $y$",
        expect![[r#"
        error[E0102]: line 1, column 8: the dollar-quoted string that starts here is not terminated
          hint: end it with the $...$ it starts with"#]],
    );
    check(
        r"SELECT E'a\'",
        expect![[r#"
        error[E0102]: line 1, column 9: the string that starts here is not terminated
          hint: end it with ', and write a ' inside as ''"#]],
    );
    check(
        "SELECT 'é', 'x",
        expect![[r#"
        error[E0102]: line 1, column 13: the string that starts here is not terminated
          hint: end it with ', and write a ' inside as ''"#]],
    );
}

#[test]
fn lexical() {
    check(
        r"SELECT U&'\zz'",
        expect!["error[E0101]: line 1, column 13: invalid hex digit in escaped unicode string: z"],
    );
    check(
        "SELECT ._a",
        expect!["error[E0101]: line 1, column 8: unexpected character '_'"],
    );
}

#[test]
fn first_words() {
    check(
        "CREAT SOURCE a",
        expect![[r#"
        error[E0101]: line 1, column 1: expected a statement but found 'CREAT'
          hint: did you mean "CREATE"?"#]],
    );
    check(
        "SELCT 1",
        expect![[r#"
        error[E0101]: line 1, column 1: expected a statement but found 'SELCT'
          hint: did you mean "SELECT"?"#]],
    );
    check(
        "foo bar",
        expect![[r#"
            error[E0101]: line 1, column 1: expected a statement but found 'foo'
              hint: known: CREATE, ALTER, DROP, INSERT, SET, SHOW, DESCRIBE, EXPLAIN, PROFILE, SUGGEST, VALIDATE, REPLAY, RELEASE, DISCARD, RESUME, FEEDBACK, SELECT, SUBSCRIBE, WITH, VALUES"#]],
    );
    check(
        "1 + 1",
        expect!["error[E0101]: line 1, column 1: expected a statement but found the number 1"],
    );
    check(
        "'abc'",
        expect!["error[E0101]: line 1, column 1: expected a statement but found a string"],
    );
    check(
        r#""select" 1"#,
        expect![[
            r#"error[E0101]: line 1, column 1: expected a statement but found the name "select""#
        ]],
    );
    check(
        ", a",
        expect!["error[E0101]: line 1, column 1: expected a statement but found ','"],
    );
    check(
        "CREATE",
        expect![
            "error[E0101]: line 1, column 7: expected SOURCE, VIEW, MATERIALIZED VIEW or SINK but found the end of the statement"
        ],
    );
    check(
        "CREATE SORCE a",
        expect![[r#"
        error[E0101]: line 1, column 8: unknown CREATE SORCE
          hint: did you mean "SOURCE"?"#]],
    );
    check(
        "CREATE FROBNICATOR a",
        expect![[r#"
        error[E0101]: line 1, column 8: unknown CREATE FROBNICATOR
          hint: known: SOURCE, VIEW, MATERIALIZED VIEW, SINK"#]],
    );
    check(
        "DROP SUORCE a",
        expect![[r#"
        error[E0101]: line 1, column 6: unknown DROP SUORCE
          hint: did you mean "SOURCE"?"#]],
    );
    check(
        "CREATE 'x'",
        expect![
            "error[E0101]: line 1, column 8: expected SOURCE, VIEW, MATERIALIZED VIEW or SINK but found a string"
        ],
    );
}

#[test]
fn sources() {
    check(
        "CREATE SOURCE a (b INT FROM c) WITH ()",
        expect!["error[E0101]: line 1, column 24: expected ',' or ')' but found 'FROM'"],
    );
    check(
        "CREATE SOURCE a (b INT,) WITH ()",
        expect![[r#"
        error[E0101]: line 1, column 24: expected the name of a column but found ')'
          hint: remove the ',' before it"#]],
    );
    check(
        "CREATE SOURCE a (b) WITH (x = 1)",
        expect![[r#"
        error[E0101]: line 1, column 19: expected a type but found ')'
          hint: every column needs one: a BIGINT, b VARCHAR, c DOUBLE AS (a * 2.0)"#]],
    );
    check(
        "CREATE SOURCE a (b AS (c + 1)) WITH (x = 1)",
        expect![[r#"
        error[E0101]: line 1, column 20: expected a type but found 'AS'
          hint: every column needs one: a BIGINT, b VARCHAR, c DOUBLE AS (a * 2.0)"#]],
    );
    check(
        "CREATE SOURCE a (b INT",
        expect![
            "error[E0101]: line 1, column 23: expected ',' or ')' but found the end of the statement"
        ],
    );
    check(
        "CREATE SOURCE a (b INT)",
        expect![
            "error[E0101]: line 1, column 24: expected WITH (connector = ...) but found the end of the statement"
        ],
    );
    check(
        "CREATE SOURCE WITH (x = 1)",
        expect![
            "error[E0101]: line 1, column 15: expected the name of the source but found 'WITH'"
        ],
    );
    check(
        "CREATE SOURCE a AS SELECT 1",
        expect![[r#"
        error[E0101]: line 1, column 17: expected WITH (connector = ...) but found 'AS'
          hint: a source reads from outside; for a query use CREATE VIEW name AS SELECT ..."#]],
    );
    check(
        "CREATE OR REPLACE SOURCE IF NOT EXISTS a WITH (x = 1)",
        expect!["error[E0101]: line 1, column 19: OR REPLACE and IF NOT EXISTS exclude each other"],
    );
    check(
        r#"CREATE SOURCE "" WITH (x = 1)"#,
        expect!["error[E0101]: line 1, column 15: a quoted name is empty"],
    );
    check(
        "CREATE SOURCE s (a INT METADATA FROM b) WITH (x = 1)",
        expect![
            "error[E0101]: line 1, column 38: expected the metadata's name as a string but found 'b'"
        ],
    );
}

#[test]
fn sources_2() {
    check(
        "CREATE SOURCE s (a INT WATERMRK) WITH (x = 1)",
        expect![[r#"
        error[E0101]: line 1, column 24: expected ',' or ')' but found 'WATERMRK'
          hint: did you mean WATERMARK instead of WATERMRK?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, WATERMARK FOR a AS a -) WITH (x = 1)",
        expect!["error[E0101]: line 1, column 47: expected an expression but found ')'"],
    );
    check(
        "CREATE SOURCE s (WATERMARK FOR a, WATERMARK FOR b) WITH (x = 1)",
        expect!["error[E0101]: line 1, column 35: there are two watermarks, one is allowed"],
    );
    check(
        "CREATE SOURCE s (a INT PRIMARY KEY, b INT PRIMARY KEY) WITH (x = 1)",
        expect![[r#"
            error[E0101]: line 1, column 43: there are two primary keys, one is allowed
              hint: a key of several columns is written PRIMARY KEY (a, b)"#]],
    );
    check(
        "CREATE SOURCE s (a INT AS (1) AS (2)) WITH (x = 1)",
        expect!["error[E0101]: line 1, column 31: expected ',' or ')' but found 'AS'"],
    );
}

#[test]
fn options() {
    check(
        "CREATE SOURCE a WITH (x = 1",
        expect![
            "error[E0101]: line 1, column 28: expected ',' or ')' but found the end of the statement"
        ],
    );
    check(
        "CREATE SOURCE a WITH (x 1)",
        expect!["error[E0101]: line 1, column 25: expected '=' but found the number 1"],
    );
    check(
        "CREATE SOURCE a WITH (x = json)",
        expect![[r#"
        error[E0101]: line 1, column 27: expected a string, a number, true or false but found 'json'
          hint: write it as a string: 'json'"#]],
    );
    check(
        r#"CREATE SOURCE a WITH (x = "json")"#,
        expect![[r#"
        error[E0101]: line 1, column 27: expected a string, a number, true or false but found the name "json"
          hint: strings are written in single quotes: 'json'"#]],
    );
    check(
        "CREATE SOURCE a WITH (1 = 2)",
        expect![
            "error[E0101]: line 1, column 23: expected the name of an option but found the number 1"
        ],
    );
    check(
        "CREATE SOURCE a WITH (x == 1)",
        expect![[r#"
        error[E0101]: line 1, column 25: expected '=' but found '=='
          hint: write one '='"#]],
    );
    check(
        "CREATE SOURCE a WITH (x = '1') b",
        expect!["error[E0101]: line 1, column 32: expected the end of the statement but found 'b'"],
    );
    check(
        "CREATE SOURCE a WITH (x = '1' y = '2')",
        expect!["error[E0101]: line 1, column 31: expected ',' or ')' but found 'y'"],
    );
}

#[test]
fn views_and_sinks() {
    check(
        "CREATE VIEW a SELECT 1",
        expect!["error[E0101]: line 1, column 15: expected AS but found 'SELECT'"],
    );
    check(
        "CREATE VIEW a (b c) AS SELECT 1",
        expect!["error[E0101]: line 1, column 18: expected ',' or ')' but found 'c'"],
    );
    check(
        "CREATE VIEW a WITH (x = 1) AS SELECT 1",
        expect![[r#"
        error[E0101]: line 1, column 15: expected AS but found 'WITH'
          hint: a view has no options; a query starts with AS"#]],
    );
    check(
        "CREATE VIEW a AS",
        expect![
            "error[E0101]: line 1, column 17: expected a query but found the end of the statement"
        ],
    );
    check(
        "CREATE VIEW a AS SELECT 1 2",
        expect![
            "error[E0101]: line 1, column 27: expected the end of the statement but found the number 2"
        ],
    );
    check(
        "CREATE SINK a",
        expect![
            "error[E0101]: line 1, column 14: expected WITH (connector = ...) but found the end of the statement"
        ],
    );
    check(
        "CREATE SINK a WITH (x = 1) SELECT 1",
        expect![
            "error[E0101]: line 1, column 28: expected AS or the end of the statement but found 'SELECT'"
        ],
    );
    check(
        "CREATE SINK a (b INT AS (1)) WITH (x = 1)",
        expect![[r#"
        error[E0101]: line 1, column 16: the column "b" of a sink can't be computed
          hint: compute it in the query that writes into the sink"#]],
    );
    check(
        "CREATE SINK a (b INT, WATERMARK FOR b) WITH (x = 1)",
        expect![[r#"
            error[E0101]: line 1, column 37: a sink has no watermark
              hint: declare it on the source"#]],
    );
}

#[test]
fn inserts() {
    check(
        "INSERT lake SELECT 1",
        expect!["error[E0101]: line 1, column 8: expected INTO but found 'lake'"],
    );
    check(
        "INSERT INTO lake",
        expect![
            "error[E0101]: line 1, column 17: expected a query but found the end of the statement"
        ],
    );
    check(
        "INSERT INTO lake (a,) SELECT 1",
        expect![[r#"
        error[E0101]: line 1, column 21: expected the name of a column but found ')'
          hint: remove the ',' before it"#]],
    );
    check(
        "INSERT INTO SELECT 1",
        expect!["error[E0101]: line 1, column 13: expected the name of a sink but found 'SELECT'"],
    );
}

#[test]
fn settings() {
    check(
        "SET",
        expect![
            "error[E0101]: line 1, column 4: expected the name of a setting but found the end of the statement"
        ],
    );
    check(
        "SET a",
        expect![
            "error[E0101]: line 1, column 6: expected '=' or TO but found the end of the statement"
        ],
    );
    check(
        "SET a = ",
        expect![
            "error[E0101]: line 1, column 8: expected a value but found the end of the statement"
        ],
    );
    check(
        "SET a. = 1",
        expect!["error[E0101]: line 1, column 8: expected a name behind the '.' but found '='"],
    );
    check(
        "SET pipeline.mode 'x'",
        expect!["error[E0101]: line 1, column 19: expected '=' or TO but found a string"],
    );
    check(
        "SET a = 1 2 3",
        expect![
            "error[E0101]: line 1, column 11: expected the end of the statement but found the number 2"
        ],
    );
    check(
        "SET a = b c",
        expect!["error[E0101]: line 1, column 11: expected the end of the statement but found 'c'"],
    );
}

#[test]
fn names_and_lists() {
    check(
        "SHOW",
        expect![
            "error[E0101]: line 1, column 5: expected SOURCES, SINKS, VIEWS, TABLES, SETTINGS or the name of a setting but found the end of the statement"
        ],
    );
    check(
        "SHOW SORCES",
        expect![[r#"
            error[E0101]: line 1, column 6: unknown SHOW SORCES
              hint: did you mean "SOURCES"?"#]],
    );
    check(
        "SHOW CREATE",
        expect![
            "error[E0101]: line 1, column 12: expected the name of a source, view or sink but found the end of the statement"
        ],
    );
    check(
        "SHOW SOURCES LIKE 'a'",
        expect![
            "error[E0101]: line 1, column 14: expected the end of the statement but found 'LIKE'"
        ],
    );
    check(
        "DESCRIBE",
        expect![
            "error[E0101]: line 1, column 9: expected the name of a source, view or sink but found the end of the statement"
        ],
    );
    check(
        "DESCRIBE SELECT 1",
        expect![
            "error[E0101]: line 1, column 10: expected the name of a source, view or sink but found 'SELECT'"
        ],
    );
    check(
        "DROP SOURCE",
        expect![
            "error[E0101]: line 1, column 12: expected a name but found the end of the statement"
        ],
    );
    check(
        "DROP SOURCE a b",
        expect!["error[E0101]: line 1, column 15: expected the end of the statement but found 'b'"],
    );
    check(
        "EXPLAIN",
        expect![
            "error[E0101]: line 1, column 8: expected a statement but found the end of the statement"
        ],
    );
    check(
        "EXPLAIN ANALYZE;",
        expect![
            "error[E0101]: line 1, column 16: expected a statement but found the end of the statement"
        ],
    );
}

#[test]
fn duplicates_and_types() {
    check(
        "CREATE SOURCE a WITH (path = 'a',
  Path = 'b')",
        expect![[r#"error[E0107]: line 2, column 3: the option "path" is given twice"#]],
    );
    check(
        "CREATE SOURCE s (a INT, b INT, A INT) WITH (x = 1)",
        expect![[r#"error[E0107]: line 1, column 32: the column "a" is declared twice"#]],
    );
    check(
        "CREATE SOURCE s (a BIGINTT) WITH (x = 1)",
        expect![[r#"
        error[E0106]: line 1, column 20: unknown type "BIGINTT"
          hint: did you mean "BIGINT"?"#]],
    );
    check(
        "CREATE SOURCE s (a INT, PRIMARY KEY (a, a)) WITH (x = 1)",
        expect![[r#"error[E0107]: line 1, column 41: the column "a" is in the key twice"#]],
    );
    check(
        "CREATE SOURCE s (customer INT, PRIMARY KEY (custmer)) WITH (x = 1)",
        expect![[r#"
            error[E0104]: line 1, column 45: unknown column "custmer"
              hint: did you mean "customer"?"#]],
    );
}

#[test]
fn variables() {
    check(
        "SELECT 1;
CREATE SOURCE a WITH (path = 's3://${BUKET}/x')",
        expect![[r#"
            error[E0108]: line 2, column 30: the variable "BUKET" has no value
              hint: did you mean "BUCKET"?"#]],
    );
    check(
        "SELECT '${X}'",
        expect![[r#"
            error[E0108]: line 1, column 8: the variable "X" has no value
              hint: give it with --set X=value, or write a default: ${X:-value}"#]],
    );
    check(
        "SELECT '${'",
        expect![[r#"
        error[E0108]: line 1, column 8: a variable is not closed with '}'
          hint: write ${NAME} or ${NAME:-default}, and $${ for a literal ${"#]],
    );
    check(
        "SELECT '${1}'",
        expect![[r#"
        error[E0108]: line 1, column 8: "1" is not the name of a variable
          hint: write ${NAME} or ${NAME:-default}, and $${ for a literal ${"#]],
    );
}
