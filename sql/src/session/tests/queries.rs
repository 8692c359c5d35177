//! Bare queries: the rows.

use super::check;
use expect_test::expect;

#[test]
fn rows_are_read() {
    check(
        "SELECT id, status FROM orders WHERE amount > 15 ORDER BY id LIMIT 2",
        expect![[r#"
        +----+--------+
        | id | status |
        +----+--------+
        | 2  | paid   |
        | 3  | open   |
        +----+--------+"#]],
    );
    check(
        "SELECT count(*) FROM orders",
        expect![[r#"
        +----------+
        | count(*) |
        +----------+
        | 4        |
        +----------+"#]],
    );
    check(
        "SELECT o.id, name FROM orders o JOIN customers c ON o.id = c.id",
        expect![[r#"
        +----+------+
        | id | name |
        +----+------+
        | 1  | ann  |
        +----+------+"#]],
    );
}

#[test]
fn windows_are_tables() {
    check(
        "SELECT window_start, window_end, count(*) AS n, sum(amount) AS total
         FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end
         ORDER BY window_start",
        expect![[r#"
            +---------------------+---------------------+---+-------+
            | window_start        | window_end          | n | total |
            +---------------------+---------------------+---+-------+
            | 2024-01-01T00:00:00 | 2024-01-01T00:01:00 | 2 | 30.0  |
            | 2024-01-01T00:01:00 | 2024-01-01T00:02:00 | 1 | 30.0  |
            | 2024-01-01T00:02:00 | 2024-01-01T00:03:00 | 1 | 40.0  |
            +---------------------+---------------------+---+-------+"#]],
    );
    check(
        "SELECT t.id, t.window_start FROM HOP(TABLE(orders), ts, INTERVAL '30 seconds', INTERVAL '1 minute') AS t
         WHERE t.id = 2 AND window_start >= TIMESTAMP '2024-01-01' ORDER BY window_start",
        expect![[r#"
            +----+---------------------+
            | id | window_start        |
            +----+---------------------+
            | 2  | 2024-01-01T00:00:00 |
            | 2  | 2024-01-01T00:00:30 |
            +----+---------------------+"#]],
    );
    check(
        "WITH paid AS (SELECT * FROM orders WHERE status = 'paid')
         SELECT id, window_end FROM CUMULATE(paid, ts, INTERVAL '1 minute', INTERVAL '3 minutes') ORDER BY 2",
        expect![[r#"
            +----+---------------------+
            | id | window_end          |
            +----+---------------------+
            | 2  | 2024-01-01T00:01:00 |
            | 2  | 2024-01-01T00:02:00 |
            | 2  | 2024-01-01T00:03:00 |
            +----+---------------------+"#]],
    );
}

#[test]
fn columns_are_computed() {
    check(
        r#"CREATE SOURCE raw (
             day AS_TEXT_UNUSED, id BIGINT
           ) WITH (connector = 'memory');"#,
        expect![[r#"
            error[E0106]: line 2, column 18: unknown type "AS_TEXT_UNUSED"
              hint: known: BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, REAL, FLOAT, DOUBLE, DECIMAL, VARCHAR, STRING, TEXT, BYTEA, DATE, TIME, TIMESTAMP, INTERVAL, ARRAY, STRUCT"#]],
    );
    check(
        r#"CREATE SOURCE raw (
             at VARCHAR,
             ts TIMESTAMP AS (CAST(at AS TIMESTAMP)),
             later TIMESTAMP AS (ts + INTERVAL '1 hour'),
             number INT METADATA FROM 'offset',
             PRIMARY KEY (at),
             WATERMARK FOR later AS later - INTERVAL '1 second'
           ) WITH (connector = 'memory', rows = '{"at": "2024-01-01T00:00:01", "number": 7}');
           SELECT date(ts) AS day, later, number FROM raw"#,
        expect![[r#"
            +------------+---------------------+--------+
            | day        | later               | number |
            +------------+---------------------+--------+
            | 2024-01-01 | 2024-01-01T01:00:01 | 7      |
            +------------+---------------------+--------+"#]],
    );
}
