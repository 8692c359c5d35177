//! Errors inside queries, with their place and hint.

use expect_test::expect;

use super::check;

#[test]
fn clauses() {
    check(
        "SELECT a,
       b FORM t",
        expect![[r#"
            error[E0101]: line 2, column 15: expected the end of the statement but found 't'
              hint: did you mean FROM instead of FORM?"#]],
    );
    check(
        "SELECT * FORM t",
        expect![[r#"
        error[E0101]: line 1, column 10: expected the end of the statement but found 'FORM'
          hint: did you mean FROM instead of FORM?"#]],
    );
    check(
        "SELECT * FROM t WHER a = 1",
        expect![[r#"
        error[E0101]: line 1, column 22: expected the end of the statement but found 'a'
          hint: did you mean WHERE instead of WHER?"#]],
    );
    check(
        "SELECT a FROM t GRUOP BY a",
        expect![[r#"
        error[E0101]: line 1, column 23: expected the end of the statement but found 'BY'
          hint: did you mean GROUP instead of GRUOP?"#]],
    );
    check(
        "SELECT a FROM t WHERE",
        expect![
            "error[E0101]: line 1, column 22: expected an expression but found the end of the statement"
        ],
    );
    check(
        "SELECT 1
SELECT 2",
        expect![[r#"
            error[E0101]: line 2, column 1: expected the end of the statement but found 'SELECT'
              hint: end the statement before it with ';'"#]],
    );
    check(
        "SELECT a FROM t LIMIT 'x' 'pass ${PASSWORD}'",
        expect![
            "error[E0101]: line 1, column 27: expected the end of the statement but found a string"
        ],
    );
    check(
        "SELECT * FROM t WHERE a == 1",
        expect![[r#"
        1:1 query SELECT * FROM t WHERE a = 1
    "#]],
    );
    check(
        "SELECT a FROM t ORDER a",
        expect![[r#"
            error[E0101]: line 1, column 17: expected the end of the statement but found 'ORDER'
              hint: write ORDER BY"#]],
    );
}

#[test]
fn clauses_2() {
    check(
        "SELECT INTERVAL FROM t WHERE",
        expect![
            "error[E0101]: line 1, column 29: expected an expression but found the end of the statement"
        ],
    );
}

#[test]
fn expressions() {
    check(
        "SELECT a, FROM t",
        expect![[r#"
            error[E0101]: line 1, column 11: expected an expression but found 'FROM'
              hint: remove the ',' before it"#]],
    );
    check(
        "SELECT (1 + 2",
        expect!["error[E0101]: line 1, column 14: expected ')' but found the end of the statement"],
    );
    check(
        "SELECT 1 +",
        expect![
            "error[E0101]: line 1, column 11: expected an expression but found the end of the statement"
        ],
    );
    check(
        "SELECT * FROM (SELECT 1",
        expect!["error[E0101]: line 1, column 24: expected ')' but found the end of the statement"],
    );
    check(
        "SELECT * FROM",
        expect![
            "error[E0101]: line 1, column 14: expected a name but found the end of the statement"
        ],
    );
    check(
        "SELECT f(1,) FROM t",
        expect![[r#"
        error[E0101]: line 1, column 12: expected an expression but found ')'
          hint: remove the ',' before it"#]],
    );
    check(
        "SELECT CASE WHEN a THEN 1",
        expect!["error[E0101]: line 1, column 26: expected END but found the end of the statement"],
    );
    check(
        "SELECT a FROM t; SELECT )",
        expect!["error[E0101]: line 1, column 25: expected an expression but found ')'"],
    );
    check(
        "SELECT CAST(a AS) FROM t",
        expect!["error[E0101]: line 1, column 17: expected a type but found ')'"],
    );
    check(
        "SELECT a b c FROM t",
        expect!["error[E0101]: line 1, column 12: expected the end of the statement but found 'c'"],
    );
}

#[test]
fn parameters() {
    check(
        "SELECT ${N}",
        expect![[r#"
            error[E0108]: line 1, column 8: a variable stands outside of a string
              hint: write '${NAME}', and CAST('${NAME}' AS BIGINT) for a number"#]],
    );
    check(
        "SELECT $1",
        expect![[r#"
        error[E0109]: line 1, column 8: the parameter $1 in a script is not supported in this version
          hint: use a variable: '${NAME}' with --set NAME=value"#]],
    );
}

#[test]
fn in_subqueries() {
    check(
        "SELECT * FROM (SELECT a b c FROM t) x",
        expect!["error[E0101]: line 1, column 27: expected ')' but found 'c'"],
    );
    check(
        "SELECT * FROM (SELECT a FROM t WHERE) x",
        expect!["error[E0101]: line 1, column 37: expected an expression but found ')'"],
    );
    check(
        "SELECT * FROM (SELECT a FROM (SELECT b FORM u) y) x JOIN z ON",
        expect![[r#"
            error[E0101]: line 1, column 45: expected ')' but found 'u'
              hint: did you mean FROM instead of FORM?"#]],
    );
    check(
        "SELECT (SELECT 1",
        expect!["error[E0101]: line 1, column 17: expected ')' but found the end of the statement"],
    );
    check(
        "SELECT a FROM t WHERE b IN (SELECT c, FROM u)",
        expect![[r#"
        error[E0101]: line 1, column 39: expected an expression but found 'FROM'
          hint: remove the ',' before it"#]],
    );
    check(
        "SELECT CASE WHEN a THEN 1 END FROM t WHERE NOT",
        expect![
            "error[E0101]: line 1, column 47: expected an expression but found the end of the statement"
        ],
    );
    check(
        "SELECT * FROM TUMBLE(t ts, INTERVAL '1 minute')",
        expect!["error[E0101]: line 1, column 24: expected ')' but found 'ts'"],
    );
    check(
        "CREATE SOURCE a (b INT AS c + 1) WITH (x = 1)",
        expect![[r#"
        error[E0101]: line 1, column 27: expected '(' but found 'c'
          hint: the expression of a column stands in parentheses: AS (a + b)"#]],
    );
}
