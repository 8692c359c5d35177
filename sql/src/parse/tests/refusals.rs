//! What this version does not do, by name, with the way around.

use expect_test::expect;

use super::check;

#[test]
fn create() {
    check(
        "CREATE SECRET a WITH (x = 'y')",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE SECRET is not supported in this version
          hint: use a variable: password = '${PASSWORD}' with --set"#]],
    );
    check(
        "CREATE FUNCTION f() AS 1",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE FUNCTION is not supported in this version
          hint: write the expression itself, in a VIEW or a computed column"#]],
    );
    check(
        "CREATE TABLE a (b INT)",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE TABLE is not supported in this version
          hint: use a SOURCE for what is read, a SINK for what is written"#]],
    );
    check(
        "CREATE EXTERNAL TABLE a STORED AS parquet",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE TABLE is not supported in this version
          hint: use a SOURCE for what is read, a SINK for what is written"#]],
    );
    check(
        "CREATE OR REPLACE TEMP VIEW a AS SELECT 1",
        expect![[r#"
        error[E0109]: line 1, column 19: CREATE TEMPORARY is not supported in this version
          hint: use a VIEW, which lives as long as the script"#]],
    );
    check(
        "CREATE SCHEMA a",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE SCHEMA is not supported in this version
          hint: all names live in one catalog: leave it out"#]],
    );
    check(
        "CREATE INDEX a ON b (c)",
        expect![[r#"
        error[E0109]: line 1, column 8: CREATE INDEX is not supported in this version
          hint: nothing is indexed: leave it out"#]],
    );
    check(
        "CREATE TRIGGER a",
        expect!["error[E0109]: line 1, column 8: CREATE TRIGGER is not supported in this version"],
    );
}

#[test]
fn statements() {
    check(
        "DROP TABLE a",
        expect![[r#"
        error[E0109]: line 1, column 6: DROP TABLE is not supported in this version
          hint: use a SOURCE for what is read, a SINK for what is written"#]],
    );
    check(
        "REPLAY DEAD LETTERS OF orders",
        expect![[r#"
        error[E0109]: line 1, column 1: REPLAY is not supported in this version
          hint: read the dead letters' Parquet files with a source, and insert them again"#]],
    );
    check(
        "COPY a TO 'b'",
        expect![[r#"
        error[E0109]: line 1, column 1: COPY is not supported in this version
          hint: read files with CREATE SOURCE, write them with CREATE SINK ... AS SELECT"#]],
    );
    check(
        "DELETE FROM a",
        expect![[r#"
        error[E0109]: line 1, column 1: DELETE is not supported in this version
          hint: pipelines only append: filter or change the rows with SELECT ... WHERE"#]],
    );
    check(
        "UPDATE a SET b = 1",
        expect![[r#"
        error[E0109]: line 1, column 1: UPDATE is not supported in this version
          hint: pipelines only append: filter or change the rows with SELECT ... WHERE"#]],
    );
    check(
        "ALTER SOURCE a ADD b INT",
        expect![[r#"
            error[E0101]: line 1, column 16: expected ADD CONSTRAINT, ADD RULE SET, or DROP, ENABLE, DISABLE or DRY RUN CONSTRAINT but found 'ADD'
              hint: only rules are altered; replace all else with CREATE OR REPLACE"#]],
    );
    check(
        "BEGIN",
        expect![[r#"
        error[E0109]: line 1, column 1: BEGIN is not supported in this version
          hint: a script needs no transaction: leave it out"#]],
    );
    check(
        "FROM a",
        expect![[r#"
        error[E0109]: line 1, column 1: FROM is not supported in this version
          hint: start with SELECT: SELECT * FROM ..."#]],
    );
}

#[test]
fn statements_2() {
    check(
        "VACUUM",
        expect!["error[E0109]: line 1, column 1: VACUUM is not supported in this version"],
    );
    check(
        "GRANT SELECT ON a TO b",
        expect![[r#"
        error[E0109]: line 1, column 1: GRANT is not supported in this version
          hint: access is not managed by SQL: leave it out"#]],
    );
    check(
        "INSERT OVERWRITE lake SELECT 1",
        expect![[r#"
        error[E0109]: line 1, column 8: INSERT OVERWRITE is not supported in this version
          hint: a sink's options say how files are named; INSERT INTO appends"#]],
    );
}

#[test]
fn constraints_and_names() {
    check(
        "CREATE SOURCE a WITH (password = SECRET pg_password)",
        expect![[r#"
            error[E0109]: line 1, column 34: SECRET as the value of an option is not supported in this version
              hint: use a variable: '${NAME}' with --set NAME=value"#]],
    );
    check(
        "CREATE SOURCE a (b INT DEFAULT 1) WITH (x = 1)",
        expect![[r#"
            error[E0109]: line 1, column 24: DEFAULT of a column is not supported in this version
              hint: use a computed column with coalesce(...)"#]],
    );
    check(
        "CREATE SOURCE a (b INT, CHECK (b > 0)) WITH (x = 1)",
        expect![[r#"
            error[E0109]: line 1, column 25: CHECK is not supported in this version
              hint: a rule over rows is written CONSTRAINT name EXPECT (expression)"#]],
    );
    check(
        "CREATE SOURCE a (b INT, CONSTRAINT k PRIMARY KEY (b)) WITH (x = 1)",
        expect![[r#"
            error[E0109]: line 1, column 25: CONSTRAINT without EXPECT is not supported in this version
              hint: a rule over rows is written CONSTRAINT name EXPECT (expression)"#]],
    );
    check(
        "CREATE SOURCE a.b WITH (x = 1)",
        expect![[r#"
        error[E0109]: line 1, column 15: a name with a schema is not supported in this version
          hint: all names live in one catalog: use the last part alone"#]],
    );
    check(
        "CREATE SINK a (b INT PRIMARY KEY) WITH (x = 1)",
        expect![[r#"
            error[E0109]: line 1, column 15: PRIMARY KEY of a sink is not supported in this version
              hint: the sinks of this version append: leave the key out"#]],
    );
    check(
        "CREATE SINK a FROM b WITH (x = 1)",
        expect![[r#"
        error[E0109]: line 1, column 15: CREATE SINK ... FROM is not supported in this version
          hint: write CREATE SINK name WITH (...) AS SELECT * FROM ..."#]],
    );
}

#[test]
fn clauses_of_queries() {
    check(
        "SELECT * FROM t FOR UPDATE",
        expect![[r#"
        error[E0109]: line 1, column 1: FOR UPDATE or FOR SHARE is not supported in this version
          hint: leave it out"#]],
    );
    check(
        "WITH x AS (SELECT 1) INSERT INTO lake SELECT * FROM x",
        expect![[r#"
            error[E0109]: line 1, column 1: a statement that writes inside a query is not supported in this version
              hint: write INSERT INTO sink WITH ... SELECT ..."#]],
    );
    check(
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        expect![[r#"
        error[E0109]: line 1, column 15: TABLESAMPLE is not supported in this version
          hint: filter with WHERE random() < 0.1"#]],
    );
    check(
        "SELECT a FROM t WHERE b = ?",
        expect![[r#"
        error[E0109]: line 1, column 27: the parameter ? in a script is not supported in this version
          hint: use a variable: '${NAME}' with --set NAME=value"#]],
    );
}

#[test]
fn explain_and_show() {
    check(
        "EXPLAIN VERBOSE SELECT 1",
        expect![[r#"
        error[E0109]: line 1, column 9: EXPLAIN VERBOSE is not supported in this version
          hint: use EXPLAIN or EXPLAIN ANALYZE and the statement"#]],
    );
    check(
        "EXPLAIN EXPLAIN SELECT 1",
        expect![[r#"
        error[E0109]: line 1, column 9: EXPLAIN EXPLAIN is not supported in this version
          hint: use EXPLAIN or EXPLAIN ANALYZE and the statement"#]],
    );
    check(
        "EXPLAIN SHOW SOURCES",
        expect![[r#"
            error[E0109]: line 1, column 9: EXPLAIN of a statement without a query is not supported in this version
              hint: explain a query, INSERT INTO, CREATE SINK ... AS or CREATE MATERIALIZED VIEW"#]],
    );
    check(
        "EXPLAIN CREATE SINK a WITH (x = 1)",
        expect![[r#"
            error[E0109]: line 1, column 9: EXPLAIN of a statement without a query is not supported in this version
              hint: explain a query, INSERT INTO, CREATE SINK ... AS or CREATE MATERIALIZED VIEW"#]],
    );
    check(
        "SHOW COLUMNS FROM a",
        expect![[r#"
        error[E0109]: line 1, column 6: SHOW COLUMNS is not supported in this version
          hint: use DESCRIBE name"#]],
    );
    check(
        "SHOW EXPECTATIONS",
        expect![[r#"
        error[E0109]: line 1, column 6: SHOW EXPECTATIONS is not supported in this version
          hint: use SHOW CONSTRAINTS, or SHOW CONSTRAINTS FROM table"#]],
    );
}
