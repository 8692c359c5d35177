//! `ROW_NUMBER()` under a filter: which rows are kept, and what is left of the filter.

use super::streams::check_stream;

#[test]
fn first_rows() {
    let numbered =
        "SELECT *, row_number() OVER (PARTITION BY item ORDER BY price DESC, id) AS rn FROM bids";
    check_stream(
        "Rank first 2",
        &format!("SELECT * FROM ({numbered}) WHERE rn <= 2"),
    );
    check_stream(
        "Rank first 1",
        &format!("SELECT id, item FROM ({numbered}) WHERE rn = 1"),
    );
    check_stream(
        "Rank first 2",
        &format!("SELECT id, price FROM ({numbered}) WHERE rn < 3 AND who <> 'bob'"),
    );
    check_stream(
        "Rank first 2",
        &format!("SELECT id, rn FROM ({numbered}) WHERE rn = 2"),
    );
    check_stream(
        "Rank first 3",
        &format!("SELECT id, rn + 1 AS next FROM ({numbered}) WHERE 4 > rn AND rn >= 2"),
    );
    check_stream(
        "Rank first 2",
        "SELECT item, n FROM (
            SELECT item, n, row_number() OVER (ORDER BY n DESC, item) AS rn
            FROM (SELECT item, count(*) AS n FROM bids GROUP BY item)) WHERE rn <= 2",
    );
    check_stream(
        "Rank first 1",
        "SELECT window_start, item, n FROM (
            SELECT *, row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, item) AS rn
            FROM (SELECT window_start, window_end, item, count(*) AS n
                  FROM TUMBLE(bids, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, item))
         WHERE rn <= 1",
    );
}

/// Each filter that has an upper bound asks for the first rows, however it is written.
#[test]
fn filters_of_numbers() {
    for (filter, rows) in [
        ("rn BETWEEN 1 AND 3", 3),
        ("rn BETWEEN 2 AND 3", 3),
        ("rn BETWEEN -5 AND 2", 2),
        ("rn IN (1, 3)", 3),
        ("rn = 1 OR rn = 2", 2),
        ("rn = 3 OR (rn < 3 AND price > 5)", 3),
        ("rn <= 2.5", 3),
        ("rn < 2.5", 2),
        ("rn + 0 <= 2 AND rn < 4", 3),
        ("CAST(rn AS DOUBLE) <= 2", 2),
    ] {
        check_stream(
            &format!("Rank first {rows}"),
            &format!(
                "SELECT id, rn FROM (SELECT id, price, CAST(row_number() OVER
                    (PARTITION BY item ORDER BY price DESC, id) AS BIGINT) AS rn FROM bids)
                 WHERE {filter}"
            ),
        );
    }
}

/// As text, 10 comes before 9: such a filter has no bound.
#[test]
fn numbers_as_text_have_no_bound() {
    super::check_graph(
        1,
        "SET pipeline.mode = 'streaming'; INSERT INTO lake SELECT id FROM (
            SELECT id, row_number() OVER (ORDER BY id) AS rn FROM orders) WHERE CAST(rn AS VARCHAR) < '5'",
        expect_test::expect![[r#"
            error[E0110]: line 1, column 34: a window function (OVER) cannot run in streaming mode
              detail: only ANOMALY(...) OVER (...), and ROW_NUMBER() OVER (...) with a filter that asks for the first rows, can run
              hint: filter by row_number <= n, aggregate over TUMBLE or HOP, or use --mode batch"#]],
    );
}
