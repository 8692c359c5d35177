//! What says when results come out and what is kept of them: EMIT, materialized views, SUBSCRIBE,
//! lateness and lookups.

use expect_test::expect;

use super::check;

#[test]
fn emit() {
    check(
        "CREATE SINK s WITH (connector = 'print') AS SELECT a, count(*) FROM t GROUP BY a EMIT ON UPDATE",
        expect![[r#"
            1:1 sink s@1:13
              connector = "print" @1:33
              SELECT a, count(*) FROM t GROUP BY a | EMIT ON UPDATE
        "#]],
    );
    check(
        "INSERT INTO s SELECT * FROM t EMIT ON WINDOW CLOSE; SELECT 1 EMIT EVERY INTERVAL '10' SECOND",
        expect![[r#"
            1:1 insert s@1:13 ()
              SELECT * FROM t | EMIT ON WINDOW CLOSE
            1:53 query SELECT 1 | EMIT EVERY INTERVAL '10000 ms'
        "#]],
    );
    check(
        "INSERT INTO s SELECT * FROM a JOIN b emit ON emit.x = a.x",
        expect![[r#"
            1:1 insert s@1:13 ()
              SELECT * FROM a JOIN b emit ON emit.x = a.x
        "#]],
    );
    check(
        "INSERT INTO s SELECT * FROM t emit",
        expect![[r#"
        1:1 insert s@1:13 ()
          SELECT * FROM t emit
    "#]],
    );
}

#[test]
fn emit_that_says_nothing_known() {
    check(
        "INSERT INTO s SELECT * FROM t WHERE a EMIT SOON",
        expect![[r#"
        error[E0101]: line 1, column 39: unknown EMIT
          hint: write EMIT ON WINDOW CLOSE, EMIT ON UPDATE or EMIT EVERY INTERVAL '10 seconds'"#]],
    );
    check(
        "SELECT * FROM t EMIT ON CHANGE",
        expect![[r#"
        error[E0101]: line 1, column 17: EMIT cannot stand here
          hint: write EMIT ON WINDOW CLOSE, EMIT ON UPDATE or EMIT EVERY INTERVAL '10 seconds' once, behind the whole query of CREATE SINK, INSERT, CREATE MATERIALIZED VIEW or SUBSCRIBE"#]],
    );
    check(
        "SELECT * FROM t EMIT EVERY 'x'",
        expect![[r#"
        error[E0101]: line 1, column 28: EMIT EVERY needs a time span of a millisecond or more
          hint: write EMIT EVERY INTERVAL '10 seconds'"#]],
    );
    check(
        "SELECT * FROM t EMIT EVERY INTERVAL '0 seconds'",
        expect![[r#"
        error[E0101]: line 1, column 28: EMIT EVERY needs a time span of a millisecond or more
          hint: write EMIT EVERY INTERVAL '10 seconds'"#]],
    );
    check(
        "SELECT * FROM (SELECT * FROM t EMIT ON UPDATE)",
        expect![[r#"
        error[E0101]: line 1, column 32: EMIT cannot stand here
          hint: write EMIT ON WINDOW CLOSE, EMIT ON UPDATE or EMIT EVERY INTERVAL '10 seconds' once, behind the whole query of CREATE SINK, INSERT, CREATE MATERIALIZED VIEW or SUBSCRIBE"#]],
    );
    check(
        "CREATE VIEW v AS SELECT 1 EMIT ON UPDATE",
        expect![[r#"
        error[E0101]: line 1, column 27: a view has no EMIT
          hint: a view is computed where it is used: write EMIT behind that query"#]],
    );
    check(
        "EXPLAIN INSERT INTO s SELECT 1 EMIT ON UPDATE",
        expect![[r#"
        1:1 explain analyze=false "INSERT INTO s SELECT 1 EMIT ON UPDATE"
          1:9 insert s@1:21 ()
          SELECT 1 | EMIT ON UPDATE
    "#]],
    );
}

#[test]
fn materialized_views() {
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT a, count(*) FROM t GROUP BY a EMIT EVERY INTERVAL '1 minute'",
        expect![[r#"
            1:1 materialized v@1:26 ()
              SELECT a, count(*) FROM t GROUP BY a | EMIT EVERY INTERVAL '60000 ms'
        "#]],
    );
    check(
        "CREATE OR REPLACE MATERIALIZED VIEW v (a, b) AS SELECT 1, 2; CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT 1",
        expect![[r#"
            1:1 materialized v@1:37 or replace (a, b)
              SELECT 1, 2
            1:62 materialized v@1:101 if not exists ()
              SELECT 1
        "#]],
    );
    check(
        "DROP MATERIALIZED VIEW IF EXISTS a, b CASCADE; SHOW MATERIALIZED VIEWS; SHOW CREATE MATERIALIZED VIEW v; DESCRIBE MATERIALIZED VIEW v",
        expect![[r#"
            1:1 drop MaterializedView a, b if_exists=true cascade=true
            1:48 show Objects(MaterializedView)
            1:73 show create v@1:103
            1:106 describe v@1:133
        "#]],
    );
    check(
        "CREATE MATERIALIZED SELECT 1",
        expect![[r#"
        error[E0101]: line 1, column 8: unknown CREATE MATERIALIZED
          hint: did you mean "MATERIALIZED VIEW"?"#]],
    );
    check(
        "CREATE MATERIALIZED VIEW v WITH (x = 1) AS SELECT 1",
        expect![[r#"
            error[E0101]: line 1, column 28: expected AS but found 'WITH'
              hint: a view has no options; a query starts with AS"#]],
    );
}

#[test]
fn subscribe() {
    check(
        "SUBSCRIBE TO (SELECT * FROM t WHERE a > 1) LIMIT 10",
        expect![[r#"
            1:1 subscribe SELECT * FROM t WHERE a > 1 limit 10
        "#]],
    );
    check(
        "SUBSCRIBE TO (SELECT a FROM t EMIT ON UPDATE); SUBSCRIBE TO (SELECT a FROM t) EMIT ON UPDATE LIMIT 1",
        expect![[r#"
            1:1 subscribe SELECT a FROM t | EMIT ON UPDATE
            1:48 subscribe SELECT a FROM t | EMIT ON UPDATE limit 1
        "#]],
    );
    check(
        "SUBSCRIBE v; SUBSCRIBE TO \"V w\"",
        expect![[r#"
        1:1 subscribe SELECT * FROM "v"
        1:14 subscribe SELECT * FROM "V w"
    "#]],
    );
    check(
        "SUBSCRIBE TO SELECT 1",
        expect![[r#"
        error[E0101]: line 1, column 14: expected '(' but found 'SELECT'
          hint: write SUBSCRIBE TO (SELECT ...)"#]],
    );
    check(
        "SUBSCRIBE TO (SELECT 1",
        expect!["error[E0101]: line 1, column 23: expected ')' but found the end of the statement"],
    );
    check(
        "SUBSCRIBE TO v LIMIT x",
        expect!["error[E0101]: line 1, column 22: expected a number of rows but found 'x'"],
    );
}

#[test]
fn windows_and_lookups() {
    check(
        "SELECT * FROM SESSION(t, ts, INTERVAL '1 minute', a, b) AS s WITH (allowed_lateness = '1 minute')",
        expect![[r#"
            1:1 query SELECT * FROM SESSION(t, ts, INTERVAL '1 minute', a, b) AS s WITH (allowed_lateness = '1 minute')
        "#]],
    );
    check(
        "SELECT * FROM t WITH (allowed_lateness = '1 minute')",
        expect![[r#"
            error[E0109]: line 1, column 15: WITH (...) behind a table is not supported in this version
              hint: only a window function takes options, such as allowed_lateness"#]],
    );
    check(
        "SELECT * FROM a JOIN b FOR SYSTEM_TIME AS OF PROCTIME() AS c ON a.x = c.x",
        expect![[r#"
            1:1 query SELECT * FROM a JOIN b AS c FOR SYSTEM_TIME AS OF PROCTIME() ON a.x = c.x
        "#]],
    );
    check(
        "SELECT * FROM a JOIN b FOR SYSTEM_TIME AS OF a.ts AS c ON a.x = c.x",
        expect![[r#"
            error[E0101]: line 1, column 22: a table's version can only be the one at the time of the row
              hint: write JOIN table FOR SYSTEM_TIME AS OF PROCTIME() ON ..."#]],
    );
    check(
        "SELECT * FROM a at JOIN b before ON at.x = before.x",
        expect![[r#"
            1:1 query SELECT * FROM a at JOIN b before ON at.x = before.x
        "#]],
    );
    check(
        "CREATE SOURCE s (a INT, pt TIMESTAMP AS PROCTIME(), qt TIMESTAMP AS (PROCTIME())) WITH (connector = 'x')",
        expect![[r#"
            1:1 source s@1:15
              column a INT
              column pt TIMESTAMP = PROCTIME()
              column qt TIMESTAMP = PROCTIME()
              connector = "x" @1:101
        "#]],
    );
}
