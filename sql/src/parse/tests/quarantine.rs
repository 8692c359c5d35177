//! What is asked of rows in quarantine.

use expect_test::expect;

use super::*;

#[test]
fn requests_name_a_table_and_its_open_rows() {
    check(
        "REPLAY QUARANTINE orders; release from quarantine.\"a b\" set (x = 1, y = x + 1) where x < 0 or y;
        DISCARD FROM quarantine.t WHERE id IN (SELECT id FROM bad)",
        expect![[r#"
            1:1 replay orders@1:19
              SELECT * FROM "quarantine"."orders" WHERE "_status" = 'open'
            1:27 release a b@1:40
              SELECT * FROM "quarantine"."a b" WHERE (x < 0 OR y) AND "_status" = 'open'
              set x@1:62 = 1
              set y@1:69 = x + 1
            2:9 discard t@2:22
              SELECT * FROM "quarantine"."t" WHERE (id IN (SELECT id FROM bad)) AND "_status" = 'open'
        "#]],
    );
}

#[test]
fn requests_are_refused_where_they_are_wrong() {
    check(
        "REPLAY",
        expect![
            "error[E0101]: line 1, column 7: expected FROM quarantine.name or QUARANTINE name but found the end of the statement"
        ],
    );
    check(
        "DISCARD ALL",
        expect!["error[E0109]: line 1, column 1: DISCARD is not supported in this version"],
    );
    check(
        "REPLAY FROM orders",
        expect![[r#"
        error[E0101]: line 1, column 13: expected the name of a quarantine table: quarantine.name but found 'orders'
          hint: rows that rules have kept back are in tables of the schema "quarantine""#]],
    );
    check(
        "REPLAY FROM quarantine.",
        expect![
            "error[E0101]: line 1, column 24: expected the name of a quarantine table: quarantine.name but found the end of the statement"
        ],
    );
    check(
        "RELEASE FROM quarantine.t WHERE",
        expect![
            "error[E0101]: line 1, column 32: expected an expression but found the end of the statement"
        ],
    );
    check(
        "RELEASE FROM quarantine.t WHERE a SET (b = 1) WHERE c",
        expect![
            "error[E0101]: line 1, column 47: expected the end of the statement but found 'WHERE'"
        ],
    );
    check(
        "DISCARD FROM quarantine.t SET (a = 1)",
        expect![[r#"
        error[E0109]: line 1, column 27: DISCARD with SET is not supported in this version
          hint: a row that is not wanted needs no other values"#]],
    );
    check(
        "EXPLAIN REPLAY FROM quarantine.t",
        expect![[r#"
        error[E0109]: line 1, column 9: EXPLAIN of a statement without a query is not supported in this version
          hint: explain a query, INSERT INTO, CREATE SINK ... AS or CREATE MATERIALIZED VIEW"#]],
    );
}
