//! Joins and results that change: whatever a streaming run says in between, what stands at its end is
//! DataFusion's answer to the same query over the same rows.

use super::memory::Memory;
use super::runs::run;
use super::*;

/// Rows with equal keys, with keys that are NULL, with keys that the other side lacks, out of order
/// within the watermark's bound.
const SOURCES: &str = r#"
    CREATE SOURCE bids (
        id BIGINT NOT NULL, item BIGINT, price DOUBLE, who VARCHAR, ts TIMESTAMP,
        WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
    ) WITH (connector = 'memory', rows = '
        {"id": 1, "item": 1, "price": 5.0, "who": "ann", "ts": "2024-01-01T00:00:01"}
        {"id": 2, "item": 1, "price": 7.0, "who": "bob", "ts": "2024-01-01T00:00:05"}
        {"id": 3, "item": 2, "price": 7.0, "who": "ann", "ts": "2024-01-01T00:00:03"}
        {"id": 4, "item": null, "price": 1.0, "who": null, "ts": "2024-01-01T00:00:09"}
        {"id": 5, "item": 1, "price": 9.0, "who": "cat", "ts": "2024-01-01T00:01:02"}
        {"id": 6, "item": 3, "price": null, "who": "bob", "ts": "2024-01-01T00:01:20"}
        {"id": 7, "item": 2, "price": 7.0, "who": "ann", "ts": "2024-01-01T00:01:15"}
        {"id": 8, "item": 9, "price": 4.0, "who": "dan", "ts": "2024-01-01T00:03:00"}
        {"id": 9, "item": 1, "price": 9.0, "who": "ann", "ts": "2024-01-01T00:02:59"}');
    CREATE SOURCE sales (
        item BIGINT, place VARCHAR, paid DOUBLE, at TIMESTAMP, WATERMARK FOR at AS at
    ) WITH (connector = 'memory', rows = '
        {"item": 1, "place": "x", "paid": 6.0, "at": "2024-01-01T00:00:02"}
        {"item": 1, "place": "y", "paid": 8.0, "at": "2024-01-01T00:00:40"}
        {"item": 2, "place": "x", "paid": 7.0, "at": "2024-01-01T00:01:00"}
        {"item": null, "place": "z", "paid": 1.0, "at": "2024-01-01T00:01:05"}
        {"item": 4, "place": null, "paid": 2.0, "at": "2024-01-01T00:01:30"}
        {"item": 2, "place": "y", "paid": 9.0, "at": "2024-01-01T00:03:00"}');
    CREATE SOURCE items (item BIGINT NOT NULL, name VARCHAR, kind VARCHAR) WITH (connector = 'memory', rows = '
        {"item": 1, "name": "pen", "kind": "a"}
        {"item": 2, "name": "cup", "kind": "a"}
        {"item": 3, "name": null, "kind": "b"}
        {"item": 3, "name": "hat", "kind": "b"}');
    CREATE SINK lake WITH (connector = 'memory');
"#;

/// Runs a query in streaming mode, which has the operator `operator` in its plan.
pub(super) fn check_stream(operator: &str, query: &str) {
    block_on(async {
        let mut batch = session(1);
        execute(&mut batch, SOURCES).await.unwrap();
        let answer = execute(&mut batch, query).await.unwrap();
        let expected = runs::sorted(&answer);
        assert!(!expected.is_empty(), "{query} gives rows");
        for parallelism in [1, 3] {
            let memory = Memory::default();
            let written = Arc::clone(&memory.written);
            let mut session = session_with(parallelism, memory);
            let script = format!("{SOURCES} SET pipeline.mode = 'streaming'; INSERT INTO lake");
            execute(&mut session, &format!("{script} {query}"))
                .await
                .unwrap();
            let pipeline = session.pipeline().await;
            let pipeline = pipeline.unwrap_or_else(|e| panic!("{}: {query}", e.report(None)));
            let pipeline = pipeline.unwrap();
            let graph = pipeline.graph.to_string();
            assert!(graph.contains(operator), "{operator} in {graph}");
            let found = run(&session, pipeline, &written).await;
            assert_eq!(found, expected, "x{parallelism}: {query}\n{graph}");
        }
    });
}

const WINDOWS: &str = "(SELECT * FROM TUMBLE(bids, ts, INTERVAL '1 minute')) b";
const OTHERS: &str = "(SELECT * FROM TUMBLE(sales, at, INTERVAL '1 minute')) s";

#[test]
fn window_joins() {
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        check_stream(
            "Window join",
            &format!(
                "SELECT b.id, b.window_start, s.place, s.window_end FROM {WINDOWS} {kind} {OTHERS}
                 ON b.item = s.item AND b.window_start = s.window_start AND b.window_end = s.window_end"
            ),
        );
    }
    for kind in ["IN", "NOT IN"] {
        let exists = kind.replace("IN", "EXISTS");
        check_stream(
            "Window join",
            &format!(
                "SELECT b.id, b.window_start FROM {WINDOWS} WHERE {exists}
                 (SELECT 1 FROM {OTHERS} WHERE b.item = s.item AND b.window_start = s.window_start
                  AND s.paid > b.price - 2)"
            ),
        );
    }
}

#[test]
fn rows_of_a_window_join_are_in_their_windows() {
    check_stream(
        "Window join",
        "SELECT window_start, count(*) AS n, sum(paid) AS paid FROM (
            SELECT b.window_start, b.window_end, s.paid
            FROM (SELECT * FROM TUMBLE(bids, ts, INTERVAL '1 minute')) b
            JOIN (SELECT * FROM TUMBLE(sales, at, INTERVAL '1 minute')) s
            ON b.item = s.item AND b.window_start = s.window_start AND b.window_end = s.window_end)
         GROUP BY window_start, window_end",
    );
    check_stream(
        "Window join",
        "SELECT a.window_start, a.item, a.n, b.most
         FROM (SELECT window_start, window_end, item, count(*) AS n
               FROM HOP(bids, ts, INTERVAL '30 seconds', INTERVAL '1 minute')
               GROUP BY window_start, window_end, item) a
         JOIN (SELECT window_start, window_end, max(price) AS most
               FROM HOP(bids, ts, INTERVAL '30 seconds', INTERVAL '1 minute')
               GROUP BY window_start, window_end) b
         ON a.window_start = b.window_start AND a.window_end = b.window_end",
    );
}

#[test]
fn interval_joins() {
    let near = "b.item = s.item AND s.at BETWEEN b.ts - INTERVAL '1 minute' AND b.ts + INTERVAL '30 seconds'";
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        check_stream(
            "Interval join",
            &format!(
                "SELECT b.id, b.ts, s.place, s.at FROM bids b {kind} sales s ON {near} AND s.paid > b.price - 2"
            ),
        );
    }
    for kind in ["EXISTS", "NOT EXISTS"] {
        check_stream(
            "Interval join",
            &format!("SELECT b.id FROM bids b WHERE {kind} (SELECT 1 FROM sales s WHERE {near})"),
        );
    }
    check_stream(
        "Interval join",
        "SELECT b.id, s.place FROM bids b, sales s
         WHERE s.at - b.ts <= INTERVAL '1 minute' AND b.ts < s.at AND b.item IS NOT NULL",
    );
}

#[test]
fn rows_of_an_interval_join_have_event_times() {
    check_stream(
        "Interval join",
        "SELECT window_start, count(*) AS n FROM TUMBLE((
            SELECT b.ts, s.place FROM bids b JOIN sales s ON b.item = s.item
            AND s.at BETWEEN b.ts - INTERVAL '2 minutes' AND b.ts + INTERVAL '30 seconds'
         ), ts, INTERVAL '1 minute') GROUP BY window_start, window_end",
    );
    check_stream(
        "Interval join",
        "SELECT b.id, w.n FROM bids b JOIN (
            SELECT window_start, window_end, item, count(*) AS n
            FROM TUMBLE(sales, at, INTERVAL '1 minute') GROUP BY window_start, window_end, item) w
         ON b.item = w.item AND b.ts >= w.window_start AND b.ts < w.window_end",
    );
}

#[test]
fn joins_with_tables() {
    for (kind, table) in [
        ("JOIN", "Table join"),
        ("LEFT JOIN", "Table join"),
        ("FULL JOIN", "Updating join"),
    ] {
        check_stream(
            table,
            &format!("SELECT b.id, i.name FROM bids b {kind} items i ON b.item = i.item"),
        );
    }
    check_stream(
        "Table join",
        "SELECT b.id, i.name FROM items i RIGHT JOIN bids b ON b.item = i.item AND i.name <> 'hat'",
    );
    check_stream(
        "Table join",
        "SELECT b.id FROM bids b WHERE b.item IN (SELECT item FROM items WHERE kind = 'a')",
    );
    check_stream(
        "Table join",
        "SELECT b.id FROM bids b WHERE NOT EXISTS (SELECT 1 FROM items i WHERE b.item = i.item)",
    );
    check_stream(
        "Table join",
        "SELECT b.id, i.n FROM bids b
         JOIN (SELECT kind, count(*) AS n FROM items GROUP BY kind ORDER BY n DESC LIMIT 1) i ON b.item < i.n + 2",
    );
    check_stream(
        "Table join",
        "SELECT window_start, name, count(*) AS n
         FROM TUMBLE((SELECT b.ts, i.name FROM bids b LEFT JOIN items i ON b.item = i.item), ts, INTERVAL '1 minute')
         GROUP BY window_start, window_end, name",
    );
}

#[test]
fn looked_up_tables() {
    check_stream(
        "Table join",
        "SELECT b.id, s.place FROM bids b
         LEFT JOIN sales FOR SYSTEM_TIME AS OF PROCTIME() AS s ON b.item = s.item",
    );
}

#[test]
fn sessions() {
    let sessions = "SESSION(bids, ts, INTERVAL '20 seconds', item)";
    check_stream(
        "WindowAggregate SESSION",
        &format!(
            "SELECT window_start, window_end, item, count(*) AS n, max(price) AS most
             FROM {sessions} GROUP BY window_start, window_end, item"
        ),
    );
    // Sessions of one key, grouped by another: the windows come first.
    check_stream(
        "aggregates",
        &format!(
            "SELECT window_start, window_end, who, count(*) AS n FROM {sessions}
             GROUP BY window_start, window_end, who"
        ),
    );
    check_stream(
        "Window SESSION",
        &format!(
            "SELECT id, item, window_start, window_end FROM {sessions} WHERE price > 5 OR id = 4"
        ),
    );
    check_stream(
        "Window join",
        "SELECT a.item, a.n, b.n AS others
         FROM (SELECT window_start, window_end, item, count(*) AS n
               FROM SESSION(bids, ts, INTERVAL '20 seconds', item) GROUP BY window_start, window_end, item) a
         LEFT JOIN (SELECT window_start, window_end, item, count(*) AS n
               FROM SESSION(bids, ts, INTERVAL '20 seconds', item) WHERE id <> 5
               GROUP BY window_start, window_end, item) b
         ON a.item = b.item AND a.window_start = b.window_start AND a.window_end = b.window_end",
    );
}

#[test]
fn windows_that_are_updated() {
    let query = "SELECT window_start, item, count(*) AS n, max(price) AS most
                 FROM TUMBLE(bids, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, item";
    check_stream("emit on update", &format!("{query} EMIT ON UPDATE"));
    check_stream(
        "emit every 1s",
        &format!("{query} EMIT EVERY INTERVAL '1 second'"),
    );
    check_stream(
        "UpdatingAggregate keys [n]",
        &format!("SELECT n, count(*) AS k FROM ({query}) GROUP BY n EMIT ON UPDATE"),
    );
    check_stream(
        "every 1s",
        "SELECT item, count(*) AS n FROM bids GROUP BY item EMIT EVERY INTERVAL '1 second'",
    );
}

#[test]
fn updating_joins() {
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        check_stream(
            "Updating join",
            &format!(
                "SELECT b.id, s.place, s.paid FROM bids b {kind} sales s ON b.item = s.item AND s.paid > b.price - 2"
            ),
        );
    }
    for kind in ["EXISTS", "NOT EXISTS"] {
        check_stream(
            "Updating join",
            &format!(
                "SELECT b.id FROM bids b WHERE {kind} (SELECT 1 FROM sales s WHERE b.item = s.item AND s.paid > 6)"
            ),
        );
    }
    check_stream(
        "Updating join",
        "SELECT item FROM bids EXCEPT SELECT item FROM sales",
    );
    check_stream(
        "Updating join",
        "SELECT item FROM bids INTERSECT SELECT item FROM sales",
    );
    check_stream(
        "Updating join",
        "SELECT b.id, s.place FROM bids b CROSS JOIN sales s",
    );
    check_stream(
        "Updating join",
        "SELECT b.id, s.place, c.id AS other FROM bids b
         JOIN sales s ON b.item = s.item LEFT JOIN bids c ON c.price = s.paid",
    );
}

#[test]
fn updating_joins_of_changes() {
    check_stream(
        "Updating join",
        "SELECT b.id, t.n, t.most FROM bids b
         LEFT JOIN (SELECT item, count(*) AS n, max(paid) AS most FROM sales GROUP BY item) t ON b.item = t.item",
    );
    check_stream(
        "Updating join",
        "SELECT a.who, a.n, i.name FROM (SELECT who, max(item) AS item, count(*) AS n FROM bids GROUP BY who) a
         LEFT JOIN items i ON a.item = i.item",
    );
    check_stream(
        "Updating join",
        "SELECT id, price, (SELECT avg(paid) FROM sales) AS mean FROM bids
         WHERE price > (SELECT min(paid) FROM sales)",
    );
    check_stream(
        "Updating join",
        "SELECT window_start, w.item, n, total FROM (
            SELECT window_start, window_end, item, count(*) AS n
            FROM TUMBLE(bids, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, item) w
         JOIN (SELECT item, sum(paid) AS total FROM sales GROUP BY item) t ON w.item = t.item",
    );
}

#[test]
fn updating_aggregates() {
    check_stream(
        "UpdatingAggregate",
        "SELECT item, count(*) AS n, sum(price) AS s, avg(price) AS m, min(who) AS a, max(ts) AS z,
                count(DISTINCT who) AS d, sum(price) FILTER (WHERE id > 2) AS f
         FROM bids GROUP BY item",
    );
    check_stream(
        "UpdatingAggregate",
        "SELECT count(*) AS n, max(price) AS m FROM bids WHERE id > 2",
    );
    check_stream(
        "UpdatingAggregate",
        "SELECT upper(who) AS who, count(*) AS n FROM bids GROUP BY upper(who) HAVING count(*) > 1",
    );
    check_stream(
        "UpdatingAggregate",
        "SELECT n, count(*) AS k, max(m) AS most, min(m) AS least, sum(m) AS total
         FROM (SELECT item, count(*) AS n, max(price) AS m FROM bids GROUP BY item) GROUP BY n",
    );
    check_stream(
        "UpdatingAggregate",
        "SELECT n, max(ws) AS last FROM (
            SELECT window_start AS ws, window_end, item, count(*) AS n
            FROM TUMBLE(bids, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, item)
         GROUP BY n",
    );
}

/// Two names for one column of what is aggregated: the optimiser counts once.
#[test]
fn aggregates_of_equal_columns() {
    let inner = "SELECT item, count(*) AS n, count(*) AS m FROM bids GROUP BY item";
    check_stream(
        "UpdatingAggregate",
        &format!("SELECT sum(DISTINCT n) AS a, bit_xor(m) AS b, max(n) AS c FROM ({inner})"),
    );
    check_stream(
        "WindowAggregate",
        "SELECT window_start, sum(p) AS a, max(q) AS b FROM TUMBLE(
            (SELECT ts, price AS p, price AS q FROM bids), ts, INTERVAL '1 minute')
         GROUP BY window_start, window_end",
    );
}

#[test]
fn distinct() {
    check_stream("Distinct", "SELECT DISTINCT who, item FROM bids");
    check_stream(
        "Distinct",
        "SELECT item FROM bids UNION SELECT item FROM sales",
    );
    check_stream(
        "UpdatingAggregate keys [n] aggregates []",
        "SELECT DISTINCT n FROM (SELECT item, count(*) AS n FROM bids GROUP BY item)",
    );
    check_stream(
        "Union",
        "SELECT item, price FROM bids UNION ALL SELECT item, max(paid) AS price FROM sales GROUP BY item",
    );
}

#[test]
fn sessions_that_are_updated() {
    let select = "SELECT window_start, window_end, item, count(*) AS n, max(price) AS most FROM";
    let sessions = "SESSION(bids, ts, INTERVAL '20 seconds', item)";
    let by = "GROUP BY window_start, window_end, item";
    check_stream(
        "WindowAggregate SESSION(20s) on ts keys [item] aggregates [count(1), max(bids.price)] emit on update",
        &format!("{select} {sessions} {by} EMIT ON UPDATE"),
    );
    check_stream(
        "emit every 1s lateness 30s",
        &format!(
            "{select} {sessions} WITH (allowed_lateness = '30 seconds') {by} EMIT EVERY INTERVAL '1 second'"
        ),
    );
    // Updated results go into others.
    check_stream(
        "UpdatingAggregate keys [n]",
        &format!(
            "SELECT n, count(*) AS k FROM ({select} {sessions}
             WITH (allowed_lateness = '30 seconds') {by}) GROUP BY n"
        ),
    );
    // The window columns need not come out.
    check_stream(
        "emit on update",
        "SELECT window_start, count(*) AS n FROM SESSION(bids, ts, INTERVAL '20 seconds')
         GROUP BY window_start EMIT ON UPDATE",
    );
}
