//! Odd but legal SQL: what people write when they come from other systems. Each query gives in
//! streaming mode the rows that it gives in batch mode, over random rows.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::run::{Runs, Way};
use super::updating::Tables;
use super::{difference, number};
use crate::program::Place;

/// Statements before the queries.
const VIEWS: &str = r#"
CREATE VIEW "Mixed Case" AS SELECT k1 AS "Key One", v AS "V", ts AS "When", b FROM t;
CREATE VIEW pairs AS SELECT a.ts, a.k1, a.id, b.v AS "V" FROM t a JOIN u b
    ON a.k2 = b.k2 AND b.ts BETWEEN a.ts - INTERVAL '20 seconds' AND a.ts;
CREATE VIEW per_minute (starts, ends, key, n) AS
    SELECT window_start, window_end, k1, count(*) FROM TUMBLE(t, ts, INTERVAL '1 minute')
    GROUP BY window_start, window_end, k1;
CREATE VIEW totals AS SELECT k1, count(*) AS n, sum(v) AS s FROM u GROUP BY k1;
"#;

/// Names, views and forms of GROUP BY.
const NAMES: &[&str] = &[
    r#"SELECT "Key One", sum("V") AS "Grand Total" FROM "Mixed Case" GROUP BY "Key One""#,
    r#"SELECT X."Key One" AS Y, count(*) AS N FROM "Mixed Case" X WHERE X.B GROUP BY X."Key One""#,
    "SELECT upper(k1) AS k1, count(*) AS v FROM t GROUP BY upper(k1)",
    "SELECT k1 || 'x' AS v, sum(v) AS k1 FROM t GROUP BY k1",
    "SELECT k1, k2, count(*) AS n FROM t GROUP BY 1, 2",
    "SELECT k1 AS key, count(*) AS n FROM t GROUP BY key HAVING n > 1",
    "SELECT CASE WHEN v > 0 THEN 'more' WHEN v < 0 THEN 'less' END AS sign, count(*) AS n, sum(v) AS s FROM t GROUP BY 1",
    "SELECT CAST(ts AS DATE) AS day, b, d, count(*) AS n FROM t GROUP BY CAST(ts AS DATE), b, d",
    "SELECT d AS key, ts, max(x) AS most FROM t GROUP BY d, ts",
    "SELECT n, count(*) AS keys FROM (SELECT nullif(k1, 'key 1') AS k, count(*) AS n FROM t GROUP BY 1) q GROUP BY n",
    "WITH a AS (SELECT k1, sum(v) AS s FROM t GROUP BY k1), b AS (SELECT k1, max(s) AS m FROM a GROUP BY k1)
     SELECT a.k1, s, m, s - m AS zero FROM a JOIN b ON a.k1 = b.k1",
    "SELECT k1, array_agg(v ORDER BY id) AS vs, first_value(x ORDER BY id) AS x, last_value(b ORDER BY id, v) AS b
     FROM t GROUP BY k1",
    "SELECT count(*) AS n, sum(v) AS s, min(k1) AS k FROM t WHERE false",
    "SELECT 'all' AS what, count(*) FILTER (WHERE b) AS n, avg(d) AS m FROM t HAVING count(*) >= 0",
    "SELECT DISTINCT CAST(v % 4 AS DECIMAL(5, 1)) AS q, b IS NULL AS u FROM t",
    "SELECT k1, sum(v) / nullif(count(v), 0) AS mean, sum(CAST(v AS DECIMAL(20, 3)) + 1) AS exact FROM t GROUP BY k1",
    "SELECT extract(minute FROM ts) AS minute, to_char(ts, '%H:%M') AS clock, count(*) AS n FROM t GROUP BY 1, 2",
];

/// Windows in views, in views of views, and under expressions.
const WINDOWS: &[&str] = &[
    "SELECT * FROM per_minute",
    "SELECT starts, sum(n) AS n, count(key) AS keys FROM per_minute GROUP BY starts",
    "SELECT key, max(n) AS most FROM per_minute GROUP BY key",
    "WITH w AS (SELECT * FROM TUMBLE(t, ts, INTERVAL '1 minute'))
     SELECT window_start, count(*) AS n FROM w GROUP BY window_start, window_end",
    "SELECT window_end, k2, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '90 seconds') GROUP BY window_end, k2",
    "SELECT window_start, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start",
    "SELECT date_trunc('hour', window_start) AS hour, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY 1",
    "SELECT window_start + INTERVAL '1 hour' AS later, x.k1, avg(x.v) AS m FROM TUMBLE(t, ts, INTERVAL '1 minute') AS x
     GROUP BY x.k1, window_start, window_end HAVING sum(x.v) > avg(x.v)",
    "SELECT DISTINCT window_start, window_end, b FROM HOP(t, ts, INTERVAL '20 seconds', INTERVAL '1 minute')",
    r#"SELECT window_start, "Key One", max("V") AS m FROM TUMBLE("Mixed Case", "When", INTERVAL '1 minute')
       GROUP BY window_start, window_end, "Key One""#,
    r#"SELECT window_start, k1, count(*) AS n, sum("V") AS s FROM TUMBLE(pairs, ts, INTERVAL '1 minute')
       GROUP BY window_start, window_end, k1"#,
    "SELECT window_start, window_end, count(*) AS sessions FROM SESSION(t, ts, INTERVAL '10 seconds')
     GROUP BY window_start, window_end",
    "SELECT w.window_start, w.n, h.n AS hops FROM
       (SELECT window_start, window_end, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY 1, 2) w
     JOIN (SELECT window_start, window_end, count(*) AS n FROM HOP(t, ts, INTERVAL '30 seconds', INTERVAL '1 minute')
           GROUP BY 1, 2) h ON w.window_start = h.window_start",
    "SELECT window_start, window_end, max(n) AS n FROM TUMBLE((SELECT window_end AS at, count(*) AS n
        FROM TUMBLE(t, ts, INTERVAL '30 seconds') GROUP BY window_start, window_end), at, INTERVAL '1 minute')
     GROUP BY window_start, window_end",
    "SELECT window_start, k1, n FROM (SELECT window_start, window_end, k1, count(*) AS n
        FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k1) q
     QUALIFY row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k1 NULLS LAST) <= 2",
    "SELECT window_start, sum(v) AS s FROM TUMBLE((SELECT CAST(ts AS TIMESTAMP(3)) AS ts, v FROM t), ts, INTERVAL '1 minute')
     GROUP BY window_start, window_end",
    "SELECT CASE WHEN count(*) > 3 THEN window_end END AS full_at, count(*) AS n
     FROM CUMULATE(t, ts, INTERVAL '20 seconds', INTERVAL '1 minute') GROUP BY window_start, window_end",
    "SELECT p.n, q.s FROM per_minute p LEFT JOIN totals q ON p.key = q.k1 WHERE p.n > 1",
    "SELECT starts AS at, 'window' AS what, n FROM per_minute UNION ALL SELECT NULL, k1, n FROM totals",
];

/// Joins as people write them.
const JOINS: &[&str] = &[
    "SELECT t.id, u.id AS other FROM t, u WHERE t.k1 = u.k1 AND t.v < u.v AND u.b",
    "SELECT k1, t.v, u.v AS w FROM t JOIN u USING (k1) WHERE t.k2 = u.k2",
    "SELECT coalesce(a.k1, b.k1) AS key, a.n, b.n AS m FROM
       (SELECT k1, count(*) AS n FROM t GROUP BY k1) a FULL JOIN totals b ON a.k1 = b.k1",
    "SELECT * FROM (SELECT k2, count(*) AS n FROM t GROUP BY k2) NATURAL JOIN (SELECT k2, max(v) AS m FROM u GROUP BY k2)",
    "SELECT a.id, b.id AS other FROM t a JOIN u b ON a.d = b.d AND a.b = b.b",
    "SELECT a.id, b.id AS other FROM t a JOIN u b ON CAST(a.ts AS DATE) = CAST(b.ts AS DATE) AND a.v + 1 = b.v * 1",
    "SELECT a.id, b.id AS other FROM t a LEFT JOIN u b ON a.k2 = b.v",
    "SELECT a.id, b.id AS other FROM t a LEFT JOIN t b ON a.id = b.v WHERE b.id IS NULL OR b.b",
    "SELECT a.id, m.name FROM t a JOIN (VALUES (0, 'none'), (1, 'one'), (NULL, 'null')) AS m (k, name) ON a.k2 = m.k",
    "SELECT id, (SELECT max(v) FROM u) AS most, (SELECT count(*) FROM dim) AS n FROM t WHERE v > 0",
    "SELECT id, (SELECT max(u.v) FROM u WHERE u.k1 = t.k1) AS most FROM t",
    "SELECT id, v FROM t WHERE v > (SELECT avg(v) FROM u WHERE u.k1 = t.k1)",
    "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k1 = t.k1 AND u.v > t.v) AND k2 IN (SELECT k2 FROM w)",
    "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.k1 = t.k1 AND u.k2 = t.k2) AND id % 2 = 0",
    "SELECT id FROM t WHERE k1 IN (SELECT k1 FROM u GROUP BY k1 HAVING count(*) > 1)",
    "SELECT a.id, b.id AS other FROM t a JOIN u b ON a.k1 IS NOT DISTINCT FROM b.k1 AND a.v > b.v",
    "SELECT k1, k2 FROM t INTERSECT SELECT k1, k2 FROM u",
    "SELECT k1, k2 FROM t EXCEPT SELECT k1, k2 FROM u",
    "SELECT k1, v FROM t UNION SELECT k1, k2 FROM u UNION ALL SELECT 'x', 1",
    "SELECT a.id, b.id AS i, c.id AS j, d.id AS k FROM t a JOIN u b ON a.id = b.id LEFT JOIN w c ON b.id = c.id
     FULL JOIN dim d ON d.id = c.id",
    "SELECT q.k1, q.n, r.n AS m FROM (SELECT k1, count(*) AS n FROM t GROUP BY k1) q
     LEFT JOIN (SELECT k1, v, count(*) AS n FROM u GROUP BY k1, v) r ON q.k1 = r.k1 AND r.n > 1 AND q.n > 2",
    "SELECT a.id, b.id AS other FROM t a LEFT JOIN u b ON a.k1 = b.k1 AND a.ts > b.ts AND a.ts < b.ts + INTERVAL '30 seconds'
     WHERE a.v IS NOT NULL",
    "SELECT a.id, w.n FROM t a JOIN (SELECT window_start, window_end, k1, count(*) AS n
        FROM TUMBLE(u, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, k1) w
     ON a.k1 = w.k1 AND a.ts BETWEEN w.window_start AND w.window_end",
    "SELECT a.id, r.name FROM t a CROSS JOIN (SELECT DISTINCT k1 AS name FROM dim WHERE id < 3) r WHERE a.id < 10",
    "SELECT id, k1, rn FROM (SELECT *, row_number() OVER (PARTITION BY k1, b ORDER BY v DESC NULLS LAST, id) AS rn FROM t)
     WHERE rn BETWEEN 1 AND 2 AND v IS NOT NULL",
    "SELECT k1, id FROM t QUALIFY row_number() OVER (PARTITION BY k1 ORDER BY ts DESC, id) = 1",
    "SELECT k1, count(*) AS n, sum(v) AS s FROM (SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY id ORDER BY v) = 1)
     GROUP BY k1",
];

/// Queries of one script.
const SCRIPT: usize = 9;

#[test]
fn odd_queries_give_the_rows_of_batch() {
    let seed = number("SEED").unwrap_or(20_261_121);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let tables = Tables::random(&mut random);
    tables.write(&place);
    let sources = format!("{}{VIEWS}", tables.sources());
    let queries: Vec<&str> = [NAMES, WINDOWS, JOINS].concat();
    let mut wrong = Vec::new();
    for (part, queries) in queries.chunks(SCRIPT).enumerate() {
        let keep = |run: &str, mode: &str, way: Way| {
            let runs = Runs { place: &place, way };
            let mut script = format!("SET pipeline.state = '{}';", runs.folder(run));
            script.push_str(&format!("SET pipeline.mode = '{mode}';\n{sources}"));
            for (at, query) in queries.iter().enumerate() {
                script.push_str(&format!("CREATE MATERIALIZED VIEW m{at} AS {query};\n"));
            }
            let summary = runs
                .run_as_it_says(&script)
                .unwrap_or_else(|error| panic!("{error}\n{script}"));
            assert!(summary.adds_up, "{summary:?}");
            let views = (0..queries.len()).map(|at| format!("SELECT * FROM m{at};"));
            views
                .map(|sql| runs.read_from(run, &sql))
                .collect::<Vec<_>>()
        };
        let way = |parallelism, batch_rows| Way {
            parallelism,
            batch_rows,
        };
        let expected = keep(&format!("batch{part}"), "batch", way(2, 8192));
        for (parallelism, batch_rows) in [(1, 1), (3, 7)] {
            let name = format!("x{parallelism}-{part}");
            let found = keep(&name, "streaming", way(parallelism, batch_rows));
            for ((query, expected), found) in queries.iter().zip(&expected).zip(found) {
                if found != *expected {
                    wrong.push(format!(
                        "x{parallelism} {query}\n{}",
                        difference(&found, expected)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
