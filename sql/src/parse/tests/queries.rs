//! Queries: what goes through to the planner, and in which form.

use expect_test::expect;

use super::check;

#[test]
fn plain_queries() {
    check(
        r#"SELECT a.b, "C" FROM t AS a WHERE x >= 1 AND y <> 'z' ORDER BY 1 DESC NULLS LAST LIMIT 10 OFFSET 5"#,
        expect![[r#"
            1:1 query SELECT a.b, "C" FROM t AS a WHERE x >= 1 AND y <> 'z' ORDER BY 1 DESC NULLS LAST LIMIT 10 OFFSET 5
        "#]],
    );
    check(
        "VALUES (1), (2)",
        expect![[r#"
        1:1 query VALUES (1), (2)
    "#]],
    );
    check(
        "(SELECT 1)",
        expect![[r#"
        1:1 query (SELECT 1)
    "#]],
    );
    check(
        "TABLE t",
        expect![[r#"
        1:1 query TABLE t
    "#]],
    );
    check(
        "WITH x AS (SELECT 1 AS a), y (b) AS (SELECT 2) SELECT * FROM x JOIN y ON a = b LEFT JOIN z USING (k) UNION ALL SELECT 1",
        expect![[r#"
            1:1 query WITH x AS (SELECT 1 AS a), y (b) AS (SELECT 2) SELECT * FROM x JOIN y ON a = b LEFT JOIN z USING(k) UNION ALL SELECT 1
        "#]],
    );
    check(
        "SELECT * EXCEPT (a) FROM t; SELECT * EXCLUDE (a) FROM t; SELECT * REPLACE (a + 1 AS a) FROM t",
        expect![[r#"
            1:1 query SELECT * EXCEPT (a) FROM t
            1:29 query SELECT * EXCLUDE (a) FROM t
            1:58 query SELECT * REPLACE (a + 1 AS a) FROM t
        "#]],
    );
    check(
        "SELECT DISTINCT ON (a) a, b FROM t; SELECT a FROM t GROUP BY ROLLUP (a, b); SELECT a FROM t GROUP BY GROUPING SETS ((a), ())",
        expect![[r#"
            1:1 query SELECT DISTINCT ON (a) a, b FROM t
            1:37 query SELECT a FROM t GROUP BY ROLLUP (a, b)
            1:77 query SELECT a FROM t GROUP BY GROUPING SETS ((a), ())
        "#]],
    );
    check(
        "SELECT row_number() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t QUALIFY row_number() OVER w = 1",
        expect![[r#"
            1:1 query SELECT row_number() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t QUALIFY row_number() OVER w = 1
        "#]],
    );
}

#[test]
fn expressions() {
    check(
        "SELECT INTERVAL '5 seconds', INTERVAL '5' SECOND, INTERVAL '1' DAY + ts, INTERVAL 1 MINUTE",
        expect![[r#"
            1:1 query SELECT INTERVAL '5 seconds', INTERVAL '5' SECOND, INTERVAL '1' DAY + ts, INTERVAL 1 MINUTE
        "#]],
    );
    check(
        "SELECT a::int, a::decimal(10,2), '1'::TEXT::INT, CAST(a AS VARCHAR), TRY_CAST(a AS STRING), a::int[]",
        expect![[r#"
            1:1 query SELECT a::INT, a::DECIMAL(10,2), '1'::TEXT::INT, CAST(a AS VARCHAR), TRY_CAST(a AS STRING), a::INT[]
        "#]],
    );
    check(
        r"SELECT E'a\n\'b', 'it''s', X'ff', $$dollar$$, U&'\0041', 1_000, 1e3, .5",
        expect![[r#"
            1:1 query SELECT E'a\n\'b', 'it''s', X'ff', $$dollar$$, U&'A', 1_000, 1e3, .5
        "#]],
    );
    check(
        "SELECT [1, 2], ARRAY[1, 2], a[1], a[1:2], s.f, s['f'], {'a': 1}, MAP {'a': 1}, STRUCT(1 AS x)",
        expect![[r#"
            1:1 query SELECT [1, 2], ARRAY[1, 2], a[1], a[1:2], s.f, s['f'], {'a': 1}, MAP {'a': 1}, STRUCT(1 AS x)
        "#]],
    );
    check(
        "SELECT sum(a) FILTER (WHERE b > 0), percentile_cont(0.5) WITHIN GROUP (ORDER BY a), count(DISTINCT a), array_agg(a ORDER BY b), first_value(a) IGNORE NULLS OVER (ORDER BY b), count(*)",
        expect![[r#"
            1:1 query SELECT sum(a) FILTER (WHERE b > 0), percentile_cont(0.5) WITHIN GROUP (ORDER BY a), count(DISTINCT a), array_agg(a ORDER BY b), first_value(a) IGNORE NULLS OVER (ORDER BY b), count(*)
        "#]],
    );
    check(
        "SELECT a || b = c || d, a LIKE 'x' || '%', a ~ '^b', a !~* 'b', a->'x'->>'y', 2 ^ 3, a<-1, a>-1, a=-1, a*-1, a & 1 | 2, a IS DISTINCT FROM b, a AT TIME ZONE 'UTC', NOT a IN (1, 2), a BETWEEN 1 AND 2 AND b",
        expect![[r#"
            1:1 query SELECT a || b = c || d, a LIKE 'x' || '%', a ~ '^b', a !~* 'b', a -> 'x' ->> 'y', 2 ^ 3, a < -1, a > -1, a = -1, a * -1, a & 1 | 2, a IS DISTINCT FROM b, a AT TIME ZONE 'UTC', NOT a IN (1, 2), a BETWEEN 1 AND 2 AND b
        "#]],
    );
    check(
        "SELECT extract(epoch FROM ts), date_trunc('hour', ts), position('a' IN b), substring(a FROM 1 FOR 2), trim(BOTH ' ' FROM a), DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00', CASE WHEN a THEN 1 ELSE 2 END, EXISTS (SELECT 1), f(a => 1)",
        expect![[r#"
            1:1 query SELECT EXTRACT(EPOCH FROM ts), date_trunc('hour', ts), POSITION('a' IN b), SUBSTRING(a FROM 1 FOR 2), TRIM(BOTH ' ' FROM a), DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00', CASE WHEN a THEN 1 ELSE 2 END, EXISTS (SELECT 1), f(a => 1)
        "#]],
    );
}

#[test]
fn window_table_functions() {
    check(
        "SELECT window_start, count(*) FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end",
        expect![[r#"
            1:1 query SELECT window_start, count(*) FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end
        "#]],
    );
    check(
        "SELECT * FROM HOP((SELECT * FROM orders WHERE a > 1), ts, INTERVAL '1' MINUTE, INTERVAL '5' MINUTE) AS h",
        expect![[r#"
            1:1 query SELECT * FROM HOP((SELECT * FROM orders WHERE a > 1), ts, INTERVAL '1' MINUTE, INTERVAL '5' MINUTE) AS h
        "#]],
    );
    check(
        "SELECT * FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        expect![[r#"
            1:1 query SELECT * FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE)
        "#]],
    );
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS w",
        expect![[r#"
            1:1 query SELECT * FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) AS w
        "#]],
    );
    check(
        "SELECT * FROM TABLE(CUMULATE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' HOUR))",
        expect![[r#"
            1:1 query SELECT * FROM CUMULATE(DATA => orders, TIMECOL => ts, STEP => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' HOUR)
        "#]],
    );
    check(
        "SELECT * FROM SESSION(orders, ts, INTERVAL '5 minutes', user_id) s JOIN UNNEST([1]) u ON true, LATERAL (SELECT 1) l",
        expect![[r#"
            1:1 query SELECT * FROM SESSION(orders, ts, INTERVAL '5 minutes', user_id) s JOIN UNNEST([1]) u ON true, LATERAL (SELECT 1) l
        "#]],
    );
}

#[test]
fn variables_in_queries() {
    check(
        r#"SELECT '${BUCKET}', E'${BUCKET}', "${BUCKET}", INTERVAL '${N} minutes', DATE '${D:-2020-01-01}', 'a$${b}' -- ${NONE}"#,
        expect![[r#"
            1:1 query SELECT 'lake', E'lake', "${BUCKET}", INTERVAL '7 minutes', DATE '2020-01-01', 'a${b}'
        "#]],
    );
}
